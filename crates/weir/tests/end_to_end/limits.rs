//! Limits of the listener: each has its own status, and nothing of what breaks it reaches a backend.

use weir_testkit::{FakeBackend, RawClient, wait_until};

use crate::support::Setup;

/// Sends a request to a listener with these limits; the status of the answer. The connection must be closed after it.
fn refused(limits: &str, request: &str) -> u16 {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).listener(&format!("limits: {{ {limits} }}")).start();
    let mut client = RawClient::connect(weir.address());
    let response = client.send(request).final_response("GET");
    assert!(client.closed(), "{response}");
    assert_eq!(backend.byte_count(), 0, "{response}");
    response.status()
}

fn passed(limits: &str, request: &str) {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).listener(&format!("limits: {{ {limits} }}")).start();
    let response = RawClient::connect(weir.address()).send(request).final_response("GET");
    assert_eq!(response.status(), 200);
}

fn with_field(length: usize) -> String {
    format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}\r\n\r\n", "x".repeat(length))
}

#[test]
fn heads_are_limited_in_bytes() {
    let rest = with_field(0).len();
    passed("header_bytes: 2KiB", &with_field(2048 - rest));
    assert_eq!(refused("header_bytes: 2KiB", &with_field(2048 - rest + 1)), 431);
    assert_eq!(refused("header_bytes: 2KiB", &with_field(100_000)), 431);
    assert_eq!(refused("header_bytes: 32KiB", &with_field(100_000)), 431);
    passed("header_bytes: 128KiB", &with_field(100_000));
}

#[test]
fn heads_are_limited_in_fields() {
    let with_fields = |count: usize| {
        let fields: String = (1..count).map(|n| format!("X{n}: y\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")
    };
    passed("headers: 10", &with_fields(10));
    assert_eq!(refused("headers: 10", &with_fields(11)), 431);
    assert_eq!(refused("headers: 100", &with_fields(101)), 431);
}

#[test]
fn targets_are_limited_by_the_head() {
    let request = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "a".repeat(length));
    assert_eq!(refused("header_bytes: 2KiB", &request(2048)), 414);
    assert_eq!(refused("header_bytes: 32KiB", &request(200_000)), 414);
    passed("header_bytes: 2KiB", &request(1900));
}

#[test]
fn bodies_are_limited_by_their_length() {
    let request = |length: usize| {
        format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n{}", "a".repeat(length))
    };
    passed("body: 1KiB", &request(1024));
    assert_eq!(refused("body: 1KiB", &request(1025)), 413);
    // The length alone says it: the body need not come.
    assert_eq!(refused("body: 1KiB", &request(1025)[..80]), 413);
}

#[test]
fn chunked_bodies_are_limited_by_what_comes() {
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("200\r\n{}\r\n", "a".repeat(512));
    passed("body: 1KiB", &format!("{head}{chunk}{chunk}0\r\n\r\n"));
    assert_eq!(refused("body: 1KiB", &format!("{head}{chunk}{chunk}1\r\na\r\n0\r\n\r\n")), 413);
}

#[test]
fn a_chunked_body_that_grows_too_large_later_is_cut_off_at_the_backend() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).listener("limits: { body: 1KiB }").start();
    let mut client = RawClient::connect(weir.address());
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    wait_until("the head is at the backend", || backend.byte_count() > 0);
    client.send(format!("1000\r\n{}\r\n0\r\n\r\n", "a".repeat(4096)));
    assert_eq!(client.final_response("POST").status(), 413);
    assert!(client.closed());
    wait_until("the backend has seen the end", || backend.open() == 0);
    assert!(backend.requests().iter().all(|request| !request.complete));
}
