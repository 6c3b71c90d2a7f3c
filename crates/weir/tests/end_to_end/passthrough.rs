//! TLS that is passed through: what is decided by the ClientHello, and what is said to those that send none.

use weir_testkit::{Answer, ClientHello, End, FakeBackend, RawClient, Refusing, fatal_alert, wait_until};

use crate::support::{Setup, Weir, journal};

/// A backend that answers the first bytes with `x` and the rest with itself.
fn backend(greeting: &'static str) -> FakeBackend {
    FakeBackend::custom(move |mut connection| {
        connection.read_exact(1);
        connection.send(greeting);
        let (said, _) = connection.read_to_end();
        connection.send(&said[said.len().saturating_sub(5)..]);
    })
}

fn hello() -> ClientHello {
    ClientHello::new().server_name("a.example").alpn(&["h2"])
}

#[test]
fn the_hello_comes_to_the_backend_as_it_was() {
    let backend = backend("hi");
    let weir = Setup::tls(&[backend.address()]).start();
    let large = hello().padding(1500);
    for (nth, sent) in
        [large.bytes(), large.in_records_of(100), large.in_records_of(1)].into_iter().enumerate()
    {
        let mut client = RawClient::connect(weir.address());
        match nth {
            0 => client.send_byte_by_byte(&sent),
            _ => client.send(&sent),
        };
        assert_eq!(client.read_exact(2), b"hi");
        client.send("later").finish();
        assert_eq!(client.read_to_end(), (b"later".to_vec(), End::Closed));
        let stream = &backend.streams()[nth];
        assert_eq!(stream.len(), sent.len() + 5);
        assert!(stream[..sent.len()] == sent && stream.ends_with(b"later"));
    }
}

#[test]
fn the_largest_hello_passes() {
    let backend = backend("hi");
    let weir = Setup::tls(&[backend.address()]).start();
    let sent = hello().padding(60_000).bytes();
    let mut client = RawClient::connect(weir.address());
    client.send(&sent).send("and data that comes with it");
    assert_eq!(client.read_exact(2), b"hi");
    wait_until("all has arrived", || backend.byte_count() == sent.len() + 27);
    assert!(backend.bytes().starts_with(&sent));
}

#[test]
fn another_backend_gets_the_same_hello() {
    let backend = backend("hi");
    let refusing = Refusing::new();
    let weir = Setup::tls(&[refusing.address(), backend.address()]).start();
    for _ in 0..4 {
        let mut client = RawClient::connect(weir.address());
        client.send(hello().bytes());
        assert_eq!(client.read_exact(2), b"hi");
    }
}

/// A listener that takes nobody but those of another network.
fn picky(backend: &FakeBackend) -> (Weir, impl Fn() -> String) {
    let (sink, said) = journal();
    let text = format!(
        "workers: 1\nlisteners:\n  web:\n    bind: 127.0.0.1:0\n    protocol: tls\n    timeouts: {{ handshake: 200ms }}\n    \
         routes:\n      - match: {{ source: 192.0.2.0/24 }}\n        pool: app\npools:\n  app:\n    backends: [\"{}\"]\n",
        backend.address()
    );
    (Weir::with_log(&text, sink), said)
}

#[test]
fn each_refusal_is_said_in_tls_if_the_client_speaks_it() {
    let backend = FakeBackend::answering(Answer::ok("never"));
    let (weir, said) = picky(&backend);
    let bad_name = ClientHello::new().server_name("a b").bytes();
    let cases = [
        (hello().bytes(), fatal_alert(112).to_vec(), "cause=no_route"),
        (b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec(), Vec::new(), "cause=client_not_tls"),
        (bad_name, fatal_alert(47).to_vec(), "cause=client_tls_handshake"),
        (b"\x15\x03\x01\0\x02\x02\x28".to_vec(), fatal_alert(10).to_vec(), "cause=client_tls_handshake"),
        (b"\x16\x03\x01\0\0".to_vec(), fatal_alert(22).to_vec(), "cause=client_tls_handshake"),
    ];
    for (sent, answer, cause) in cases {
        let before = said().matches(cause).count();
        let mut client = RawClient::connect(weir.address());
        client.send(&sent);
        assert_eq!(client.read_to_end(), (answer, End::Closed), "{}", sent.escape_ascii());
        wait_until(cause, || said().matches(cause).count() > before);
    }
    // One that stops in the middle, and one that says nothing at all.
    for sent in [&hello().bytes()[..40], b""] {
        let mut client = RawClient::connect(weir.address());
        client.send(sent);
        assert_eq!(client.read_to_end(), (Vec::new(), End::Reset), "{sent:?}");
    }
    wait_until("both time-outs are said", || said().matches("cause=client_timeout_handshake").count() == 2);
    // A connection that ends before a byte is worth no line.
    let lines = said().lines().count();
    for _ in 0..3 {
        assert_eq!(RawClient::connect(weir.address()).finish().read_to_end(), (Vec::new(), End::Closed));
    }
    assert_eq!(said().lines().count(), lines);
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn bytes_behind_the_hello_are_carried_both_ways() {
    let long: Vec<u8> = (0..3_000_000).map(|n| (n * 31 % 251) as u8).collect();
    let backend = FakeBackend::custom(|mut connection| {
        let (said, end) = connection.read_to_end();
        assert_eq!(end, End::Closed);
        connection.send(said);
    });
    let weir = Setup::tls(&[backend.address()]).start();
    let sent = hello().bytes();
    let mut client = RawClient::connect(weir.address());
    client.send(&sent).send(&long).finish();
    let (heard, end) = client.read_to_end();
    assert!(heard == [&sent[..], &long].concat() && end == End::Closed, "{} bytes, {end:?}", heard.len());

    // A client that takes nothing holds its backend up, and not the memory of weir.
    let endless = FakeBackend::custom(|mut connection| {
        connection.read_exact(1);
        while connection.send(vec![b'x'; 1 << 16]) {}
    });
    let weir = Setup::tls(&[endless.address()]).listener("timeouts: { send_idle: 300ms }").start();
    let mut client = RawClient::connect_narrow(weir.address(), 4096);
    client.send(&sent);
    wait_until("it is cut off", || endless.accepted() == 1 && weir.app().open_connections() == 0);
}
