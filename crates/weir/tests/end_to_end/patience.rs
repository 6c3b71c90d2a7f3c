//! What a route says about trying again, and about how long an exchange may take.

use weir_testkit::{Answer, FakeBackend, RawClient, Refusing, wait_until};

use crate::support::Setup;

const POST: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nabcd";

fn status(status: u16) -> FakeBackend {
    FakeBackend::answering(Answer::bytes(format!("HTTP/1.1 {status} X\r\nContent-Length: 3\r\n\r\nbad")))
}

#[test]
fn an_answer_with_a_named_status_is_asked_for_elsewhere() {
    let (bad, good) = (status(503), FakeBackend::echo());
    let weir = Setup::http(&[bad.address(), good.address()])
        .route("retry: { retry_on: [503], budget: none }")
        .start();
    let mut client = RawClient::connect(weir.address());
    for _ in 0..10 {
        assert_eq!(client.get("/").status(), 200);
    }
    assert!(!bad.requests().is_empty(), "the bad one was never asked");
    // What may not be sent twice keeps its answer.
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(client.send(POST).final_response("POST").status());
    }
    seen.sort_unstable();
    assert_eq!(seen, [200, 200, 503, 503]);
}

#[test]
fn where_no_other_backend_is_left_the_answer_is_passed_on() {
    let bad = [status(503), status(503)];
    let weir = Setup::http(&[bad[0].address(), bad[1].address()])
        .route("retry: { retry_on: [503], retries: 5, budget: none }")
        .start();
    let response = RawClient::connect(weir.address()).get("/");
    assert_eq!((response.status(), response.text().as_str()), (503, "bad"));
    assert_eq!((bad[0].requests().len(), bad[1].requests().len()), (1, 1));
}

#[test]
fn an_attempt_that_takes_too_long_is_given_up() {
    let (slow, good) = (FakeBackend::answering(Answer::hang()), FakeBackend::echo());
    let weir = Setup::http(&[slow.address(), good.address()])
        .route("retry: { per_try: 200ms, budget: none }")
        .start();
    for _ in 0..2 {
        assert_eq!(RawClient::connect(weir.address()).get("/").status(), 200);
    }
    assert!(!slow.requests().is_empty(), "the slow one was never asked");
    wait_until("the slow one was let go", || slow.open() == 0);
}

#[test]
fn a_response_timeout_is_tried_again_only_if_the_route_says_so() {
    let run = |line: &str| {
        let (slow, good) = (FakeBackend::answering(Answer::hang()), FakeBackend::echo());
        let weir = Setup::http(&[slow.address(), good.address()])
            .pool("response_timeout: 200ms")
            .route(line)
            .start();
        let mut seen: Vec<_> = (0..2).map(|_| RawClient::connect(weir.address()).get("/").status()).collect();
        seen.sort_unstable();
        seen
    };
    assert_eq!(run("retry: { retries: 1 }"), [200, 504]);
    assert_eq!(run("retry: { retry_on: [timeout] }"), [200, 200]);
}

#[test]
fn without_retries_a_refused_connection_is_an_error() {
    let refusing = Refusing::new();
    let good = FakeBackend::echo();
    let weir = Setup::http(&[refusing.address(), good.address()]).route("retry: { retries: 0 }").start();
    let mut client = RawClient::connect(weir.address());
    let mut seen: Vec<_> = (0..4).map(|_| client.get("/").status()).collect();
    seen.sort_unstable();
    assert_eq!(seen, [200, 200, 502, 502]);
}

#[test]
fn an_exchange_that_takes_longer_than_its_route_allows_is_ended() {
    let slow = FakeBackend::answering(Answer::hang());
    let weir = Setup::http(&[slow.address()]).route("timeout: 200ms").start();
    let mut client = RawClient::connect(weir.address());
    assert_eq!(client.get("/").status(), 504);
    wait_until("the backend was let go", || slow.open() == 0);
    // An upload that never ends is part of the exchange.
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nabc");
    assert_eq!(client.final_response("POST").status(), 504);
}

#[test]
fn an_answer_that_takes_longer_than_its_route_allows_is_cut() {
    let backend =
        FakeBackend::answering(Answer::bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").then_hang());
    let weir = Setup::http(&[backend.address()]).route("timeout: 300ms").start();
    let response = RawClient::connect(weir.address()).get("/");
    assert_eq!((response.status(), response.complete), (200, false));
    wait_until("the backend was let go", || backend.open() == 0);
}
