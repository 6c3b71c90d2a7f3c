//! gRPC-Web: calls of browsers, by HTTP/1.1 and by HTTP/2, to backends that know gRPC alone.

use std::{net::TcpListener, sync::atomic::Ordering};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use weir_testkit::{FakeBackend, Message, RawClient};

use super::client::{Client, request_with};
use crate::{
    http2_backend::h2_backend::H2Backend,
    support::{Setup, Weir},
};

const BINARY: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text";

fn bridge(backend: &H2Backend) -> Weir {
    Setup::http(&[backend.address()]).route("grpc_web: true").start()
}

/// Calls a method by HTTP/1.1.
fn call(weir: &Weir, method: &str, kind: &str, body: &[u8]) -> Message {
    let mut client = RawClient::connect(weir.address());
    let length = body.len();
    client.send(format!(
        "POST /shop.Cart/{method} HTTP/1.1\r\nHost: a.test\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    ));
    client.send(body);
    client.final_response("POST")
}

/// The content of pieces of base64 that were joined.
fn content(text: &[u8]) -> Vec<u8> {
    text.chunks(4).flat_map(|group| STANDARD.decode(group).unwrap()).collect()
}

fn frame(flag: u8, said: &[u8]) -> Vec<u8> {
    [&[flag][..], &u32::try_from(said.len()).unwrap().to_be_bytes(), said].concat()
}

/// What a call to `Echo` is answered.
fn echoed(message: &[u8]) -> Vec<u8> {
    [message, &frame(0x80, b"grpc-status:0\r\nx-end:yes\r\n")].concat()
}

#[test]
fn trailers_are_the_last_frame_of_the_content() {
    let backend = H2Backend::start();
    let weir = bridge(&backend);
    let message = frame(0, b"one cart");
    let answer = call(&weir, "Echo", BINARY, &message);
    assert_eq!((answer.status(), answer.header("content-type")), (200, Some(BINARY)));
    assert_eq!(answer.body, echoed(&message));
    assert!(answer.complete && answer.trailer("grpc-status").is_none());
    let client = Client::connect(weir.address());
    let request = request_with("POST", "/shop.Cart/Echo", &[("content-type", BINARY)]);
    let reply = client.ask(request, Some(&message)).unwrap();
    assert_eq!((reply.status, reply.field("content-type")), (200, BINARY));
    assert_eq!(reply.body, echoed(&message));
    assert!(reply.trailers.is_empty());
    for request in backend.requests() {
        assert_eq!(request.headers["content-type"], "application/grpc+proto");
        assert_eq!(request.headers["te"], "trailers");
    }
    assert_eq!(backend.requests().len(), 2);
}

#[test]
fn text_is_base64_both_ways() {
    let backend = H2Backend::start();
    let weir = bridge(&backend);
    // More than any buffer.
    let message = frame(0, &(0..300_000u32).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    let answer = call(&weir, "Echo", TEXT, STANDARD.encode(&message).as_bytes());
    // The backend says `+proto`, and so does the answer.
    assert_eq!(
        (answer.status(), answer.header("content-type")),
        (200, Some("application/grpc-web-text+proto"))
    );
    assert!(content(&answer.body) == echoed(&message), "{} bytes", answer.body.len());
    assert!(!backend.requests()[0].headers.contains_key("content-length"));
    // In pieces, each with its own end.
    let mut client = RawClient::connect(weir.address());
    client.send(format!(
        "POST /shop.Cart/Echo HTTP/1.1\r\nHost: a.test\r\nContent-Type: {TEXT}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    client.send("3\r\nYWJ\r\n1\r\nj\r\n5\r\nZA==Z\r\n3\r\nWY=\r\n0\r\n\r\n");
    assert_eq!(content(&client.final_response("POST").body), echoed(b"abcdef"));
    let client = Client::connect(weir.address());
    let request = request_with("POST", "/shop.Cart/Echo", &[("content-type", TEXT), ("accept", BINARY)]);
    let reply = client.ask(request, Some(STANDARD.encode(&message).as_bytes())).unwrap();
    assert_eq!(reply.field("content-type"), BINARY);
    assert!(reply.body == echoed(&message), "{} bytes", reply.body.len());
}

#[test]
fn a_message_is_passed_on_when_it_comes() {
    let backend = H2Backend::start();
    let weir = bridge(&backend);
    let mut client = RawClient::connect(weir.address());
    client.send(format!(
        "POST /shop.Cart/Drip HTTP/1.1\r\nHost: a.test\r\nContent-Type: {TEXT}\r\nContent-Length: 0\r\n\r\n"
    ));
    let head = client.response_head().unwrap();
    assert_eq!(head.header("content-type"), Some(TEXT));
    let first = STANDARD.encode(frame(0, b"a"));
    // Its chunk, which is all until the backend goes on.
    assert_eq!(client.read_exact(first.len() + 5), format!("8\r\n{first}\r\n").as_bytes());
    backend.seen.released.store(true, Ordering::SeqCst);
    let second = STANDARD.encode(frame(0, b"b"));
    assert_eq!(client.read_exact(first.len() + 10), format!("8\r\n{second}\r\n0\r\n\r\n").as_bytes());
}

#[test]
fn a_call_that_ends_with_its_head_says_so_in_its_content() {
    let backend = H2Backend::start();
    let weir = bridge(&backend);
    let said = frame(0x80, b"grpc-status:5\r\ngrpc-message:no such cart\r\n");
    let answer = call(&weir, "Fail", BINARY, b"");
    assert_eq!((answer.status(), answer.header("content-type")), (200, Some("application/grpc-web")));
    assert_eq!((answer.header("grpc-status"), answer.header("x-own")), (None, Some("stays")));
    assert_eq!((&answer.body, answer.header("content-length")), (&said, Some("47")));
    let client = Client::connect(weir.address());
    let request = request_with("POST", "/shop.Cart/Fail", &[("content-type", TEXT)]);
    let reply = client.ask(request, None).unwrap();
    assert_eq!((content(&reply.body), reply.field("grpc-status")), (said, ""));
}

#[test]
fn what_is_no_answer_of_grpc_stays_as_it_is() {
    let backend = H2Backend::start();
    let weir = bridge(&backend);
    let answer = call(&weir, "Page", TEXT, b"");
    assert_eq!((answer.status(), answer.header("content-type")), (403, Some("text/plain")));
    assert_eq!(answer.text(), "go away");
}

#[test]
fn a_failure_is_one_of_grpc_web() {
    // Bound for a moment only.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let weir = Setup::http(&[nobody]).route("grpc_web: true").start();
    let answer = call(&weir, "Echo", BINARY, b"");
    assert_eq!((answer.status(), answer.header("content-type")), (200, Some("application/grpc-web")));
    assert!(answer.text().contains("grpc-status:14\r\ngrpc-message:"), "{}", answer.text());
    assert!(answer.header("grpc-status").is_none());
    let answer = call(&weir, "Echo", TEXT, b"");
    assert!(content(&answer.body).starts_with(&[0x80, 0, 0, 0]), "{}", answer.text());
}

#[test]
fn what_is_no_base64_is_refused() {
    let backend = H2Backend::start();
    let weir = bridge(&backend);
    for bad in ["AAAA!AAA", "AAAAA", "A==="] {
        let answer = call(&weir, "Echo", TEXT, bad.as_bytes());
        let said = String::from_utf8(content(&answer.body)).unwrap_or_default();
        assert!(answer.status() == 200 && !said.contains("grpc-status:0"), "{bad}: {said}");
    }
}

#[test]
fn only_calls_of_grpc_web_and_only_where_the_route_says_so() {
    let backend = H2Backend::start();
    let weir = Setup::http(&[backend.address()]).pool("protocol: h2").start();
    let message = frame(0, b"one cart");
    let answer = call(&weir, "Echo", BINARY, &message);
    assert_eq!(answer.body, message);
    assert_eq!(backend.requests()[0].headers["content-type"], BINARY);
    let plain = FakeBackend::answering(weir_testkit::Answer::ok("fine"));
    let weir = Setup::http(&[plain.address()]).route("grpc_web: true").start();
    let answer = call(&weir, "Echo", "application/json", b"{}");
    assert_eq!((answer.status(), &*answer.text()), (200, "fine"));
}
