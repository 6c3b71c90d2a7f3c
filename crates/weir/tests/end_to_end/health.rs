//! Active checks: who does not answer well gets no traffic, and gets it again once it does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use weir_testkit::{Answer, FakeBackend, RawClient, Refusing, wait_until};

use crate::support::{Setup, Weir};

const QUICK: &str = "health: { http: /healthz, interval: 50ms, timeout: 300ms, fall: 2, rise: 2 }";

/// What the checked backend does just now.
const WELL: usize = 0;
const ERRORS: usize = 1;
const HANGS: usize = 2;

/// A backend whose state the test sets; it answers requests with its name.
fn moody(name: &'static str) -> (FakeBackend, Arc<AtomicUsize>) {
    let mood = Arc::new(AtomicUsize::new(WELL));
    let now = Arc::clone(&mood);
    let backend = FakeBackend::answering_each(move |_| match now.load(Ordering::SeqCst) {
        WELL => Answer::ok(name),
        ERRORS => Answer::bytes("HTTP/1.1 500 Broken\r\nContent-Length: 6\r\n\r\nbroken"),
        _ => Answer::hang(),
    });
    (backend, mood)
}

/// The answers to a few requests, each with a connection of its own.
fn answers(weir: &Weir) -> Vec<String> {
    (0..8).map(|_| RawClient::connect(weir.address()).get("/").text()).collect()
}

/// The state in which all answers come from these backends, and from each of them.
fn comes_from(weir: &Weir, names: &[&str]) -> bool {
    let answers = answers(weir);
    answers.iter().all(|answer| names.contains(&answer.as_str()))
        && names.iter().all(|name| answers.iter().any(|answer| answer == name))
}

#[test]
fn a_zombie_leaves_and_comes_back() {
    // It accepts connections and answers each request with 500.
    let ((good, _), (zombie, mood)) = (moody("good"), moody("zombie"));
    let weir = Setup::http(&[good.address(), zombie.address()]).pool(QUICK).start();
    wait_until("both are up", || comes_from(&weir, &["good", "zombie"]));
    mood.store(ERRORS, Ordering::SeqCst);
    wait_until("the zombie is down", || comes_from(&weir, &["good"]));
    mood.store(WELL, Ordering::SeqCst);
    wait_until("it is back", || comes_from(&weir, &["good", "zombie"]));
}

#[test]
fn a_backend_that_hangs_leaves() {
    let ((good, _), (hung, mood)) = (moody("good"), moody("hung"));
    let weir =
        Setup::http(&[good.address(), hung.address()]).pool(QUICK).pool("response_timeout: 500ms").start();
    wait_until("both are up", || comes_from(&weir, &["good", "hung"]));
    mood.store(HANGS, Ordering::SeqCst);
    wait_until("the one that hangs is down", || comes_from(&weir, &["good"]));
}

#[test]
fn nothing_is_sent_to_a_backend_before_its_first_check() {
    let refusing = Refusing::new();
    let (good, _) = moody("good");
    let weir = Setup::http(&[refusing.address(), good.address()]).pool(QUICK).start();
    wait_until("the good one is up", || RawClient::connect(weir.address()).get("/").text() == "good");
    assert!(answers(&weir).iter().all(|answer| answer == "good"));
}

#[test]
fn with_nobody_left_the_answer_is_503_at_once() {
    let (backend, mood) = moody("good");
    let weir = Setup::http(&[backend.address()]).pool(QUICK).start();
    let mut client = RawClient::connect(weir.address());
    wait_until("it is up", || RawClient::connect(weir.address()).get("/").text() == "good");
    mood.store(ERRORS, Ordering::SeqCst);
    wait_until("it is down", || client.get("/").status() == 503);
    assert_eq!(client.get("/").status(), 503, "the client's connection goes on");
    mood.store(WELL, Ordering::SeqCst);
    wait_until("it is back", || client.get("/").text() == "good");
}

#[test]
fn a_tcp_check_sees_who_accepts_connections() {
    let good = FakeBackend::answering(Answer::ok("good"));
    let address = good.address();
    let weir = Setup::tcp(&[address])
        .pool("health: { tcp: {}, interval: 50ms, timeout: 300ms, fall: 1, rise: 1 }")
        .start();
    let asks = || {
        let mut client = RawClient::try_connect(weir.address()).ok()?;
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response("GET").map(|answer| answer.text())
    };
    wait_until("it is up", || asks().as_deref() == Some("good"));
    drop(good);
    wait_until("it is down", || asks().is_none());
    let _again = FakeBackend::custom_at(address, |mut connection| {
        while connection.read_request().is_some() {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain");
        }
    });
    wait_until("it is back", || asks().as_deref() == Some("again"));
}

/// Answers datagrams until it is dropped.
struct Responder(std::net::SocketAddr, Arc<AtomicUsize>, Option<std::thread::JoinHandle<()>>);

impl Responder {
    fn at(address: &str) -> Self {
        let socket = std::net::UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let address = socket.local_addr().unwrap();
        let stopped = Arc::new(AtomicUsize::new(0));
        let over = Arc::clone(&stopped);
        let thread = std::thread::spawn(move || {
            let mut room = [0; 100];
            while over.load(Ordering::SeqCst) == 0 {
                if let Ok((length, from)) = socket.recv_from(&mut room) {
                    let answer: &[u8] = if room[..length] == *b"ping\0" { b"<pong>" } else { b"what?" };
                    socket.send_to(answer, from).unwrap();
                }
            }
        });
        Self(address, stopped, Some(thread))
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.1.store(1, Ordering::SeqCst);
        self.2.take().map(std::thread::JoinHandle::join);
    }
}

#[test]
fn a_udp_check_sees_who_answers() {
    let backend = FakeBackend::answering(Answer::ok("good"));
    let responder = Responder::at("127.0.0.1:0");
    let address = responder.0;
    let check = format!(
        r"health: {{ udp: {{ send: 'ping\0', expect: pong }}, port: {}, interval: 50ms, timeout: 300ms, fall: 1, rise: 1 }}",
        address.port()
    );
    let weir = Setup::http(&[backend.address()]).pool(&check).start();
    let asks = || RawClient::connect(weir.address()).get("/").status();
    wait_until("it is up", || asks() == 200);
    drop(responder);
    wait_until("it is down", || asks() == 503);
    let _again = Responder::at(&address.to_string());
    wait_until("it is back", || asks() == 200);
}

#[test]
fn checks_go_on_while_traffic_is_slow() {
    // Checks have a runtime of their own: a backend that is slow to answer requests is not slow to be checked.
    let backend = FakeBackend::answering_each(|request| match request.target() {
        "/healthz" => Answer::ok("well"),
        _ => Answer::ok("slow").slowly(Duration::from_millis(5)),
    });
    let weir = Setup::http(&[backend.address()]).pool(QUICK).start();
    wait_until("it is up", || RawClient::connect(weir.address()).get("/").text() == "slow");
    backend.forget();
    let mut client = RawClient::connect(weir.address());
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "slow");
    }
    wait_until("it was checked meanwhile", || {
        backend.requests().iter().filter(|request| request.target() == "/healthz").count() >= 2
    });
}
