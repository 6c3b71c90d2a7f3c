//! Upgrades: a tunnel only after a 101 that was asked for and says what it switches to (RFC 9110, 7.8).

use weir_testkit::{Answer, End, FakeBackend, RawClient};

use crate::support::Setup;

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Answers with `switch`, then repeats every byte in capitals until the other side ends.
pub(crate) fn switching(switch: &'static str) -> FakeBackend {
    FakeBackend::custom(move |mut connection| {
        let Some(request) = connection.read_head() else { return };
        connection.log(request);
        connection.send(switch);
        loop {
            let bytes = connection.read_exact(1);
            if bytes.is_empty() || !connection.send(bytes.to_ascii_uppercase()) {
                return;
            }
        }
    })
}

#[test]
fn bytes_flow_both_ways_after_a_101() {
    let backend = switching(SWITCH);
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send(ASK);
    let response = client.response("GET").unwrap();
    assert_eq!((response.status(), response.header("upgrade")), (101, Some("websocket")));
    assert!(response.lists("connection", "upgrade"), "{response}");
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    for text in ["hello", "GET / HTTP/1.1\r\n\r\n", "x"] {
        client.send(text);
        assert_eq!(client.read_exact(text.len()), text.to_ascii_uppercase().into_bytes());
    }
    let request = backend.only_request();
    assert!(
        request.lists("connection", "upgrade") && request.header("upgrade") == Some("websocket"),
        "{request}"
    );
    assert_eq!(request.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    client.finish();
    assert_eq!(client.read_to_end(), (Vec::new(), End::Closed));
}

#[test]
fn bytes_that_came_early_are_not_lost() {
    // From the client behind its request, from the backend behind its answer.
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nwelcome ";
    let backend = switching(switch);
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send(format!("{ASK}early"));
    assert_eq!(client.response("GET").unwrap().status(), 101);
    assert_eq!(client.read_exact(13), b"welcome EARLY");
}

#[test]
fn a_switch_to_something_else_is_refused() {
    for switch in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tls\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let backend = switching(switch);
        let weir = Setup::http(&[backend.address()]).start();
        let mut client = RawClient::connect(weir.address());
        client.send(ASK);
        assert_eq!(client.final_response("GET").status(), 502, "{switch}");
        client.send("bytes for nobody");
        assert!(client.closed());
        assert!(!String::from_utf8_lossy(&backend.bytes()).contains("nobody"));
    }
}

#[test]
fn without_a_101_the_connection_stays_http() {
    let backend = FakeBackend::answering_each(|request| match request.target() {
        "/chat" => Answer::bytes("HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno"),
        _ => Answer::echo(),
    });
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    // What follows is a request of its own, judged like any other, not bytes for a tunnel.
    client.send(format!("{ASK}GET /after HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"));
    assert_eq!(client.final_response("GET").text(), "no");
    assert_eq!(client.final_response("GET").status(), 200);
    let requests = backend.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].all("x-forwarded-for"), ["127.0.0.1"]);
    client.send("\x01\x02 no request\r\n\r\n");
    assert_eq!(client.final_response("GET").status(), 400);
    assert_eq!(backend.requests().len(), 2);
}

#[test]
fn upgrade_without_connection_asks_for_nothing() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.final_response("GET").status(), 200);
    assert!(!backend.only_request().has("upgrade"));
}

#[test]
fn what_is_wanted_instead_is_said_with_426() {
    for (close, connection) in [("", &["Upgrade"][..]), ("Connection: close\r\n", &["Upgrade", "close"])] {
        let answer = Answer::bytes(
            "HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
        );
        let backend = FakeBackend::answering(answer);
        let weir = Setup::http(&[backend.address()]).start();
        let mut client = RawClient::connect(weir.address());
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{close}\r\n"));
        let told = client.final_response("GET");
        assert_eq!((told.status(), told.all("upgrade")), (426, vec!["websocket"]));
        assert_eq!(told.all("connection"), connection);
    }
}

#[test]
fn a_tunnel_ends_when_both_sides_have_ended() {
    let backend = FakeBackend::custom(|mut connection| {
        connection.read_head();
        connection.send(format!("{SWITCH}bye"));
    });
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send(ASK);
    assert_eq!(client.response("GET").unwrap().status(), 101);
    assert_eq!(client.read_exact(3), b"bye");
    client.finish();
    assert_eq!(client.read_to_end(), (Vec::new(), End::Closed));
}
