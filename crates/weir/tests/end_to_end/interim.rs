//! Interim responses (RFC 9110, 15.2) and the wait for them (10.1.1).

use weir_testkit::{Answer, FakeBackend, RawClient, wait_until};

use crate::support::Setup;

const ASK: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";

#[test]
fn a_client_that_waits_goes_on_when_the_backend_says_so() {
    let backend = FakeBackend::custom(|mut connection| {
        while let Some(mut request) = connection.read_head() {
            connection.send("HTTP/1.1 100 Continue\r\n\r\n");
            connection.read_body(&mut request);
            connection.log(request);
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    for _ in 0..2 {
        client.send(ASK);
        assert_eq!(client.response("POST").unwrap().status(), 100);
        client.send("abcd");
        assert_eq!(client.final_response("POST").text(), "ok");
    }
    let requests = backend.requests();
    assert_eq!((requests.len(), backend.accepted()), (2, 1));
    assert!(
        requests.iter().all(|request| request.text() == "abcd" && request.lists("expect", "100-continue"))
    );
}

#[test]
fn a_backend_that_does_not_want_the_body_is_not_sent_it() {
    let backend = FakeBackend::custom(|mut connection| {
        if let Some(request) = connection.read_head() {
            connection.log(request);
            connection.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
            connection.read_to_end();
        }
    });
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send(ASK);
    let response = client.response("POST").unwrap();
    assert_eq!((response.status(), response.text().as_str()), (401, "no"));
    // The client may send its body or not; only a close tells the next request from it.
    assert!(response.lists("connection", "close"), "{response}");
    client.send("abcd");
    assert!(client.closed());
    wait_until("the backend's connection has ended", || backend.open() == 0);
    assert!(backend.bytes().ends_with(b"\r\n\r\n"));
}

#[test]
fn a_body_that_is_there_already_waits_for_nobody() {
    // This backend knows no 100: it waits for the body.
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send(format!("{ASK}abcd"));
    assert_eq!(client.final_response("POST").text(), "ok");
    assert_eq!(backend.only_request().text(), "abcd");
}

#[test]
fn a_client_that_stops_waiting_is_served() {
    // Nobody says 100; a client may send its body all the same.
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send(ASK);
    wait_until("the head is at the backend", || backend.byte_count() > 0);
    client.send("abcd");
    assert_eq!(client.final_response("POST").text(), "ok");
}

#[test]
fn hints_are_passed_on_before_the_answer() {
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    let answer = format!("{hint}{hint}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let backend = FakeBackend::answering(Answer::bytes(answer));
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    for _ in 0..2 {
        let hint = client.response("GET").unwrap();
        assert_eq!((hint.status(), hint.header("link")), (103, Some("</a.css>; rel=preload")));
    }
    assert_eq!(client.response("GET").unwrap().text(), "ok");
}

#[test]
fn http_1_0_clients_see_no_interim_answers() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let backend = FakeBackend::answering(Answer::bytes(answer));
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.response("GET").unwrap().text(), "ok");
}
