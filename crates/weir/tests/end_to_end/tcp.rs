//! TCP of any protocol: bytes as they are, ends as they are, another backend when one cannot be connected.

use std::io::ErrorKind;

use weir_testkit::{Answer, End, FakeBackend, RawClient, Refusing, wait_until};

use crate::support::Setup;

fn long(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

#[test]
fn a_server_may_speak_first() {
    let backend = FakeBackend::custom(|mut connection| {
        connection.send("220 ready\r\n");
        let said = connection.read_exact(6);
        connection.send([b"250 ", &said[..]].concat());
        connection.read_to_end();
    });
    let weir = Setup::tcp(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    assert_eq!(client.read_exact(11), b"220 ready\r\n");
    client.send("HELO\r\n");
    assert_eq!(client.read_exact(10), b"250 HELO\r\n");
}

#[test]
fn a_client_that_has_said_everything_is_still_answered() {
    let backend = FakeBackend::custom(|mut connection| {
        let (said, end) = connection.read_to_end();
        assert_eq!(end, End::Closed);
        connection.send(said.to_ascii_uppercase());
    });
    let weir = Setup::tcp(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    let body = long(3_000_000);
    client.send(&body).finish();
    let (answer, end) = client.read_to_end();
    assert!(answer == body.to_ascii_uppercase() && end == End::Closed, "{} bytes, {end:?}", answer.len());
}

#[test]
fn a_server_that_has_said_everything_still_listens() {
    let backend = FakeBackend::custom(|mut connection| {
        connection.send("bye");
        connection.finish();
        connection.read_to_end();
    });
    let weir = Setup::tcp(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    assert_eq!(client.read_to_end(), (b"bye".to_vec(), End::Closed));
    client.send("still here").finish();
    wait_until("the rest has arrived", || backend.bytes() == b"still here");
    wait_until("both sides have ended", || backend.open() == 0);
}

#[test]
fn bytes_are_not_looked_at() {
    let backend = FakeBackend::custom(|mut connection| {
        let said = connection.read_exact(1000);
        connection.send(said);
        connection.read_to_end();
    });
    let weir = Setup::tcp(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    let said = [b"GET / HTTP/1.1\nBad Header\r\n\r\n\0\xff", &long(1000)[..]].concat()[..1000].to_vec();
    client.send(&said);
    assert!(client.read_exact(1000) == said);
    assert!(backend.bytes() == said);
}

#[test]
fn a_backend_that_refuses_is_passed_over() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let refusing = [Refusing::new(), Refusing::new()];
    let weir = Setup::tcp(&[refusing[0].address(), backend.address(), refusing[1].address()]).start();
    for _ in 0..12 {
        assert_eq!(RawClient::connect(weir.address()).get("/").text(), "ok");
    }
}

#[test]
fn where_all_refuse_the_client_is_reset() {
    let refusing = Refusing::new();
    let weir = Setup::tcp(&[refusing.address()]).start();
    match RawClient::try_connect(weir.address()) {
        Ok(mut client) => assert_eq!(client.send("hello").read_to_end(), (Vec::new(), End::Reset)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    let backend = FakeBackend::custom(|mut connection| {
        connection.read_exact(5);
        connection.reset();
    });
    let weir = Setup::tcp(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send("hello");
    assert_eq!(client.read_to_end().1, End::Reset);

    let backend = FakeBackend::custom(|mut connection| {
        let (_, end) = connection.read_to_end();
        assert_eq!(end, End::Reset);
        connection.log(weir_testkit::Message::default());
    });
    let weir = Setup::tcp(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send("hello");
    wait_until("the bytes have arrived", || backend.byte_count() == 5);
    client.reset();
    wait_until("the backend has seen a reset", || backend.requests().len() == 1);
}

#[test]
fn a_silent_connection_is_closed_on_both_sides() {
    let backend = FakeBackend::answering(Answer::hang());
    let weir = Setup::tcp(&[backend.address()]).listener("timeouts: { idle: 200ms }").start();
    let mut client = RawClient::connect(weir.address());
    client.send("hello");
    assert!(client.closed());
    wait_until("the backend has seen the end", || backend.accepted() == 1 && backend.open() == 0);
}

#[test]
fn connections_are_spread_over_the_backends() {
    let backends: Vec<_> = (0..3).map(|_| FakeBackend::answering(Answer::ok("ok"))).collect();
    let addresses: Vec<_> = backends.iter().map(FakeBackend::address).collect();
    let weir = Setup::tcp(&addresses).start();
    for _ in 0..30 {
        assert_eq!(RawClient::connect(weir.address()).get("/").text(), "ok");
    }
    assert_eq!(backends.iter().map(FakeBackend::accepted).collect::<Vec<_>>(), [10, 10, 10]);
}
