//! Probes against backends that answer all sorts of things.

mod http2;

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::mpsc,
    thread,
};

use weir_model::{
    health::{HttpProbe, UdpProbe},
    time::Millis,
};

use super::*;

fn http() -> HttpProbe {
    HttpProbe {
        path: "/healthz".into(),
        host: None,
        method: "GET".into(),
        headers: Vec::new(),
        expect: vec![(200, 299)],
        body: None,
    }
}

fn check(probe: Probe) -> HealthCheck {
    HealthCheck {
        probe,
        interval: Millis::secs(5),
        interval_down: Millis::secs(1),
        timeout: Millis(300),
        fall: 3,
        rise: 2,
        port: None,
        initially_up: false,
        plain: false,
    }
}

fn way() -> Way {
    Way {
        endpoint: Endpoint::Name("backend.test".into(), 8080),
        tls: None,
        protocol: UpstreamProtocol::Auto,
        send_proxy: None,
    }
}

fn run(check: &HealthCheck, address: std::net::SocketAddr) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(probe(check, &address.into(), &way()))
}

/// Answers one request with these bytes, in two writes, and returns what it was asked.
fn answer(bytes: &'static str, question: HttpProbe) -> (Result<String, String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (said, asked) = mpsc::channel();
    let backend = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut room = [0; 1024];
        while !request.ends_with(b"\r\n\r\n") {
            let count = client.read(&mut room).unwrap();
            request.extend_from_slice(&room[..count]);
        }
        said.send(String::from_utf8(request).unwrap()).unwrap();
        let (first, second) = bytes.split_at(bytes.len() / 2);
        // The probe may have heard enough before the end.
        let _ = client.write_all(first.as_bytes());
        let _ = client.write_all(second.as_bytes());
    });
    let outcome = run(&check(Probe::Http(question)), address);
    backend.join().unwrap();
    (outcome, asked.recv().unwrap())
}

fn outcome(bytes: &'static str) -> Result<String, String> {
    answer(bytes, http()).0
}

#[test]
fn a_healthy_answer_passes() {
    let (outcome, asked) = answer("HTTP/1.1 204 No Content\r\n\r\n", http());
    assert_eq!(outcome, Ok("answered 204".into()));
    assert_eq!(
        asked,
        "GET /healthz HTTP/1.1\r\nhost: backend.test:8080\r\nuser-agent: weir-health\r\naccept: */*\r\n\
         connection: close\r\n\r\n"
    );
}

#[test]
fn the_question_is_asked_as_configured() {
    let headers = vec![("user-agent".into(), "me".into()), ("x-probe".into(), "1".into())];
    let question = HttpProbe { host: Some("app".into()), method: "HEAD".into(), headers, ..http() };
    let (outcome, asked) = answer("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", question);
    assert!(outcome.is_ok());
    assert!(asked.starts_with(
        "HEAD /healthz HTTP/1.1\r\nhost: app\r\naccept: */*\r\nuser-agent: me\r\nx-probe: 1\r\n"
    ));
}

#[test]
fn what_is_wrong_is_said_in_words() {
    let refused = |bytes| outcome(bytes).unwrap_err();
    assert_eq!(refused("HTTP/1.1 500 Oops\r\n\r\n"), "answered 500, expected 200-299");
    assert_eq!(refused(""), "it closed the connection without an answer");
    assert_eq!(refused("HTTP/1.1 200 O"), "it closed the connection within its answer");
    for other in ["SSH-2.0-OpenSSH_9.2\r\n", "junk\r\n\r\n", "220 mail.test ESMTP\n", "HTTP/2"] {
        assert_eq!(refused(other), "its answer is not HTTP: it does not begin with HTTP/1.", "{other}");
    }
    assert!(refused("HTTP/1.1 200 OK\n\n").starts_with("its answer is not HTTP: a line ends"));
}

#[test]
fn interim_answers_are_not_the_answer() {
    assert_eq!(outcome("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), Ok("answered 200".into()));
}

#[test]
fn several_ranges_are_expected() {
    let question = HttpProbe { expect: vec![(200, 299), (404, 404)], ..http() };
    assert!(answer("HTTP/1.1 404 Not Found\r\n\r\n", question.clone()).0.is_ok());
    let refused = answer("HTTP/1.1 301 Moved\r\n\r\n", question).0.unwrap_err();
    assert_eq!(refused, "answered 301, expected 200-299 or 404");
}

#[test]
fn the_body_is_searched_however_it_is_framed() {
    let ready = || HttpProbe { body: Some("ready".into()), ..http() };
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nI am ready.",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nI re\r\n6\r\nam rea\r\n5\r\ndy...\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nready",
    ] {
        let (outcome, _) = answer(bytes, ready());
        assert!(outcome.is_ok(), "{outcome:?} for {bytes}");
    }
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno, but this is ready",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
    ] {
        let refused = answer(bytes, ready()).0.unwrap_err();
        assert_eq!(refused, "the body of its answer does not hold `ready`", "{bytes}");
    }
}

#[test]
fn silence_and_refusal_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(run(&check(Probe::Http(http())), address), Err("no answer within 300ms".into()));
    assert_eq!(run(&check(Probe::Tcp), address), Ok("accepts connections".into()));
    drop(listener);
    assert_eq!(run(&check(Probe::Tcp), address), Err("connection refused".into()));
}

#[test]
fn a_probe_may_be_spawned() {
    fn may_move<T: Send>(_: T) {}
    let check = check(Probe::Http(http()));
    let address = Address::Ip("127.0.0.1:1".parse().unwrap());
    may_move(probe(&check, &address, &way()));
}

/// What a UDP probe finds at a port that answers every datagram with these bytes, or not at all.
fn udp(
    send: &[u8],
    expect: Option<&[u8]>,
    answer: Option<&'static [u8]>,
) -> (Result<String, String>, Vec<u8>) {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let backend = thread::spawn(move || {
        let mut room = [0; 2048];
        let (length, from) = socket.recv_from(&mut room).unwrap();
        if let Some(answer) = answer {
            socket.send_to(answer, from).unwrap();
        }
        // The socket stays open until the probe is done.
        (room[..length].to_vec(), socket)
    });
    let probe = UdpProbe { send: send.into(), expect: expect.map(Into::into) };
    let outcome = run(&check(Probe::Udp(probe)), address);
    (outcome, backend.join().unwrap().0)
}

#[test]
fn a_udp_answer_has_to_hold_what_is_expected() {
    let (outcome, sent) = udp(b"\x00ping", Some(b"\xffpong"), Some(b"..\xffpong.."));
    assert_eq!((outcome, sent), (Ok("answered with 9 bytes".into()), b"\x00ping".to_vec()));
    let (outcome, _) = udp(b"ping", Some(b"pong"), Some(b"\x01other"));
    assert_eq!(outcome, Err("answered `\\x01other`, which does not hold `pong`".into()));
    let (outcome, _) = udp(b"ping", Some(b"pong"), None);
    assert_eq!(outcome, Err("no answer within 300ms".into()));
}

#[test]
fn without_an_expectation_a_udp_port_only_has_to_be_open() {
    assert_eq!(udp(b"ping", None, Some(b"")).0, Ok("answered with 0 bytes".into()));
    assert_eq!(udp(b"ping", None, None).0, Ok("was not refused within 300ms".into()));
    // One that is connected to somebody else takes nothing from others, and nobody else can take its port.
    let deaf = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    deaf.connect("127.0.0.1:9").unwrap();
    let closed = deaf.local_addr().unwrap();
    let probe = || Probe::Udp(UdpProbe { send: b"ping"[..].into(), expect: None });
    let refused = Err("the port is closed (ICMP port unreachable)".to_owned());
    assert_eq!(run(&check(probe()), closed), refused);
}
