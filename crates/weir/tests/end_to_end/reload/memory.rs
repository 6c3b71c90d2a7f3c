//! What reloads leave behind: nothing that nobody uses.

use std::sync::{Arc, Weak};

use weir_model::{listener::Listener, pool::Pool, route::Route, snapshot::Snapshot};
use weir_testkit::{FakeBackend, RawClient, wait_until};

use super::{answering, echoing, file, pool};
use crate::support::Weir;

/// Everything a snapshot consists of, without keeping any of it.
struct Traces {
    snapshot: Weak<Snapshot>,
    listeners: Vec<Weak<Listener>>,
    pools: Vec<Weak<Pool>>,
    routes: Vec<Weak<Route>>,
}

impl Traces {
    fn of(snapshot: &Arc<Snapshot>) -> Self {
        let routes = snapshot.listeners.iter().flat_map(|listener| listener.routes.routes());
        Self {
            snapshot: Arc::downgrade(snapshot),
            listeners: snapshot.listeners.iter().map(Arc::downgrade).collect(),
            pools: snapshot.pools.iter().map(Arc::downgrade).collect(),
            routes: routes.map(Arc::downgrade).collect(),
        }
    }

    /// How much of it is still there: snapshots, listeners, pools, routes.
    fn alive(&self) -> [usize; 4] {
        fn count<T>(traces: &[Weak<T>]) -> usize {
            traces.iter().filter(|trace| trace.strong_count() > 0).count()
        }
        let snapshot = usize::from(self.snapshot.strong_count() > 0);
        [snapshot, count(&self.listeners), count(&self.pools), count(&self.routes)]
    }
}

/// Switches protocols where that is asked for, and repeats every byte; answers everything else.
fn switching() -> FakeBackend {
    FakeBackend::custom(|mut connection| {
        while let Some(request) = connection.read_head() {
            if !request.has("upgrade") {
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                continue;
            }
            connection
                .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
            loop {
                let bytes = connection.read_exact(1);
                if bytes.is_empty() || !connection.send(&bytes) {
                    return;
                }
            }
        }
    })
}

#[test]
fn no_old_snapshot_lives_as_long_as_a_connection() {
    let (web, bytes, unused) = (switching(), echoing(), answering("unused"));
    let text = |path: &str, timeout: &str| {
        let web_listener = format!(
            "web: {{ bind: '127.0.0.1:0', protocol: http, routes: [ {{ match: {{ path: '{path}' }}, pool: a }}, {{ pool: app }} ] }}"
        );
        let pool_with = |name: &str, backend: &FakeBackend| {
            format!(
                "{name}: {{ backends: ['{}', 127.0.0.1:9], connect_timeout: {timeout} }}",
                backend.address()
            )
        };
        file(
            &[&web_listener, "tcp: { bind: '127.0.0.1:0', protocol: tcp, pool: bytes }"],
            &[&pool("a", &[unused.address()]), &pool_with("app", &web), &pool_with("bytes", &bytes)],
        )
    };
    let weir = Weir::from_text(&text("/1", "1s"));
    let first = Traces::of(&weir.app().snapshot());

    let mut idle = RawClient::connect(weir.address());
    assert_eq!(idle.get("/").text(), "ok");
    let mut tunnel = RawClient::connect(weir.address());
    tunnel.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(tunnel.response("GET").unwrap().status(), 101);
    let mut stream = RawClient::connect(weir.app().address("tcp"));
    let talk = |client: &mut RawClient, byte: &str| {
        client.send(byte);
        assert_eq!(client.read_exact(1), byte.as_bytes());
    };
    talk(&mut tunnel, "x");
    talk(&mut stream, "x");

    // Every listener, every pool that is in use, and a route change; the pool `a` is the same in all of them.
    weir.app().reload_text(&text("/2", "2s")).unwrap();
    weir.app().reload_text(&text("/3", "3s")).unwrap();
    // What is left: the pool that did not change, and the two routes that the open connections were counted by.
    wait_until("the first snapshot is gone", || first.alive() == [0, 0, 1, 2]);
    talk(&mut tunnel, "y");
    talk(&mut stream, "y");
    assert_eq!(idle.get("/").text(), "ok");
    drop((tunnel, stream));
    wait_until("its last routes are gone", || first.alive() == [0, 0, 1, 0]);
}

#[test]
fn a_tunnel_is_still_counted_at_its_backend() {
    let web = switching();
    let text = |timeout: &str| {
        let app = format!("app: {{ backends: ['{}'], connect_timeout: {timeout} }}", web.address());
        file(&[super::WEB], &[&app])
    };
    let weir = Weir::from_text(&text("1s"));
    let mut tunnel = RawClient::connect(weir.address());
    tunnel.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(tunnel.response("GET").unwrap().status(), 101);
    let active = || {
        let snapshot = weir.app().snapshot();
        snapshot.pools[0].backends[0].status.active.load(std::sync::atomic::Ordering::Relaxed)
    };
    wait_until("the tunnel is counted", || active() == 1);
    weir.app().reload_text(&text("2s")).unwrap();
    assert_eq!(active(), 1);
    drop(tunnel);
    wait_until("the tunnel has ended", || active() == 0);
    let snapshot = weir.app().snapshot();
    let route = &snapshot.listeners[0].routes.routes()[0].status[0];
    wait_until("its record is there", || route.shards.sum(|shard| shard.codes.class(1)) == 1);
}
