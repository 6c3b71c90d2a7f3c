//! The test kit against itself: what a client sends is what the backend logs, and the ends it makes are seen.

use std::time::Duration;

use weir_testkit::{
    Answer, Authority, End, FakeBackend, RawClient, TlsClient, TlsServer, TlsVersion, wait_until,
};

#[test]
fn requests_are_logged_and_echoed_on_one_connection() {
    let backend = FakeBackend::echo();
    let mut client = RawClient::connect(backend.address());
    assert!(client.get("/one").text().starts_with("GET /one HTTP/1.1\r\nHost: a.test\r\n"));
    client.send(
        "POST /two HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nX: y\r\n\r\n",
    );
    assert_eq!(client.final_response("POST").status(), 200);
    let requests = backend.requests();
    assert_eq!((requests.len(), backend.accepted()), (2, 1));
    assert_eq!((requests[1].text(), requests[1].trailer("x")), ("abc".into(), Some("y")));
    assert!(requests[1].complete);
}

#[test]
fn bytes_arrive_however_they_are_split() {
    let backend = FakeBackend::echo();
    let text = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    RawClient::connect(backend.address()).send_byte_by_byte(text).final_response("GET");
    RawClient::connect(backend.address()).send_split(text, &[1, 5, 20]).final_response("GET");
    assert_eq!(backend.bytes(), text.repeat(2));
}

#[test]
fn ends_are_told_apart() {
    let end = |answer| {
        let backend = FakeBackend::answering(answer);
        let mut client = RawClient::connect(backend.address());
        client.send("GET / HTTP/1.1\r\n\r\n").read_until_quiet(Duration::from_millis(200))
    };
    assert_eq!(end(Answer::bytes("x").then_close()), (b"x".to_vec(), End::Closed));
    assert_eq!(end(Answer::bytes("").then_reset()).1, End::Reset);
    assert_eq!(end(Answer::bytes("x").then_hang()), (b"x".to_vec(), End::Open));
    assert_eq!(end(Answer::close()), (Vec::new(), End::Closed));
}

#[test]
fn a_body_that_is_cut_short_is_not_complete() {
    for (answer, complete) in [("Content-Length: 3\r\n\r\nab", false), ("Content-Length: 2\r\n\r\nab", true)]
    {
        let answer = Answer::bytes(format!("HTTP/1.1 200 OK\r\n{answer}")).then_close();
        let backend = FakeBackend::answering(answer);
        let response = RawClient::connect(backend.address()).get("/");
        assert_eq!((response.text().as_str(), response.complete), ("ab", complete));
    }
}

#[test]
fn a_backend_that_is_dropped_refuses_and_its_address_can_be_taken_again() {
    let backend = FakeBackend::echo();
    let address = backend.address();
    let mut client = RawClient::connect(address);
    client.get("/");
    drop(backend);
    assert!(client.closed());
    let second = FakeBackend::custom_at(address, |mut connection| {
        connection.send("hello");
        connection.finish();
        connection.read_to_end();
    });
    assert_eq!(RawClient::connect(address).read_to_end(), (b"hello".to_vec(), End::Closed));
    wait_until("the connection has ended", || second.open() == 0);
}

#[test]
fn both_ends_speak_tls_and_know_each_other() {
    let root = Authority::new("Root");
    let site = root.intermediate("Middle").server(&["a.test", "127.0.0.1"]);
    let versions = [TlsVersion::Tls12, TlsVersion::Tls13];
    let server = TlsServer::with(&site, Some(&root), &versions, &[b"h2", b"http/1.1"]);
    let backend = FakeBackend::tls(&server, Answer::echo());
    let me = root.client("me.test");
    let client = TlsClient::with(&root, "a.test", Some(&me), &versions, &[b"http/1.1"]);
    let mut first = RawClient::connect_tls(backend.address(), &client);
    assert_eq!(first.get("/").status(), 200);
    let seen = first.tls().unwrap();
    assert_eq!((seen.protocol, seen.resumed), (Some(b"http/1.1".to_vec()), false));
    assert_eq!(seen.certificates, site.chain);
    let mut second = RawClient::connect_tls(backend.address(), &client);
    assert_eq!(second.get("/").status(), 200);
    assert!(second.tls().unwrap().resumed);
    let shown = &backend.handshakes()[0];
    assert_eq!((shown.server_name.as_deref(), &shown.certificates), (Some("a.test"), &me.chain));
    assert_eq!(shown.version, Some(TlsVersion::Tls13));
    // Nobody without a certificate, and nobody who does not know the authority, gets through.
    let mut nobody = RawClient::connect_tls(backend.address(), &TlsClient::new(&root, "a.test"));
    nobody.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(nobody.read_to_end().1, End::Reset);
    let stranger = TlsClient::new(&Authority::new("Other"), "a.test");
    assert_eq!(RawClient::connect_tls(backend.address(), &stranger).tls(), None);
}

#[test]
fn an_end_of_tls_that_nobody_announced_is_told_apart() {
    let root = Authority::new("Root");
    let server = TlsServer::new(&root.server(&["a.test"]));
    let backend = FakeBackend::tls_custom(&server, |mut connection| {
        let how = connection.read_exact(1);
        connection.send("x".repeat(100_000));
        if how == b"c" {
            connection.cut();
        } else {
            connection.finish();
        }
        let _ = connection.read_to_end();
    });
    let client = TlsClient::new(&root, "a.test");
    for (how, end) in [("c", End::Cut), ("f", End::Closed)] {
        let mut client = RawClient::connect_tls(backend.address(), &client);
        let (bytes, seen) = client.send(how).read_to_end();
        assert_eq!((bytes.len(), seen), (100_000, end));
    }
}

#[test]
fn tls_may_begin_behind_something_else_however_it_is_split() {
    let root = Authority::new("Root");
    let server = TlsServer::new(&root.server(&["a.test"]));
    let backend = FakeBackend::custom(move |mut connection| {
        assert_eq!(connection.read_exact(3), b"STA");
        // What comes now may hold the beginning of TLS already.
        assert_eq!(connection.read_exact(2), b"RT");
        let mut connection = connection.with_tls(&server);
        let said = connection.read_exact(5);
        connection.send(said);
        let _ = connection.read_to_end();
    });
    let mut client = RawClient::connect(backend.address());
    client.send("START");
    let mut client = client.with_tls(&TlsClient::new(&root, "a.test"));
    assert_eq!(client.send("hello").read_exact(5), b"hello");
}
