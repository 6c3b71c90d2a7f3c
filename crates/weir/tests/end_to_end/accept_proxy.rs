//! PROXY headers that are accepted: who says who the client is, and what follows from it.

use weir_testkit::{
    Answer, Authority, ClientHello, End, FakeBackend, Folder, RawClient, TlsClient, wait_until,
};

use crate::support::{Setup, Weir, journal};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 443\r\n";

/// The same in version 2, and for IPv6; with facts behind the addresses.
fn binary(command: u8, facts: &[u8]) -> Vec<u8> {
    let addresses = [
        &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..],
        &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        &[0x15, 0xb3, 1, 187],
    ]
    .concat();
    let length = u16::try_from(addresses.len() + facts.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, 0x21], &length, &addresses, facts].concat()
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const TRUST: &str = "accept_proxy_protocol: { trust: 127.0.0.0/8 }";

fn forwarded_for(weir: &Weir, header: &[u8]) -> String {
    let mut client = RawClient::connect(weir.address());
    client.send([header, REQUEST].concat());
    client.final_response("GET").text().to_ascii_lowercase()
}

#[test]
fn the_client_is_whom_the_header_names() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).listener(TRUST).start();
    for (header, client) in [
        (LINE.to_vec(), "192.0.2.7"),
        (binary(0x21, b""), "2001:db8::7"),
        (binary(0x21, b"\x02\0\x06a.test"), "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:192.0.2.8 ::1 1 2\r\n".to_vec(), "192.0.2.8"),
        // Those who speak for themselves, and those who do not know.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (binary(0x20, b""), "127.0.0.1"),
    ] {
        let heard = forwarded_for(&weir, &header);
        assert!(heard.contains(&format!("x-forwarded-for: {client}\r\n")), "{client} not in {heard}");
        assert!(!heard.contains("proxy tcp"), "{heard}");
    }
}

#[test]
fn who_speaks_tls_with_the_sender_asks_for_https() {
    let backend = FakeBackend::echo();
    let route = "match: { path: /old }\n        redirect: { path: /new }\n      - pool: app";
    let text = format!(
        "workers: 1\ndebug_headers: true\nlisteners:\n  web:\n    bind: 127.0.0.1:0\n    protocol: http\n    {TRUST}\n    \
         routes:\n      - {route}\n        request_headers: {{ set: {{ X-Scheme: $scheme }} }}\n\
         pools: {{ app: {{ backends: ['{}'] }} }}\n",
        backend.address()
    );
    let weir = Weir::from_text(&text);
    // Whether it spoke TLS, and nothing of its certificate (section 2.2.6).
    for (header, scheme) in [
        (binary(0x21, b"\x20\0\x05\x01\0\0\0\0"), "https"),
        (binary(0x21, b"\x20\0\x05\0\0\0\0\0"), "http"),
        (binary(0x21, b""), "http"),
        // Who speaks for itself says nothing of a client.
        (binary(0x20, b"\x20\0\x05\x01\0\0\0\0"), "http"),
        (LINE.to_vec(), "http"),
    ] {
        let heard = forwarded_for(&weir, &header);
        let expected = [format!("x-forwarded-proto: {scheme}\r\n"), format!("x-scheme: {scheme}\r\n")];
        assert!(expected.iter().all(|line| heard.contains(line)), "{scheme} not in {heard}");
        let mut client = RawClient::connect(weir.address());
        client.send([&header[..], b"GET /old HTTP/1.1\r\nHost: a.test\r\n\r\n"].concat());
        let answer = client.final_response("GET");
        assert_eq!(answer.header("location"), Some(&*format!("{scheme}://a.test/new")));
        let forged = client.get("/").text().to_ascii_lowercase();
        assert!(
            forged.contains(&format!("x-forwarded-proto: {scheme}\r\n")),
            "the next one is like the first"
        );
    }
}

#[test]
fn a_header_may_come_byte_by_byte_and_once_only() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).listener(TRUST).start();
    for header in [LINE.to_vec(), binary(0x21, b"\x04\0\x02ab")] {
        let mut client = RawClient::connect(weir.address());
        client.send_byte_by_byte(&header).send_byte_by_byte(REQUEST);
        assert_eq!(client.final_response("GET").status(), 200);
        assert_eq!(client.get("/").status(), 200, "the connection is like any other from here on");
        client.send([&header[..], REQUEST].concat());
        assert_eq!(client.final_response("GET").status(), 400, "it says who it is once");
        assert!(client.closed());
    }
    // Two requests that came with it, and a close.
    let mut client = RawClient::connect(weir.address());
    let last = b"GET /last HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    client.send([LINE, REQUEST, &last[..]].concat());
    assert_eq!((client.final_response("GET").status(), client.final_response("GET").status()), (200, 200));
    assert!(client.closed());
}

#[test]
fn rules_go_by_the_client_and_not_by_the_sender() {
    let (one, two) = (FakeBackend::answering(Answer::ok("one")), FakeBackend::answering(Answer::ok("two")));
    let text = format!(
        "workers: 1\nlisteners:\n  web:\n    bind: 127.0.0.1:0\n    protocol: http\n    {TRUST}\n    \
         deny: [192.0.2.66]\n    trusted_proxies: [203.0.113.1]\n    routes:\n      \
         - {{ match: {{ source: 192.0.2.0/24 }}, pool: one }}\n      - pool: two\n\
         pools: {{ one: {{ backends: ['{}'] }}, two: {{ backends: ['{}'] }} }}\n",
        one.address(),
        two.address()
    );
    let weir = Weir::from_text(&text);
    let ask = |source: &str, field: &str| {
        let mut client = RawClient::connect(weir.address());
        client.send(format!(
            "PROXY TCP4 {source} 198.51.100.1 5555 443\r\nGET / HTTP/1.1\r\nHost: a.test\r\n{field}\r\n"
        ));
        let answer = client.final_response("GET");
        (answer.status(), answer.text())
    };
    assert_eq!(ask("192.0.2.1", ""), (200, "one".into()));
    assert_eq!(ask("203.0.113.1", ""), (200, "two".into()));
    assert_eq!(ask("192.0.2.66", "").0, 403);
    // A client of the sender may be a proxy itself.
    assert_eq!(ask("203.0.113.1", "X-Forwarded-For: 192.0.2.1\r\n"), (200, "one".into()));
    assert_eq!(ask("203.0.113.2", "X-Forwarded-For: 192.0.2.1\r\n"), (200, "two".into()));
}

#[test]
fn who_may_send_one_and_who_must() {
    let backend = FakeBackend::echo();
    let (sink, said) = journal();
    let text = |protocol: &str, accepted: &str| {
        format!(
            "workers: 1\nlisteners: {{ web: {{ bind: '127.0.0.1:0', protocol: {protocol}, timeouts: {{ handshake: 300ms }}, \
             accept_proxy_protocol: {accepted}, pool: app }} }}\npools: {{ app: {{ backends: ['{}'] }} }}\n",
            backend.address()
        )
    };
    let required = Weir::with_log(&text("http", "{ trust: 127.0.0.1 }"), sink);
    let mut wrong_sum = binary(0x21, b"\x03\0\x04\0\0\0\0");
    wrong_sum[20] ^= 1;
    for (bytes, why) in [
        (REQUEST.to_vec(), "there is none"),
        (b"\x16\x03\x01".to_vec(), "there is none"),
        (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n".to_vec(), "a line that is not of version 1"),
        (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n".to_vec(), "a line without CR LF"),
        (binary(0x22, b""), "an unknown version or command"),
        (binary(0x21, b"\x02\0\x40ab"), "a fact that does not fit"),
        (wrong_sum, "a wrong checksum"),
    ] {
        let mut client = RawClient::connect(required.address());
        client.send(&bytes);
        assert_eq!(client.read_to_end(), (Vec::new(), End::Reset), "{}", bytes.escape_ascii());
        wait_until(why, || {
            said().contains(&format!("cause=client_proxy_header client={}", client.local_address()))
        });
        assert!(said().contains(why), "{why} not in {}", said());
    }
    // One that stops half-way, or never begins.
    for bytes in [&LINE[..20], b""] {
        let mut client = RawClient::connect(required.address());
        client.send(bytes);
        assert_eq!(client.read_to_end().1, End::Reset);
    }
    wait_until("it is told", || said().matches("cause=client_timeout_handshake").count() == 2);
    // Only looking whether somebody is there is no failure.
    let lines = said().lines().count();
    assert_eq!(RawClient::connect(required.address()).finish().read_to_end(), (Vec::new(), End::Closed));
    assert_eq!(said().lines().count(), lines);

    // From elsewhere nothing is heard at all.
    let strange = Weir::from_text(&text("http", "{ trust: 192.0.2.1 }"));
    for bytes in [LINE, REQUEST] {
        if let Ok(mut client) = RawClient::try_connect(strange.address()) {
            client.send(bytes);
            assert_eq!(client.read_to_end(), (Vec::new(), End::Reset));
        }
    }
    assert_eq!(backend.accepted(), 0);

    let optional = Weir::from_text(&text("http", "{ trust: 127.0.0.1, mode: optional }"));
    assert!(forwarded_for(&optional, LINE).contains("x-forwarded-for: 192.0.2.7"));
    assert!(forwarded_for(&optional, b"").contains("x-forwarded-for: 127.0.0.1"));
    for protocol in ["http", "tcp"] {
        let strange = Weir::from_text(&text(protocol, "{ trust: 192.0.2.1, mode: optional }"));
        assert!(forwarded_for(&strange, b"").contains("host: a.test"));
        let before = backend.byte_count();
        for header in [LINE.to_vec(), binary(0x21, b""), binary(0x20, b"")] {
            let mut client = RawClient::connect(strange.address());
            client.send([&header[..], REQUEST].concat());
            assert_eq!(client.read_to_end(), (Vec::new(), End::Reset), "{protocol}");
        }
        assert_eq!(backend.byte_count(), before, "no backend hears of it");
    }
}

#[test]
fn streams_begin_behind_the_header() {
    // The server speaks first.
    let backend = FakeBackend::custom(|mut connection| {
        connection.send("220 ready\r\n");
        let said = connection.read_exact(4);
        connection.send(said.to_ascii_lowercase());
        connection.read_to_end();
    });
    let weir = Setup::tcp(&[backend.address()]).listener(TRUST).start();
    for split in [0, 10, LINE.len()] {
        let mut client = RawClient::connect(weir.address());
        client.send_split(&[LINE, b"QUIT"].concat(), &[split]);
        assert_eq!(client.read_exact(15), b"220 ready\r\nquit");
    }
    let mut client = RawClient::connect(weir.address());
    client.send(LINE);
    assert_eq!(client.read_exact(11), b"220 ready\r\n");
    drop(client);
    wait_until("all have come", || backend.accepted() == 4);
    assert!(backend.streams().iter().all(|stream| matches!(&stream[..], b"QUIT" | b"")));

    // Keys of hashing are those of the client: the same one comes to the same backend, whatever its sender's port.
    let backends: Vec<_> = (0..4).map(|_| FakeBackend::answering(Answer::ok("ok"))).collect();
    let addresses: Vec<_> = backends.iter().map(FakeBackend::address).collect();
    let weir =
        Setup::tcp(&addresses).listener(TRUST).pool("balance: { policy: source_hash, key: 5tuple }").start();
    for port in [1, 2, 3, 4, 5, 6] {
        let counts = || backends.iter().map(FakeBackend::accepted).collect::<Vec<_>>();
        let before = counts();
        for _ in 0..3 {
            let mut client = RawClient::connect(weir.address());
            client.send(format!("PROXY TCP4 192.0.2.7 198.51.100.1 {port} 443\r\n"));
            assert_eq!(client.get("/").text(), "ok");
        }
        let grown: Vec<_> = counts().iter().zip(&before).map(|(now, before)| now - before).collect();
        assert_eq!(grown.iter().max(), Some(&3), "port {port}: {grown:?}");
    }
}

#[test]
fn tls_comes_behind_the_header() {
    let passed = FakeBackend::custom(|mut connection| {
        connection.read_exact(1);
        connection.send("hi");
        connection.read_to_end();
    });
    let weir = Setup::tls(&[passed.address()]).listener("sni: a.example").listener(TRUST).start();
    let hello = ClientHello::new().server_name("a.example").padding(2000).bytes();
    let mut client = RawClient::connect(weir.address());
    client.send([&binary(0x21, b"")[..], &hello].concat());
    assert_eq!(client.read_exact(2), b"hi");
    wait_until("all of it has come", || passed.byte_count() == hello.len());
    assert!(passed.bytes() == hello);
    let mut client = RawClient::connect(weir.address());
    client.send(&hello);
    assert_eq!(client.read_to_end(), (Vec::new(), End::Reset));

    let (authority, folder, backend) = (Authority::new("test"), Folder::new("proxied"), FakeBackend::echo());
    let (certificate, key) = authority.server(&["a.example"]).write(&folder, "site");
    let text = format!(
        "workers: 1\nlisteners: {{ web: {{ bind: '127.0.0.1:0', protocol: https, {TRUST}, pool: app, tls: {{ certificates: \
         [{{ cert: '{}', key: '{}' }}] }} }} }}\npools: {{ app: {{ backends: ['{}'] }} }}\n",
        certificate.display(),
        key.display(),
        backend.address()
    );
    let weir = Weir::from_text(&text);
    let mut client = RawClient::connect(weir.address());
    client.send(LINE);
    let mut client = client.with_tls(&TlsClient::new(&authority, "a.example"));
    let heard = client.get("/").text().to_ascii_lowercase();
    assert!(heard.contains("x-forwarded-for: 192.0.2.7\r\n"), "{heard}");
}

#[test]
fn what_was_said_is_passed_on() {
    let backend = FakeBackend::answering(Answer::hang());
    let weir = Setup::tcp(&[backend.address()])
        .listener(TRUST)
        .pool("send_proxy_protocol: { version: v2, tlvs: [alpn, authority, unique_id] }")
        .start();
    let facts = b"\x01\0\x02h2\x02\0\x06a.test\x05\0\x02id";
    let header = binary(0x21, facts);
    let mut client = RawClient::connect(weir.address());
    client.send([&header[..], b"ping"].concat());
    wait_until("all of it has come", || backend.byte_count() >= header.len() + 4);
    assert_eq!(backend.bytes(), [&header[..], b"ping"].concat());

    let line = Setup::tcp(&[backend.address()]).listener(TRUST).pool("send_proxy_protocol: v1").start();
    backend.forget();
    let mut client = RawClient::connect(line.address());
    client.send([LINE, b"ping"].concat());
    wait_until("the line has come", || backend.byte_count() >= LINE.len() + 4);
    assert_eq!(backend.bytes(), [LINE, b"ping"].concat());
}
