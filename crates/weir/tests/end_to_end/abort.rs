//! Clients that go away: the backend is told, nothing is left behind, and nobody else is harmed.

use weir_testkit::{Answer, End, FakeBackend, RawClient, wait_until};

use crate::support::Setup;

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
