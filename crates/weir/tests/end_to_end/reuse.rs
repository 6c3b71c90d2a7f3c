//! Connections that are kept: the client's, the backend's, and requests in a row on one of them.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::atomic::Ordering,
    thread::{self, JoinHandle},
};

use weir_testkit::{Answer, End, FakeBackend, Message, RawClient, wait_until};

use crate::support::{Setup, Weir};

fn targets(requests: &[Message]) -> Vec<&str> {
    requests.iter().map(Message::target).collect()
}

#[test]
fn requests_on_one_connection_share_one_connection_to_the_backend() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    for target in ["/1", "/2", "/3"] {
        assert_eq!(client.get(target).status(), 200);
    }
    assert_eq!(targets(&backend.requests()), ["/1", "/2", "/3"]);
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_connection_to_the_backend_goes_from_client_to_client() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).start();
    for _ in 0..5 {
        assert_eq!(RawClient::connect(weir.address()).get("/").status(), 200);
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_client_that_says_close_is_closed_and_the_backend_is_kept() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).start();
    for _ in 0..2 {
        let mut client = RawClient::connect(weir.address());
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        let response = client.final_response("GET");
        assert!(response.complete && response.lists("connection", "close"), "{response}");
        assert_eq!(client.read_to_end(), (Vec::new(), End::Closed));
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn http_1_0_is_closed_unless_it_asks_to_be_kept() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send("GET /closed HTTP/1.0\r\n\r\n");
    assert_eq!(client.final_response("GET").status(), 200);
    assert!(client.closed());
    let mut client = RawClient::connect(weir.address());
    for _ in 0..2 {
        client.send("GET /kept HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let response = client.final_response("GET");
        assert!(response.status() == 200 && response.lists("connection", "keep-alive"), "{response}");
    }
    assert_eq!(targets(&backend.requests()), ["/closed", "/kept", "/kept"]);
}

#[test]
fn a_backend_that_says_close_is_connected_anew() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let backend = FakeBackend::answering(Answer::bytes(answer).then_close());
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!(response.text(), "ok");
        assert!(!response.has("connection"), "the backend's wish is not the client's: {response}");
    }
    assert_eq!(backend.accepted(), 3);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    let request = |n: usize| match n % 3 {
        0 => format!("GET /{n} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        1 => format!("POST /{n} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nabcd"),
        _ => format!(
            "POST /{n} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        ),
    };
    client.send((0..50).map(request).collect::<String>());
    for n in 0..50 {
        let text = client.final_response("GET").text();
        assert!(text.contains(&format!(" /{n} HTTP/1.1\r\n")), "{n}: {text}");
    }
    assert_eq!((backend.requests().len(), backend.accepted()), (50, 1));
}

#[test]
fn a_pipeline_ends_with_the_request_that_says_close() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send(
        "GET /1 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n",
    );
    assert_eq!(client.final_response("GET").status(), 200);
    assert!(client.response("GET").is_none());
    assert_eq!(targets(&backend.requests()), ["/1"]);
}

#[test]
fn max_requests_and_max_idle_are_kept_to() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).pool("keepalive: { max_requests: 2, max_idle: 1 }").start();
    let mut client = RawClient::connect(weir.address());
    for _ in 0..6 {
        assert_eq!(client.get("/").status(), 200);
    }
    assert_eq!(backend.accepted(), 3);
    let mut clients: Vec<_> = (0..4).map(|_| RawClient::connect(weir.address())).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    clients.iter_mut().for_each(|client| assert_eq!(client.final_response("GET").status(), 200));
    wait_until("at most one idle connection is left", || backend.open() <= 1);
}

#[test]
fn with_max_idle_0_nothing_is_kept() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).pool("keepalive: { max_idle: 0 }").start();
    let mut client = RawClient::connect(weir.address());
    for count in 1..=4 {
        assert_eq!(client.get("/").status(), 200);
        assert_eq!(backend.accepted(), count);
    }
    wait_until("none is left", || backend.open() == 0);
}

#[test]
fn a_kept_connection_that_the_backend_closed_is_never_the_clients_problem() {
    // Each connection is closed after its answer without a word about it.
    let backend = FakeBackend::answering(Answer::ok("ok").then_close());
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    for round in 0..20 {
        for method in ["GET", "POST"] {
            client.send(format!("{method} /{round} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nab"));
            let response = client.final_response(method);
            assert_eq!((response.status(), response.text().as_str()), (200, "ok"), "{method} {round}");
            wait_until("the backend has closed", || backend.open() == 0);
        }
    }
    assert_eq!(backend.requests().len(), 40);
}

/// A backend whose connections take one request each, and say so only by closing when the next one comes.
fn forgetful(name: &'static str) -> FakeBackend {
    FakeBackend::custom(move |mut connection| {
        if connection.read_request().is_some() {
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()));
            connection.read_request();
        }
    })
}

#[test]
fn a_connection_that_had_gone_stale_is_made_anew_to_the_same_backend() {
    for pool in
        ["sticky: { cookie: WEIR }", "balance: maglev", "balance: maglev\n    limits: { connections: 1 }"]
    {
        let backends = [forgetful("one"), forgetful("two"), forgetful("six")];
        let addresses = backends.each_ref().map(FakeBackend::address);
        let weir = Setup::http(&addresses).pool(pool).start();
        let mut client = RawClient::connect(weir.address());
        let first = client.get("/");
        let cookie = first.header("set-cookie").map(|field| field.split(';').next().unwrap().to_owned());
        let cookie = cookie.map_or_else(String::new, |cookie| format!("Cookie: {cookie}\r\n"));
        for _ in 0..9 {
            client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{cookie}\r\n"));
            let answer = client.final_response("GET");
            assert_eq!((answer.text(), answer.has("set-cookie")), (first.text(), false), "{pool}");
        }
        let snapshot = weir.app().snapshot();
        let pool_now = &snapshot.pools[0];
        assert!(pool_now.status.retries.sum(|retries| retries.stale.value()) > 0, "{pool}");
        for backend in &pool_now.backends {
            assert_eq!(backend.status.shards.sum(|shard| shard.errors.value()), 0, "{pool}");
        }
        wait_until("nothing is in flight", || {
            pool_now.backends.iter().all(|backend| backend.status.active.load(Ordering::SeqCst) == 0)
        });
    }
}

/// One that takes one connection, whose second request it does not answer; then nobody is there any more.
fn gone_after_one() -> (SocketAddr, JoinHandle<()>) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let served = thread::spawn(move || {
        let (mut stream, _) = socket.accept().unwrap();
        drop(socket);
        let mut bytes = [0; 4096];
        assert!(stream.read(&mut bytes).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold").unwrap();
        assert!(stream.read(&mut bytes).unwrap() > 0);
    });
    (address, served)
}

#[test]
fn who_does_not_come_back_after_that_has_failed() {
    let (gone, served) = gone_after_one();
    let other = FakeBackend::answering(Answer::ok("other"));
    // A connection that had gone stale costs no retry, nor does it that nobody is there any more.
    let weir = Setup::http(&[gone, other.address()]).route("retry: { retries: 0 }").start();
    let snapshot = weir.app().snapshot();
    let status = &snapshot.pools[0].backends[0].status;
    let errors = || status.shards.sum(|shard| shard.errors.value());
    let mut client = RawClient::connect(weir.address());
    let mut answers = Vec::new();
    // Whoever comes to it after that finds nobody there at once, which is an attempt like any other.
    while errors() == 0 {
        answers.push(client.get("/").text());
        assert!(answers.len() < 5, "that nobody is there counts: {answers:?}");
    }
    served.join().unwrap();
    let old = answers.iter().filter(|answer| *answer == "old").count();
    assert!(old == 1 && answers.iter().all(|answer| answer == "old" || answer == "other"), "{answers:?}");
}

#[test]
fn what_came_whole_before_the_client_finished_is_answered() {
    let backend = FakeBackend::answering_each(|_| Answer::ok("ok"));
    let weir = Weir::from_text(&format!(
        "workers: 1\nlisteners:\n  web:\n    bind: 127.0.0.1:0\n    protocol: http\n    pool: app\n    routes:\n      \
         - {{ match: {{ path: /own }}, respond: {{ status: 200, body: ok }} }}\n\
         pools: {{ app: {{ backends: ['{}'] }} }}\n",
        backend.address()
    ));
    let get = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let own = "GET /own HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nabcd";
    // More than a buffer takes, line ends behind the last one, and one that is cut off, which is not answered.
    for (sent, behind) in [
        (get.repeat(2), ""),
        (get.repeat(50), ""),
        ([get, own, post].concat().repeat(20), ""),
        (get.repeat(1000), ""),
        (get.repeat(3), "\r\n"),
        (get.repeat(3), "GET / HTTP/1.1\r\nHost: a.test\r\n"),
    ] {
        let mut client = RawClient::connect(weir.address());
        client.send([&sent, behind].concat()).finish();
        let (answers, end) = client.read_to_end();
        let count = |bytes: &[u8], what: &str| String::from_utf8_lossy(bytes).matches(what).count();
        let requests = count(sent.as_bytes(), " HTTP/1.1\r\n");
        assert_eq!((count(&answers, "HTTP/1.1 200 OK\r\n"), end), (requests, End::Closed), "{behind:?}");
        assert_eq!(count(&answers, "HTTP/1.1 "), requests, "{behind:?}");
    }
}
