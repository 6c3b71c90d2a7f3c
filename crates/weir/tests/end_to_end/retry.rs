//! Second tries: when nothing was sent, or nothing can have happened; never else.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use weir_testkit::{Answer, FakeBackend, RawClient, Refusing};

use crate::support::Setup;

const POST: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nabcd";

#[test]
fn a_backend_that_refuses_connections_costs_no_request() {
    let backend = FakeBackend::echo();
    let refusing = Refusing::new();
    let weir = Setup::http(&[refusing.address(), backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    for _ in 0..10 {
        assert_eq!(client.get("/").status(), 200);
        // Nothing was sent to the one that refused, so any method may go elsewhere.
        assert_eq!(client.send(POST).final_response("POST").status(), 200);
    }
    assert_eq!(backend.requests().len(), 20);
}

#[test]
fn where_all_refuse_the_answer_is_502_and_the_connection_goes_on() {
    let refusing = [Refusing::new(), Refusing::new()];
    let weir = Setup::http(&[refusing[0].address(), refusing[1].address()]).start();
    let mut client = RawClient::connect(weir.address());
    for _ in 0..3 {
        assert_eq!(client.get("/").status(), 502);
    }
}

/// The first connection takes one request, the next ones end in `end` before a byte of an answer.
fn dies_after_one_request(reset: bool) -> (FakeBackend, Arc<AtomicUsize>) {
    let cut = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&cut);
    let backend = FakeBackend::custom(move |mut connection| {
        let mut served = 0;
        while let Some(request) = connection.read_request() {
            // Every connection serves one request and dies on its second, after it has read it whole.
            if served == 1 {
                count.fetch_add(1, Ordering::SeqCst);
                if reset {
                    connection.reset();
                }
                return;
            }
            served += 1;
            assert!(request.complete);
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    (backend, cut)
}

#[test]
fn a_get_on_a_connection_that_dies_is_sent_again_on_a_new_one() {
    for reset in [false, true] {
        let (backend, cut) = dies_after_one_request(reset);
        let weir = Setup::http(&[backend.address()]).start();
        let mut client = RawClient::connect(weir.address());
        for _ in 0..6 {
            assert_eq!(client.get("/").text(), "ok");
        }
        assert!(cut.load(Ordering::SeqCst) > 0, "no connection was used twice");
    }
}

#[test]
fn a_post_that_was_sent_is_never_sent_again() {
    for reset in [false, true] {
        let (backend, cut) = dies_after_one_request(reset);
        let weir = Setup::http(&[backend.address()]).start();
        let mut client = RawClient::connect(weir.address());
        assert_eq!(client.get("/").text(), "ok");
        let response = client.send(POST).final_response("POST");
        assert_eq!((response.status(), cut.load(Ordering::SeqCst)), (502, 1));
        let posts = backend.requests().iter().filter(|request| request.method() == "POST").count();
        assert_eq!(posts, 1);
    }
}

#[test]
fn a_put_whose_body_is_kept_is_sent_again() {
    for (length, status) in [(1, 200), (5000, 200), (60_000, 200), (70_000, 502)] {
        let (backend, cut) = dies_after_one_request(false);
        let weir = Setup::http(&[backend.address()]).start();
        let mut client = RawClient::connect(weir.address());
        assert_eq!(client.get("/").text(), "ok");
        let body = "x".repeat(length);
        client.send(format!("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n{body}"));
        assert_eq!(
            (client.final_response("PUT").status(), cut.load(Ordering::SeqCst)),
            (status, 1),
            "{length}"
        );
        if status == 200 {
            let puts = backend.requests().into_iter().filter(|request| request.method() == "PUT");
            assert!(puts.into_iter().all(|put| put.complete && put.text() == body), "{length}");
            // The next request begins behind the body.
            assert_eq!(client.get("/").text(), "ok");
        }
    }
}

#[test]
fn a_get_that_one_backend_drops_is_answered_by_another() {
    let silent = FakeBackend::answering(Answer::close());
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let weir = Setup::http(&[silent.address(), backend.address()]).start();
    // As many as the budget for retries grants without any load.
    for _ in 0..3 {
        assert_eq!(RawClient::connect(weir.address()).get("/").text(), "ok");
    }
    assert!(!silent.requests().is_empty());
}

#[test]
fn retries_do_not_double_the_load_of_backends_that_fail() {
    let silent = [FakeBackend::answering(Answer::close()), FakeBackend::answering(Answer::close())];
    let weir = Setup::http(&[silent[0].address(), silent[1].address()]).start();
    let mut client = RawClient::connect(weir.address());
    for _ in 0..200 {
        assert_eq!(client.get("/").status(), 502);
    }
    // A fifth of the requests, and three for each second that this may have taken.
    let sent: usize = silent.iter().map(|backend| backend.requests().len()).sum();
    assert!((201..300).contains(&sent), "{sent} requests were sent for 200");
    let retries = &weir.app().snapshot().pools[0].status.retries;
    assert_eq!(retries.sum(|shard| shard.refused.value()), 400 - sent as u64);
}

#[test]
fn an_answer_that_has_begun_is_never_begun_again() {
    let backend = FakeBackend::answering(Answer::bytes("HTTP/1.1 200 OK\r\nContent-Le").then_close());
    let other = FakeBackend::answering(Answer::bytes("HTTP/1.1 200 OK\r\nContent-Le").then_reset());
    let weir = Setup::http(&[backend.address(), other.address()]).start();
    for _ in 0..2 {
        assert_eq!(RawClient::connect(weir.address()).get("/").status(), 502);
    }
    assert_eq!(backend.requests().len() + other.requests().len(), 2);
}

#[test]
fn a_backend_that_answers_with_an_error_has_answered() {
    let backend = FakeBackend::answering(Answer::bytes("HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno"));
    let weir = Setup::http(&[backend.address()]).start();
    let response = RawClient::connect(weir.address()).get("/");
    assert_eq!((response.start.as_str(), response.text().as_str()), ("HTTP/1.1 503 Busy", "no"));
    assert_eq!(backend.requests().len(), 1);
}
