//! Clients that go away: the backend is told, nothing is left behind, and nobody else is harmed.

use std::{
    io::{ErrorKind, Read},
    net::TcpListener,
    time::Duration,
};

use weir_testkit::{Answer, End, FakeBackend, RawClient, wait_until};

use crate::support::{Setup, Weir};

#[test]
fn a_client_that_resets_while_it_waits_frees_the_backend() {
    let backend = FakeBackend::answering(Answer::hang());
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    wait_until("the request is at the backend", || backend.requests().len() == 1);
    client.reset();
    wait_until("the backend has been let go", || backend.open() == 0);
}

#[test]
fn a_client_that_resets_in_its_upload_is_an_incomplete_request() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).start();
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        backend.forget();
        let mut client = RawClient::connect(weir.address());
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{framing}\r\n\r\n4\r\nabcd\r\n"));
        wait_until("the request is at the backend", || backend.byte_count() > 0);
        client.reset();
        wait_until("the backend has been let go", || backend.open() == 0);
        assert!(!backend.only_request().complete, "{framing}");
    }
}

#[test]
fn a_client_that_closes_in_its_upload_is_an_incomplete_request() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\nabcd").finish();
    client.closed();
    wait_until("the backend has been let go", || backend.accepted() == 1 && backend.open() == 0);
    assert!(!backend.only_request().complete);
}

#[test]
fn a_client_that_has_said_everything_still_gets_its_answer() {
    let backend = FakeBackend::answering(Answer::ok("ok").slowly(std::time::Duration::from_millis(2)));
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").finish();
    assert_eq!(client.final_response("GET").text(), "ok");
    assert_eq!(client.read_to_end(), (Vec::new(), End::Closed));
}

#[test]
fn a_client_that_goes_away_in_its_download_frees_the_backend() {
    let body = vec![b'x'; 32 << 20];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let backend = FakeBackend::answering(Answer::bytes([head.into_bytes(), body].concat()));
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response_head().unwrap().status(), 200);
    client.reset();
    wait_until("the backend has been let go", || backend.open() == 0);
    // The next client is served as ever.
    let mut client = RawClient::connect(weir.address());
    assert!(client.get("/").complete);
}

#[test]
fn a_client_that_leaves_a_stream_of_events_frees_the_backend() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let backend = FakeBackend::answering(Answer::bytes(format!("{head}9\r\ndata: 1\n\n\r\n")).then_hang());
    let weir = Setup::http(&[backend.address()]).start();
    for reset in [false, true] {
        let mut client = RawClient::connect(weir.address());
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.response_head().unwrap().status(), 200);
        wait_until("it is under way", || backend.open() == 1);
        if reset {
            client.reset();
        } else {
            drop(client);
        }
        wait_until("the backend has been let go", || backend.open() == 0);
    }
}

#[test]
fn a_client_that_resets_a_download_that_has_stopped_frees_the_backend() {
    let backend =
        FakeBackend::answering(Answer::bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").then_hang());
    let weir = Setup::http(&[backend.address()]).start();
    // With the next request sent already, the end of the connection is not to be seen by reading.
    for more in ["", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"] {
        let mut client = RawClient::connect(weir.address());
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n{more}"));
        assert_eq!(client.response_head().unwrap().status(), 200);
        client.reset();
        wait_until("the backend has been let go", || backend.open() == 0);
    }
}

#[test]
fn a_client_that_has_said_everything_and_resets_frees_the_backend() {
    let backend = FakeBackend::answering(Answer::hang());
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").finish();
    wait_until("the request is at the backend", || backend.requests().len() == 1);
    client.reset();
    wait_until("the backend has been let go", || backend.open() == 0);
}

#[test]
fn a_client_that_resets_an_upload_that_nobody_takes_frees_the_backend() {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let weir = Setup::http(&[backend.local_addr().unwrap()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n");
    let (mut taken, _) = backend.accept().unwrap();
    client.send_until_stuck(&[b'x'; 65536], Duration::from_millis(300));
    client.reset();
    taken.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut sink = vec![0; 1 << 20];
    let end = loop {
        match taken.read(&mut sink) {
            Ok(0) => break None,
            Ok(_) => {}
            Err(error) => break Some(error.kind()),
        }
    };
    assert_ne!(end, Some(ErrorKind::WouldBlock), "the connection is still there");
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let weir = Weir::from_text(
        "listeners:\n  web: { bind: 127.0.0.1:0, protocol: http, routes: [{ match: { path: /no }, respond: { status: 403 } }] }\n",
    );
    let mut client = RawClient::connect(weir.address());
    client.send("POST /no HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4000000\r\n\r\n");
    client.send(vec![b'x'; 4_000_000]);
    assert_eq!(client.final_response("POST").status(), 403);
    assert!(client.closed());
}

#[test]
fn what_a_client_sends_behind_its_last_request_does_not_cut_the_answer() {
    let body = vec![b'x'; 8 << 20];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let backend = FakeBackend::answering(Answer::bytes([head.into_bytes(), body].concat()));
    let weir = Setup::http(&[backend.address()]).start();
    for more in ["\r\n", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"] {
        let mut client = RawClient::connect(weir.address());
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        wait_until("the answer has begun", || client.peek() > 0);
        client.send(more);
        let answer = client.final_response("GET");
        assert!(answer.complete, "{more:?}");
    }
}

#[test]
fn what_a_client_sends_behind_its_last_request_does_not_cut_an_answer_of_our_own() {
    let weir = Weir::from_text(&format!(
        "listeners:\n  web: {{ bind: 127.0.0.1:0, protocol: http, routes: [{{ respond: {{ status: 200, body: {} }} }}] }}\n",
        "x".repeat(16 << 20)
    ));
    // Behind it in one piece, and while the answer is on its way.
    for (with, later) in [("\r\n", ""), ("", "\r\n"), ("", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")] {
        let mut client = RawClient::connect_narrow(weir.address(), 4096);
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n{with}"));
        wait_until("the answer has begun", || client.peek() > 0);
        client.send(later);
        let answer = client.final_response("GET");
        assert!(answer.complete, "{with:?} {later:?}");
    }
}
