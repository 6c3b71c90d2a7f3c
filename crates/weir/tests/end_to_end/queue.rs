//! Backends and pools that are full: who comes then goes elsewhere, or waits, and nobody waits for nothing.

mod moved;
mod reload;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use weir_model::{pool::Pool, status::State, time::Moment};
use weir_testkit::{Answer, FakeBackend, RawClient, wait_until};

use crate::support::Weir;

/// A backend that answers with its name, one request for each time that it is let.
struct Held {
    backend: FakeBackend,
    inside: Arc<Inside>,
}

#[derive(Default)]
struct Inside {
    let_go: Mutex<usize>,
    changed: Condvar,
    /// Requests that it has just now, and the most that it ever had.
    active: AtomicUsize,
    most: AtomicUsize,
    arrived: AtomicUsize,
}

impl Inside {
    fn serve(&self) {
        let active = self.active.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(active, Ordering::SeqCst);
        self.arrived.fetch_add(1, Ordering::SeqCst);
        let mut let_go = self.let_go.lock().unwrap();
        while *let_go == 0 {
            let_go = self.changed.wait(let_go).unwrap();
        }
        *let_go -= 1;
        drop(let_go);
        self.active.fetch_sub(1, Ordering::SeqCst);
    }

    fn let_go(&self, count: usize) {
        *self.let_go.lock().unwrap() += count;
        self.changed.notify_all();
    }
}

fn held(name: &'static str) -> Held {
    let inside = Arc::<Inside>::default();
    let serving = Arc::clone(&inside);
    let backend = FakeBackend::answering_each(move |request| {
        if request.target() != "/healthz" {
            serving.serve();
        }
        Answer::ok(name)
    });
    Held { backend, inside }
}

impl Held {
    fn address(&self) -> SocketAddr {
        self.backend.address()
    }

    fn has(&self, count: usize) {
        wait_until("requests arrive", || self.inside.arrived.load(Ordering::SeqCst) == count);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.inside.let_go(1_000_000);
    }
}

const LONG: &str = "limits: { queue_timeout: 20s }";

fn file(workers: usize, protocol: &str, pool: &str, backends: &[(&Held, &str)]) -> String {
    let backends: String = backends
        .iter()
        .map(|(backend, keys)| format!("      - {{ address: '{}', {keys} }}\n", backend.address()))
        .collect();
    format!(
        "workers: {workers}\ndebug_headers: true\n\
         listeners: {{ web: {{ bind: '127.0.0.1:0', protocol: {protocol}, pool: app }} }}\n\
         pools:\n  app:\n    {pool}\n    backends:\n{backends}"
    )
}

fn pool(weir: &Weir) -> Arc<Pool> {
    weir.app().snapshot().pools[0].clone()
}

fn pending(weir: &Weir) -> u32 {
    pool(weir).status.pending.load(Ordering::SeqCst)
}

fn ask(weir: &Weir, target: &str) -> RawClient {
    let mut client = RawClient::connect(weir.address());
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    client
}

/// A client whose request waits in the queue, as the nth.
fn queued(weir: &Weir, target: &str, nth: u32) -> RawClient {
    let client = ask(weir, target);
    wait_until("it waits", || pending(weir) == nth);
    client
}

/// Nothing is left of anybody.
fn is_empty(weir: &Weir) {
    wait_until("nothing is left", || {
        let pool = pool(weir);
        let active: u32 =
            pool.backends.iter().map(|backend| backend.status.active.load(Ordering::SeqCst)).sum();
        let waiting: u32 = pool.status.waiting.iter().map(|count| count.load(Ordering::SeqCst)).sum();
        active + waiting + pending(weir) + pool.status.connections.load(Ordering::SeqCst) == 0
    });
}

#[test]
fn a_full_backend_is_passed_over() {
    let (small, large) = (held("small"), held("large"));
    let weir = Weir::from_text(&file(
        1,
        "http",
        LONG,
        &[(&small, "max_connections: 2, weight: 100"), (&large, "weight: 1")],
    ));
    let mut clients: Vec<_> = (0..6).map(|_| ask(&weir, "/")).collect();
    small.has(2);
    large.has(4);
    large.inside.let_go(4);
    small.inside.let_go(2);
    let names: Vec<_> = clients.iter_mut().map(|client| client.final_response("GET").text()).collect();
    assert_eq!(names.iter().filter(|name| *name == "small").count(), 2);
    assert_eq!(pending(&weir), 0);
    is_empty(&weir);
}

#[test]
fn where_all_are_full_they_wait_in_order() {
    let backend = held("one");
    let weir = Weir::from_text(&file(1, "http", LONG, &[(&backend, "max_connections: 1")]));
    let mut first = ask(&weir, "/0");
    backend.has(1);
    let mut waiting: Vec<_> = (1..=4).map(|nth| queued(&weir, &format!("/{nth}"), nth)).collect();
    backend.inside.let_go(5);
    assert_eq!(first.final_response("GET").status(), 200);
    for client in &mut waiting {
        assert_eq!(client.final_response("GET").status(), 200);
    }
    let order: Vec<_> =
        backend.backend.requests().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(order, ["/0", "/1", "/2", "/3", "/4"]);
    assert_eq!(backend.inside.most.load(Ordering::SeqCst), 1);
    assert_eq!(backend.backend.accepted(), 1, "they used the same connection, one after the other");
    is_empty(&weir);
}

#[test]
fn who_waits_too_long_or_finds_the_queue_full_is_told_so() {
    let backend = held("one");
    let limits = "limits: { pending: 1, queue_timeout: 200ms }";
    let weir = Weir::from_text(&file(1, "http", limits, &[(&backend, "max_connections: 1")]));
    let mut first = ask(&weir, "/");
    backend.has(1);
    let mut second = queued(&weir, "/", 1);
    let third = ask(&weir, "/").final_response("GET");
    assert!(third.to_string().contains("weir-error: pool_queue_full"), "{third}");
    let late = second.final_response("GET");
    assert!(late.to_string().contains("weir-error: pool_queue_timeout"), "{late}");
    assert_eq!((third.status(), late.status()), (503, 503));
    backend.inside.let_go(2);
    assert_eq!(first.final_response("GET").status(), 200);
    assert_eq!(second.get("/").status(), 200, "the client's connection goes on");
    assert_eq!(backend.inside.arrived.load(Ordering::SeqCst), 2);
    is_empty(&weir);
}

#[test]
fn with_pending_0_nobody_waits() {
    let backend = held("one");
    for limits in ["limits: { pending: 0 }", "limits: { pending: 0, queue_timeout: none }"] {
        let weir = Weir::from_text(&file(1, "http", limits, &[(&backend, "max_connections: 1")]));
        let arrived = backend.inside.arrived.load(Ordering::SeqCst);
        let mut first = ask(&weir, "/");
        backend.has(arrived + 1);
        let mut second = ask(&weir, "/");
        let refused = second.final_response("GET");
        assert!(refused.to_string().contains("weir-error: pool_queue_full"), "{refused}");
        backend.inside.let_go(2);
        assert_eq!(first.final_response("GET").status(), 200);
        assert_eq!(second.get("/").status(), 200, "a slot that is free is given");
        is_empty(&weir);
    }
}

/// So many clients at two workers, each with so many requests; none may fail, and none of the backends may ever have more
/// than it is to have.
fn crowd(pool: &str, backends: &[(&Held, &str)], most: &[usize], clients: usize) {
    let weir = Weir::from_text(&file(2, "http", pool, backends));
    backends.iter().for_each(|(backend, _)| backend.inside.let_go(1_000_000));
    let (address, each) = (weir.address(), 25);
    let failed: usize = thread::scope(|scope| {
        let client = || {
            let mut failed = 0;
            for round in 0..each {
                // Some keep their connection, some come again: both workers have some at all times.
                let mut client = RawClient::connect(address);
                for _ in 0..1 + round % 2 {
                    failed += usize::from(client.get("/").status() != 200);
                }
            }
            failed
        };
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(failed, 0);
    for ((backend, _), most) in backends.iter().zip(most) {
        let had = backend.inside.most.load(Ordering::SeqCst);
        assert!(had <= *most, "{had} at once instead of {most}");
    }
    is_empty(&weir);
}

#[test]
fn workers_share_a_single_slot() {
    let one = held("one");
    crowd(LONG, &[(&one, "max_connections: 1")], &[1], 8);
}

#[test]
fn the_limits_of_backends_and_of_the_pool_hold_together() {
    let (one, two, three) = (held("one"), held("two"), held("three"));
    let backends = [(&one, "max_connections: 2"), (&two, "max_connections: 1"), (&three, "weight: 1")];
    let limits = "limits: { connections: 3, queue_timeout: 20s }";
    crowd(limits, &backends, &[2, 1, 3], 12);
    let most = "limits: { connections: 3, queue_timeout: 20s }\n    balance: least_conn";
    crowd(most, &backends[..2], &[2, 1], 12);
    let most = "limits: { connections: 2, queue_timeout: 20s }\n    balance: { policy: maglev, key: path }";
    crowd(most, &backends[..2], &[2, 1], 12);
}

#[test]
fn who_leaves_the_queue_is_not_sent_on() {
    let backend = held("one");
    let weir = Weir::from_text(&file(1, "http", LONG, &[(&backend, "max_connections: 1")]));
    let mut first = ask(&weir, "/first");
    backend.has(1);
    // One that has said everything, and one whose body is still in the socket.
    let leaving = queued(&weir, "/leaving", 1);
    let mut uploading = RawClient::connect(weir.address());
    uploading.send("POST /uploading HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n");
    wait_until("it waits", || pending(&weir) == 2);
    let mut last = queued(&weir, "/last", 3);
    leaving.reset();
    wait_until("it is gone", || pending(&weir) == 2);
    uploading.send(vec![b'x'; 5000]);
    uploading.reset();
    backend.inside.let_go(2);
    assert_eq!(first.final_response("GET").status(), 200);
    assert_eq!(last.final_response("GET").status(), 200);
    let targets: Vec<_> =
        backend.backend.requests().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(targets, ["/first", "/last"]);
    is_empty(&weir);
}

#[test]
fn whose_backend_is_drained_meanwhile_goes_elsewhere_or_is_told() {
    let (one, two) = (held("one"), held("two"));
    let weir = Weir::from_text(&file(
        1,
        "http",
        LONG,
        &[(&one, "max_connections: 1"), (&two, "max_connections: 1")],
    ));
    let order = |backend: usize, state: State| {
        pool(&weir).backends[backend].order(Some(state), None, Moment(1));
        pool(&weir).status.touch();
    };
    order(1, State::Draining);
    let mut first = ask(&weir, "/first");
    one.has(1);
    let mut second = queued(&weir, "/second", 1);
    order(1, State::Active);
    two.has(1);
    assert_eq!(pending(&weir), 0, "it went to the one that came back");
    let mut third = queued(&weir, "/third", 1);
    order(0, State::Draining);
    order(1, State::Disabled);
    let told = third.final_response("GET");
    assert!(told.to_string().contains("weir-error: no_healthy_backend"), "{told}");
    one.inside.let_go(1);
    two.inside.let_go(1);
    assert_eq!(
        (first.final_response("GET").text(), second.final_response("GET").text()),
        ("one".into(), "two".into())
    );
    is_empty(&weir);
}

#[test]
fn who_waits_at_shutdown_is_served() {
    let backend = held("one");
    let text = file(1, "http", LONG, &[(&backend, "max_connections: 1")]);
    let app =
        weir::app::App::from_text(&format!("{text}shutdown: {{ announce: 0s, drain: 20s }}\n")).unwrap();
    let (address, pool) = (app.address("web"), app.snapshot().pools[0].clone());
    let ask = |target: &str| {
        let mut client = RawClient::connect(address);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        client
    };
    let mut first = ask("/first");
    backend.has(1);
    let mut waiting = ask("/waiting");
    wait_until("it waits", || pool.status.pending.load(Ordering::SeqCst) == 1);
    let stopping = thread::spawn(move || app.shutdown(&|| false));
    wait_until("nothing is accepted any more", || RawClient::try_connect(address).is_err());
    backend.inside.let_go(2);
    assert_eq!(first.final_response("GET").status(), 200);
    assert_eq!(waiting.final_response("GET").status(), 200);
    assert_eq!(stopping.join().unwrap(), 0, "nothing was cut");
}

/// Sends every byte back.
fn echo() -> FakeBackend {
    FakeBackend::custom(|mut connection| {
        while let [byte] = connection.read_exact(1)[..] {
            connection.send([byte]);
        }
    })
}

fn tcp(pool: &str, backend: &FakeBackend) -> String {
    format!(
        "workers: 1\nlisteners: {{ web: {{ bind: '127.0.0.1:0', protocol: tcp, pool: {pool} }} }}\n\
         pools:\n  {pool}: {{ backends: [{{ address: '{}', max_connections: 1 }}], {LONG} }}\n",
        backend.address()
    )
}

#[test]
fn connections_wait_like_requests() {
    let backend = echo();
    let weir = Weir::from_text(&tcp("app", &backend));
    let mut first = RawClient::connect(weir.address());
    first.send("a");
    assert_eq!(first.read_exact(1), b"a");
    let mut second = RawClient::connect(weir.address());
    second.send("b");
    wait_until("it waits", || pending(&weir) == 1);
    // One that goes away without having said anything is missed by nobody.
    let third = RawClient::connect(weir.address());
    wait_until("it waits", || pending(&weir) == 2);
    third.reset();
    wait_until("it is gone", || pending(&weir) == 1);
    assert_eq!(backend.accepted(), 1);
    drop(first);
    assert_eq!(second.read_exact(1), b"b", "what it said before was not lost");
    drop(second);
    is_empty(&weir);
}

#[test]
fn a_tunnel_keeps_its_place() {
    let backend = FakeBackend::custom(|mut connection| {
        while let Some(request) = connection.read_request() {
            if request.target() == "/upgrade" {
                connection
                    .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
                connection.read_to_end();
                return;
            }
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain");
        }
    });
    let weir = Weir::from_text(&format!(
        "workers: 1\nlisteners: {{ web: {{ bind: '127.0.0.1:0', protocol: http, pool: app }} }}\n\
         pools:\n  app: {{ backends: [{{ address: '{}', max_connections: 1 }}], {LONG} }}\n",
        backend.address()
    ));
    let mut tunnel = RawClient::connect(weir.address());
    tunnel.send("GET /upgrade HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(tunnel.response_head().unwrap().status(), 101);
    let mut waiting = queued(&weir, "/", 1);
    assert_eq!(waiting.read_until_quiet(Duration::from_millis(200)).0, b"");
    drop(tunnel);
    assert_eq!(waiting.final_response("GET").text(), "plain");
    is_empty(&weir);
}

#[test]
fn first_fills_one_after_the_other() {
    let (one, two, three) = (held("one"), held("two"), held("three"));
    let limits = format!("balance: first\n    {LONG}");
    let backends = [(&one, "max_connections: 2"), (&two, "max_connections: 1"), (&three, "weight: 1")];
    let weir = Weir::from_text(&file(1, "http", &limits, &backends));
    let mut clients: Vec<_> = (1..=2)
        .map(|nth| {
            let client = ask(&weir, "/");
            one.has(nth);
            client
        })
        .collect();
    clients.push(ask(&weir, "/"));
    two.has(1);
    clients.push(ask(&weir, "/"));
    three.has(1);
    // Room at the front is used first.
    one.inside.let_go(1);
    wait_until("one has room again", || pool(&weir).backends[0].status.active.load(Ordering::SeqCst) == 1);
    clients.push(ask(&weir, "/"));
    one.has(3);
    [&one, &two, &three].iter().for_each(|backend| backend.inside.let_go(10));
    assert!(clients.iter_mut().all(|client| client.final_response("GET").status() == 200));
    is_empty(&weir);
}
