//! Time-outs, with small values. What is asserted is which one strikes and how it shows, not how fast.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
    time::Duration,
};

use weir_testkit::{Answer, BlackHole, End, FakeBackend, RawClient, wait_until};

use crate::support::Setup;

#[test]
fn a_head_that_does_not_end_is_answered_with_408() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).listener("timeouts: { header: 200ms }").start();
    for start in ["G", "GET / HTTP/1.1\r\nHost: a.test\r\n", "GET / HTTP/1.1\r\nHost: a.test\r\nX: y\r\n\r"] {
        let mut client = RawClient::connect(weir.address());
        client.send(start);
        let response = client.final_response("GET");
        assert_eq!(response.status(), 408, "{start:?}");
        assert!(client.closed());
    }
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn a_head_that_trickles_is_not_given_more_time() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).listener("timeouts: { header: 300ms }").start();
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n");
    // Enough fields for many times the limit, were it counted from the last byte.
    for n in 0..100 {
        client.send(format!("X{n}: y\r\n"));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(client.final_response("GET").status(), 408);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).listener("timeouts: { idle: 200ms }").start();
    let mut fresh = RawClient::connect(weir.address());
    let mut used = RawClient::connect(weir.address());
    assert_eq!(used.get("/").status(), 200);
    assert_eq!(used.read_to_end(), (Vec::new(), End::Closed));
    assert_eq!(fresh.read_to_end(), (Vec::new(), End::Closed));
}

#[test]
fn a_body_that_stops_coming_is_answered_with_408() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).listener("timeouts: { body_idle: 200ms }").start();
    for head in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let mut client = RawClient::connect(weir.address());
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{head}"));
        assert_eq!(client.final_response("POST").status(), 408);
        assert!(client.closed());
    }
    wait_until("the backend has seen the end", || backend.open() == 0);
    assert!(backend.requests().iter().all(|request| !request.complete));
}

#[test]
fn a_body_that_keeps_coming_is_given_all_the_time_it_needs() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).listener("timeouts: { body_idle: 2s }").start();
    let mut client = RawClient::connect(weir.address());
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 30\r\n\r\n");
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(100));
        client.send("a");
    }
    assert_eq!(client.final_response("POST").status(), 200);
}

#[test]
fn a_backend_that_does_not_answer_leads_to_504() {
    let backend = FakeBackend::answering(Answer::hang());
    let weir = Setup::http(&[backend.address()]).pool("response_timeout: 200ms").start();
    let mut client = RawClient::connect(weir.address());
    assert_eq!(client.get("/").status(), 504);
    // It may yet answer; that answer must not be the next one's.
    assert_eq!(client.get("/").status(), 504);
    wait_until("both connections to the backend have ended", || backend.open() == 0);
}

#[test]
fn a_backend_that_falls_silent_leaves_a_truncated_answer() {
    let backend =
        FakeBackend::answering(Answer::bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").then_hang());
    let weir = Setup::http(&[backend.address()]).pool("stream_idle: 200ms").start();
    let mut client = RawClient::connect(weir.address());
    let response = client.get("/");
    assert_eq!((response.status(), response.text().as_str(), response.complete), (200, "abc", false));
    assert!(client.closed());
}

#[test]
fn a_backend_that_cannot_be_reached_leads_to_504() {
    let hole = BlackHole::new();
    let weir = Setup::http(&[hole.address()]).pool("connect_timeout: 200ms").start();
    assert_eq!(RawClient::connect(weir.address()).get("/").status(), 504);
}

#[test]
fn a_backend_that_cannot_be_reached_is_passed_over() {
    let hole = BlackHole::new();
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let weir = Setup::http(&[hole.address(), backend.address()]).pool("connect_timeout: 200ms").start();
    for _ in 0..3 {
        assert_eq!(RawClient::connect(weir.address()).get("/").text(), "ok");
    }
}

#[test]
fn a_client_that_takes_nothing_is_cut_off() {
    // More than the kernel's buffers hold.
    let body = vec![b'x'; 32 << 20];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let backend = FakeBackend::answering(Answer::bytes([head.into_bytes(), body].concat()));
    let weir = Setup::http(&[backend.address()]).listener("timeouts: { send_idle: 300ms }").start();
    let mut client = RawClient::connect_narrow(weir.address(), 4096);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    wait_until("the backend has been let go", || backend.accepted() == 1 && backend.open() == 0);
    let response = client.final_response("GET");
    assert!(!response.complete, "{response}");
}

#[test]
fn a_silent_tunnel_is_closed() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    let backend = FakeBackend::answering(Answer::bytes(switch).then_hang());
    let weir = Setup::http(&[backend.address()]).listener("timeouts: { tunnel: 200ms }").start();
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    assert_eq!(client.response("GET").unwrap().status(), 101);
    assert!(client.closed());
    wait_until("the backend has seen the end", || backend.open() == 0);
}

#[test]
fn a_tcp_client_that_takes_nothing_is_cut_off() {
    let backend = FakeBackend::custom(|mut connection| {
        connection.send(vec![b'x'; 32 << 20]);
    });
    let weir = Setup::tcp(&[backend.address()]).listener("timeouts: { send_idle: 300ms }").start();
    let client = RawClient::connect_narrow(weir.address(), 4096);
    wait_until("the backend has been let go", || backend.accepted() == 1 && backend.open() == 0);
    drop(client);
}

#[test]
fn a_response_head_that_trickles_is_not_given_more_time() {
    let slow = Answer::bytes(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Filler: yyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n\r\nok",
    );
    let backend = FakeBackend::answering(slow.slowly(Duration::from_millis(20)));
    let weir = Setup::http(&[backend.address()]).pool("response_timeout: 300ms").start();
    assert_eq!(RawClient::connect(weir.address()).get("/").status(), 504);
}

#[test]
fn a_backend_that_does_not_say_go_on_is_late_and_not_its_client() {
    let backend = FakeBackend::custom(|mut connection| {
        connection.read_head();
        connection.read_to_end();
    });
    let weir = Setup::http(&[backend.address()])
        .pool("response_timeout: 300ms")
        .listener("timeouts: { body_idle: 100ms }")
        .start();
    let mut client = RawClient::connect(weir.address());
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.final_response("POST").status(), 504);
}

#[test]
fn an_upgrade_is_given_the_time_of_a_tunnel() {
    let backend = FakeBackend::custom(|mut connection| {
        connection.read_head();
        std::thread::sleep(Duration::from_millis(600));
        connection.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        connection.read_to_end();
    });
    let weir = Setup::http(&[backend.address()]).pool("response_timeout: 200ms").start();
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(client.response_head().unwrap().status(), 101);
}

#[test]
fn a_client_that_reads_slowly_is_not_one_that_reads_nothing() {
    let body = vec![b'x'; 64 << 20];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let backend = FakeBackend::answering(Answer::bytes([head.into_bytes(), body].concat()));
    for setup in [Setup::http(&[backend.address()]), Setup::tcp(&[backend.address()])] {
        let weir = setup.listener("timeouts: { send_idle: 1s }").start();
        let mut client = RawClient::connect(weir.address());
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        for _ in 0..40 {
            assert_eq!(client.read_exact(30_000).len(), 30_000);
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(backend.open(), 1, "it has been given up");
        drop(client);
        wait_until("it has been let go", || backend.open() == 0);
    }
}

#[test]
fn a_backend_that_reads_slowly_is_not_one_that_does_not_answer() {
    const BODY: usize = 12_000_000;
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let backend = thread::spawn(move || {
        let (mut stream, _) = socket.accept().unwrap();
        let (mut bytes, mut read) = (vec![0; 20_000], 0);
        // Far less within `response_timeout` than the kernel waits for until it says that there is room again.
        while read < BODY {
            match stream.read(&mut bytes) {
                Ok(count) if count > 0 => read += count,
                _ => return false,
            }
            if read < 1_000_000 {
                thread::sleep(Duration::from_millis(40));
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").is_ok()
    });
    let weir = Setup::http(&[address]).pool("response_timeout: 700ms").start();
    let mut client = RawClient::connect(weir.address());
    client.send(format!("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {BODY}\r\n\r\n"));
    client.send(vec![b'x'; BODY]);
    assert_eq!(client.final_response("PUT").status(), 200);
    assert!(backend.join().unwrap());
}
