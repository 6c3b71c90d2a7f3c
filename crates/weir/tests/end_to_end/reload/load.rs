//! Fifty reloads while clients of every kind are at work: none of them may notice.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use weir_testkit::{Answer, FakeBackend, RawClient};

use super::{echoing, file, free_port};
use crate::support::Weir;

const RELOADS: usize = 50;
const EACH: usize = 8;

/// What went wrong, and how much was done.
#[derive(Default)]
struct Count {
    requests: AtomicUsize,
    failures: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

impl Count {
    fn fail(&self, what: &str) {
        self.failures.lock().unwrap().push(what.to_owned());
    }

    fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }
}

fn ask(address: SocketAddr, close: bool, count: &Count) {
    let mut kept = None;
    while count.goes_on() {
        let mut client = match kept.take().map_or_else(|| RawClient::try_connect(address), Ok) {
            Ok(client) => client,
            Err(error) => return count.fail(&format!("connect: {error}")),
        };
        let connection = if close { "close" } else { "keep-alive" };
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: {connection}\r\n\r\n"));
        match client.response("GET") {
            Some(answer) if answer.status() == 200 && answer.text() == "ok" => {
                if close && !client.closed() {
                    count.fail("the connection stays open");
                }
                kept = Some(client).filter(|_| !close && answer.header("connection") != Some("close"));
            }
            other => count.fail(&format!("{:?}", other.map(|answer| answer.status()))),
        }
        count.requests.fetch_add(1, Ordering::Relaxed);
        if close {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Sends a byte and waits for it to come back, all the time, on one connection.
fn talk(mut client: RawClient, kind: &str, count: &Count) {
    while count.goes_on() {
        client.send("x");
        if client.read_exact(1) != b"x" {
            return count.fail(&format!("a {kind} has ended"));
        }
        count.requests.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(5));
    }
}

fn backend() -> FakeBackend {
    FakeBackend::custom(|mut connection| {
        while let Some(request) = connection.read_head() {
            if request.has("upgrade") {
                connection
                    .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
                break;
            }
            match Answer::ok("ok").give(connection, &request) {
                Some(open) => connection = open,
                None => return,
            }
        }
        loop {
            let bytes = connection.read_exact(1);
            if bytes.is_empty() || !connection.send(&bytes) {
                return;
            }
        }
    })
}

#[test]
fn fifty_reloads_are_not_noticed() {
    let (web, more, bytes) = (backend(), backend(), echoing());
    let extra = free_port("127.0.0.21");
    let text = |round: usize| {
        let extra = format!("extra: {{ bind: '{extra}', protocol: http, pool: app }}");
        let route = format!("{{ match: {{ path: /{round} }}, respond: {{ status: 204 }} }}");
        let web_listener =
            format!("web: {{ bind: '127.0.0.1:0', protocol: http, routes: [ {route}, {{ pool: app }} ] }}");
        let mut listeners = vec![&*web_listener, "tcp: { bind: '127.0.0.1:0', protocol: tcp, pool: bytes }"];
        // One reload binds an address more, and a later one closes it.
        if (20..30).contains(&round) {
            listeners.push(&extra);
        }
        let backends = match round % 3 {
            0 => format!("'{}'", web.address()),
            1 => format!("'{}', '{}'", web.address(), more.address()),
            _ => format!("'{}', {{ address: '{}', weight: 3 }}", web.address(), more.address()),
        };
        file(
            &listeners,
            &[&format!("app: {{ backends: [{backends}] }}"), &super::pool("bytes", &[bytes.address()])],
        )
    };
    let weir = Weir::from_text(&text(0));
    let (http, tcp) = (weir.address(), weir.app().address("tcp"));
    let tunnels = (0..EACH).map(|_| {
        let mut client = RawClient::connect(http);
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        assert_eq!(client.response("GET").unwrap().status(), 101);
        client
    });
    let tunnels: Vec<_> = tunnels.collect();
    let streams: Vec<_> = (0..EACH).map(|_| RawClient::connect(tcp)).collect();
    let count = Count::default();
    thread::scope(|scope| {
        for _ in 0..EACH {
            scope.spawn(|| ask(http, false, &count));
            scope.spawn(|| ask(http, true, &count));
        }
        for client in tunnels {
            scope.spawn(|| talk(client, "tunnel", &count));
        }
        for client in streams {
            scope.spawn(|| talk(client, "TCP connection", &count));
        }
        for round in 1..=RELOADS {
            let broken = round == RELOADS / 2;
            let next = if broken { "listeners: {".to_owned() } else { text(round) };
            let outcome = weir.app().reload_text(&next);
            if outcome.is_ok() == broken {
                count.fail(&format!("reload {round}: {outcome:?}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        count.stopped.store(true, Ordering::Relaxed);
    });
    let (requests, failures) = (count.requests.into_inner(), count.failures.into_inner().unwrap());
    println!("{requests} requests and answers, {} failed", failures.len());
    assert!(
        failures.is_empty(),
        "{} of {requests}: {:?}",
        failures.len(),
        &failures[..failures.len().min(5)]
    );
    assert!(requests > RELOADS, "{requests}");
    let record = weir.app().reloads().unwrap();
    assert_eq!((record.reloads, record.refused), (RELOADS as u64 - 1, 1));
}
