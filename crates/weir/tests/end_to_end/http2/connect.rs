//! CONNECT: a tunnel to a host and a port (RFC 9110 section 9.3.6, RFC 9113 section 8.5), by routes that name the method.

use http::Request;
use weir_testkit::{FakeBackend, RawClient};

use super::client::Client;
use crate::{
    http2_backend::h2_backend::H2Backend,
    support::{Setup, Weir},
    upgrade::switching,
};

const ASK: &str = "CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test:5432\r\n\r\n";
const ROUTE: &str = "match: { method: CONNECT }";

/// The same over a stream.
fn ask() -> Request<()> {
    Request::builder().method("CONNECT").uri("db.test:5432").body(()).unwrap()
}

#[test]
fn a_tunnel_is_for_routes_that_name_it() {
    let backend = switching("HTTP/1.1 200 OK\r\n\r\n");
    let others = ["match: { method: GET }", "match: { not: { method: GET } }", "name: any"];
    for route in others {
        let weir = Setup::http(&[backend.address()]).route(route).start();
        let answer = RawClient::connect(weir.address()).send(ASK).final_response("GET");
        assert_eq!(answer.status(), 405, "{route}: {answer}");
        let reply = Client::connect(weir.address()).ask(ask(), None).unwrap();
        assert_eq!(reply.status, 405, "{route}");
    }
    assert_eq!(backend.accepted(), 0);
    // One route that names it does not open the others.
    let text = format!(
        "workers: 1\nlisteners:\n  web:\n    bind: 127.0.0.1:0\n    protocol: http\n    routes:\n      \
         - {{ match: {{ host: a.test }}, pool: app }}\n      - {{ {ROUTE}, pool: app }}\n\
         pools:\n  app: {{ backends: ['{}'] }}\n",
        backend.address()
    );
    let weir = Weir::from_text(&text);
    for (host, status) in [("a.test:443", 405), ("b.test:443", 200)] {
        let mut client = RawClient::connect(weir.address());
        client.send(format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.response_head().unwrap().status(), status, "{host}");
    }
}

#[test]
fn bytes_flow_both_ways_and_none_that_came_early_is_lost() {
    // A length says nothing here.
    let backend =
        switching("HTTP/1.1 200 Connection established\r\nContent-Length: 3\r\nX-Own: 1\r\n\r\nwelcome ");
    let weir = Setup::http(&[backend.address()]).route(ROUTE).start();
    let mut client = RawClient::connect(weir.address());
    client.send(format!("{ASK}early"));
    let head = client.response_head().unwrap();
    assert_eq!((head.status(), head.header("x-own"), head.header("content-length")), (200, Some("1"), None));
    assert_eq!(client.read_exact(13), b"welcome EARLY");
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.read_exact(18), b"GET / HTTP/1.1\r\n\r\n");
    client.finish();
    assert!(client.closed());
    let request = backend.only_request();
    assert_eq!(request.start, "CONNECT db.test:5432 HTTP/1.1");
    assert_eq!(request.header("host"), Some("db.test:5432"));
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn a_stream_becomes_a_tunnel() {
    let backend = switching("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nwelcome ");
    let weir = Setup::http(&[backend.address()]).route(ROUTE).start();
    let client = Client::connect(weir.address());
    let mut asked = client.begin(ask(), false).unwrap();
    client.send(&mut asked.out, b"hello", true);
    let reply = client.wait(asked).unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, "welcome HELLO"));
    assert_eq!(backend.only_request().start, "CONNECT db.test:5432 HTTP/1.1");
}

#[test]
fn a_backend_of_http2_is_asked_by_its_authority() {
    let backend = H2Backend::start();
    let weir = Setup::http(&[backend.address()]).route(ROUTE).pool("protocol: h2").start();
    let mut client = RawClient::connect(weir.address());
    client.send(format!("{ASK}early"));
    assert_eq!(client.response_head().unwrap().status(), 200);
    assert_eq!(client.read_exact(5), b"early");
    assert_eq!(client.send("more").read_exact(4), b"more");
    client.finish();
    assert!(client.closed());
    let streams = Client::connect(weir.address());
    let mut asked = streams.begin(ask(), false).unwrap();
    streams.send(&mut asked.out, b"by streams", true);
    let reply = streams.wait(asked).unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, "by streams"));
    for request in backend.requests() {
        assert_eq!((request.method.as_str(), request.uri.to_string().as_str()), ("CONNECT", "db.test:5432"));
    }
    assert_eq!((backend.requests().len(), backend.accepted()), (2, 1));
}

#[test]
fn what_follows_a_refusal_is_no_request() {
    let backend = FakeBackend::custom(|mut connection| {
        let Some(request) = connection.read_head() else { return };
        connection.log(request);
        connection.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        connection.read_to_end();
    });
    let weir = Setup::http(&[backend.address()]).route(ROUTE).start();
    let mut client = RawClient::connect(weir.address());
    client.send(format!("{ASK}{ASK}"));
    let answer = client.final_response("GET");
    assert_eq!((answer.status(), &*answer.text()), (403, "no"));
    assert!(answer.lists("connection", "close"), "{answer}");
    assert!(client.closed());
    backend.only_request();
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let backend = switching("HTTP/1.1 200 OK\r\n\r\n");
    let weir = Setup::http(&[backend.address()]).route(ROUTE).start();
    for (target, more, status) in [
        ("db.test", "", 400),
        ("db.test:", "", 400),
        ("/path:80", "", 400),
        ("http://db.test:80", "", 400),
        ("user@db.test:80", "", 400),
        ("db%41.test:80", "", 400),
        ("db.test:99999", "", 400),
        ("db.test:80", "Content-Length: 1\r\n", 400),
        ("db.test:80", "Transfer-Encoding: chunked\r\n", 400),
    ] {
        let mut client = RawClient::connect(weir.address());
        client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: db.test\r\n{more}\r\n"));
        let answer = client.final_response("GET");
        assert_eq!(answer.status(), status, "{target} {more}: {answer}");
    }
    let old =
        RawClient::connect(weir.address()).send("CONNECT a.test:1 HTTP/1.0\r\n\r\n").final_response("GET");
    assert_eq!(old.status(), 405);
    assert_eq!(backend.accepted(), 0);
}
