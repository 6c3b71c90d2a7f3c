//! Listeners of different protocols at one address, and requests that come on the wrong connection.

use std::net::SocketAddr;

use weir_testkit::{
    Answer, Authority, End, FakeBackend, Folder, RawClient, TlsClient, TlsServer, fatal_alert, wait_until,
};

use crate::{reload::free_port, support::Weir};

/// Four listeners at one address: two sites over https, a service behind TLS, and one that is passed through.
struct Mixed {
    weir: Weir,
    port: SocketAddr,
    text: String,
    client: TlsClient,
    passed: FakeBackend,
    _backends: [FakeBackend; 3],
    _folder: Folder,
}

impl Mixed {
    fn new(host: &str) -> Self {
        let authority = Authority::new("test");
        let folder = Folder::new("mixed");
        let names = ["a.example", "b.example", "c.example"];
        authority.server(&names).write(&folder, "site");
        let backends = ["a", "b"].map(|name| FakeBackend::answering(Answer::ok(name)));
        let echo = FakeBackend::custom(|mut connection| {
            let said = connection.read_exact(4);
            connection.send(said.to_ascii_uppercase());
            connection.read_to_end();
        });
        let passed = FakeBackend::tls(&TlsServer::new(&authority.server(&["d.example"])), Answer::ok("d"));
        let port = free_port(host);
        let files = folder.display();
        let tls =
            format!("tls: {{ certificates: [{{ cert: '{files}/site.pem', key: '{files}/site.key' }}] }}");
        let [a, b] = [&backends[0], &backends[1]].map(FakeBackend::address);
        let text = format!(
            "workers: 1
listeners:
  a: {{ bind: '{port}', protocol: https, sni: a.example, {tls}, pool: a }}
  b: {{ bind: '{port}', protocol: https, sni: '*.example', {tls}, pool: b }}
  c: {{ bind: '{port}', protocol: tcp, sni: c.example, {tls}, pool: c }}
  d: {{ bind: '{port}', protocol: tls, sni: d.example, pool: d }}
pools:
  a: {{ backends: ['{a}'] }}
  b: {{ backends: ['{b}'] }}
  c: {{ backends: ['{}'] }}
  d: {{ backends: ['{}'] }}
",
            echo.address(),
            passed.address()
        );
        let client = TlsClient::new(&authority, "a.example");
        let [first, second] = backends;
        let weir = Weir::from_text(&text);
        Self { weir, port, text, client, passed, _backends: [first, second, echo], _folder: folder }
    }

    fn connect(&self, name: &str) -> RawClient {
        RawClient::connect_tls(self.port, &self.client.asking_for(name))
    }
}

/// What the request for this host is answered with.
fn ask(client: &mut RawClient, host: &str) -> (u16, String) {
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let answer = client.final_response("GET");
    (answer.status(), answer.text())
}

#[test]
fn each_protocol_gets_its_connections() {
    let mixed = Mixed::new("127.0.0.35");
    assert_eq!(ask(&mut mixed.connect("a.example"), "a.example"), (200, "a".into()));
    assert_eq!(ask(&mut mixed.connect("b.example"), "b.example:443"), (200, "b".into()));
    let mut service = mixed.connect("c.example");
    assert_eq!(service.send("ping").read_exact(4), b"PING");
    let mut through = mixed.connect("d.example");
    assert_eq!(ask(&mut through, "d.example"), (200, "d".into()));
    let seen = mixed.passed.handshakes();
    assert_eq!(
        seen[0].server_name.as_deref(),
        Some("d.example"),
        "the backend shook hands with the client itself"
    );
    let mut nobody = RawClient::connect(mixed.port);
    nobody.send(weir_testkit::ClientHello::new().server_name("example").bytes());
    assert_eq!(nobody.read_to_end(), (fatal_alert(112).to_vec(), End::Closed));
}

#[test]
fn a_request_for_another_listener_is_sent_there() {
    let mixed = Mixed::new("127.0.0.36");
    let mut client = mixed.connect("a.example");
    for host in ["b.example", "x.y.example", "B.Example.:8443", "c.example", "d.example"] {
        assert_eq!(ask(&mut client, host).0, 421, "{host}");
        assert_eq!(ask(&mut client, "a.example"), (200, "a".into()), "the connection goes on");
    }
    // What nobody has named is for the routes to judge, and so is an address.
    assert_eq!(ask(&mut client, "elsewhere.test").0, 200);
    assert_eq!(ask(&mut client, "127.0.0.1").0, 200);
    let counters = mixed.weir.app().snapshot().listeners[0].status.clone();
    wait_until("they are counted", || counters.shards.sum(|shard| shard.rejected.total()) == 5);
    // Names that move: the same connection, from one request to the next.
    let moved = mixed.text.replace("sni: a.example", "sni: [a.example, b.example]");
    mixed.weir.app().reload_text(&moved).unwrap();
    assert_eq!(ask(&mut client, "b.example"), (200, "a".into()));
    assert_eq!(ask(&mut client, "c.example").0, 421);
}
