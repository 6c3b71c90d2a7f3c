//! Calls of gRPC that weir itself has to end.

use weir_testkit::{FakeBackend, Refusing, wait_until};

use super::client::{Client, Reply, request_with};
use crate::support::Setup;

const CALL: [(&str, &str); 2] = [("content-type", "application/grpc+proto"), ("te", "trailers")];

/// The status and the message of a call that ended with its head.
fn outcome(reply: &Reply) -> (u16, &str, &str) {
    assert!(reply.body.is_empty() && reply.trailers.is_empty());
    assert_eq!(reply.field("content-type"), "application/grpc");
    (reply.status, reply.field("grpc-status"), reply.field("grpc-message"))
}

#[test]
fn callers_are_told_in_their_own_words_what_went_wrong() {
    let nobody = Refusing::new();
    let weir = Setup::http(&[nobody.address()]).start();
    let client = Client::connect(weir.address());
    let reply = client.ask(request_with("POST", "/shop.Cart/Add", &CALL), Some(b"\0\0\0\0\0")).unwrap();
    assert_eq!(outcome(&reply), (200, "14", "the backend refused the connection"));
    // Anybody else is told in the words of HTTP.
    assert_eq!(client.get("/").unwrap().status, 502);
}

#[test]
fn a_call_ends_when_its_caller_has_no_more_time() {
    let backend = FakeBackend::custom(|mut connection| {
        connection.read_request();
        connection.read_to_end();
    });
    let weir = Setup::http(&[backend.address()]).pool("protocol: http1").start();
    let client = Client::connect(weir.address());
    let fields = [CALL[0], CALL[1], ("grpc-timeout", "150m")];
    let reply = client.ask(request_with("POST", "/shop.Cart/Add", &fields), Some(b"\0\0\0\0\0")).unwrap();
    assert_eq!(outcome(&reply), (200, "4", "the call was not complete within its grpc-timeout"));
    wait_until("the backend is left alone", || backend.open() == 0);
}
