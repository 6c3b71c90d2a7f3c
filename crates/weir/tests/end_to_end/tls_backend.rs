//! TLS to backends: who is believed, what is said of those who are not, and what is carried.

use std::sync::{Arc, Mutex};

use weir_testkit::{
    Answer, Authority, BlackHole, End, FakeBackend, Folder, Issued, Message, RawClient, TlsClient, TlsServer,
    TlsVersion, Wanted, wait_until,
};

use crate::support::{Setup, Weir};

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];
const LOCAL: &[&str] = &["127.0.0.1", "app.test"];

/// An authority, and its certificate in a file.
struct World {
    root: Authority,
    folder: Folder,
}

impl World {
    fn new() -> Self {
        let (root, folder) = (Authority::new("Backends"), Folder::new("tls-backend"));
        root.write(&folder, "ca.pem");
        Self { root, folder }
    }

    /// The `tls` of a pool that believes this authority, and says this besides.
    fn tls(&self, besides: &str) -> String {
        format!("tls: {{ ca: {}/ca.pem{besides} }}", self.folder.display())
    }

    fn server(&self) -> TlsServer {
        TlsServer::new(&self.root.server(LOCAL))
    }

    /// `, cert: …, key: …` for what weir shows of itself.
    fn identity(&self, issued: &Issued) -> String {
        let (certificate, key) = issued.write(&self.folder, "weir");
        format!(", cert: {}, key: {}", certificate.display(), key.display())
    }
}

/// What was last said of the only backend.
fn last_error(weir: &Weir) -> String {
    let snapshot = weir.app().snapshot();
    snapshot.pools[0].backends[0].status.last_error().map_or_else(String::new, |said| said.to_string())
}

fn get(weir: &Weir) -> Message {
    RawClient::connect(weir.address()).get("/")
}

#[test]
fn requests_and_answers_are_carried_over_one_connection() {
    let world = World::new();
    for versions in [&VERSIONS[..1], &VERSIONS[1..]] {
        let server = TlsServer::with(&world.root.server(LOCAL), None, versions, &[b"h2", b"http/1.1"]);
        let backend = FakeBackend::tls(&server, Answer::echo());
        let weir = Setup::http(&[backend.address()]).pool(&world.tls("")).pool("protocol: http1").start();
        let mut client = RawClient::connect(weir.address());
        for _ in 0..3 {
            assert!(client.get("/").text().starts_with("GET / HTTP/1.1\r\n"));
        }
        let body = "x".repeat(300_000);
        client
            .send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        assert!(client.final_response("POST").text().ends_with(&body));
        assert_eq!(backend.accepted(), 1);
        let facts = &backend.handshakes()[0];
        assert_eq!((&facts.server_name, facts.protocol.as_deref()), (&None, Some(&b"http/1.1"[..])));
        assert_eq!(facts.version, Some(versions[0]));
    }
}

#[test]
fn a_name_is_asked_for_if_there_is_one() {
    let world = World::new();
    let backend = FakeBackend::tls(&world.server(), Answer::ok("fine"));
    let weir = Setup::http(&[backend.address()]).pool(&world.tls(", sni: app.test")).start();
    assert_eq!(get(&weir).text(), "fine");
    assert_eq!(backend.handshakes()[0].server_name.as_deref(), Some("app.test"));
    // The host name of the backend serves as well.
    let named = TlsServer::new(&world.root.server(&["localhost"]));
    let backend = FakeBackend::tls(&named, Answer::ok("named"));
    let text = format!(
        "listeners: {{ web: {{ bind: '127.0.0.1:0', protocol: http, pool: app }} }}\n\
         pools:\n  app:\n    backends: ['localhost:{}']\n    {}\n",
        backend.address().port(),
        world.tls("")
    );
    let weir = Weir::from_text(&text);
    wait_until("its name is resolved", || get(&weir).text() == "named");
    assert_eq!(backend.handshakes()[0].server_name.as_deref(), Some("localhost"));
}

#[test]
fn a_certificate_that_is_not_believed_is_refused_in_plain_words() {
    let world = World::new();
    for (issued, why) in [
        (world.root.issue(Wanted::server(LOCAL).over()), "it expired on 2021-06-01"),
        (world.root.issue(Wanted::server(LOCAL).early()), "it is not valid before 2090-01-01"),
        (world.root.server(&["other.test"]), "it is for other.test and not for 127.0.0.1"),
        (
            Authority::new("Others").server(LOCAL),
            "it is signed by an unknown authority: give its CA in `tls.ca`",
        ),
        (world.root.issue(Wanted::client("127.0.0.1")), "it was not issued for servers"),
    ] {
        let backend = FakeBackend::tls(&TlsServer::new(&issued), Answer::ok("never"));
        let weir = Setup::http(&[backend.address()]).pool(&world.tls("")).start();
        assert_eq!(get(&weir).status(), 502, "{why}");
        assert_eq!(last_error(&weir), format!("the backend's certificate cannot be trusted ({why})"));
        assert_eq!(backend.byte_count(), 0, "{why}");
        // Whoever asks not to be told gets what he wants.
        let weir = Setup::http(&[backend.address()]).pool("tls: { verify: false }").start();
        assert_eq!(get(&weir).text(), "never");
    }
}

#[test]
fn another_backend_is_asked_and_nothing_is_asked_over_and_over() {
    let world = World::new();
    let bad = FakeBackend::tls(&TlsServer::new(&Authority::new("Others").server(LOCAL)), Answer::ok("bad"));
    let good = FakeBackend::tls(&world.server(), Answer::ok("good"));
    let weir = Setup::http(&[bad.address(), good.address()]).pool(&world.tls("")).start();
    let post = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody";
    for _ in 0..4 {
        let mut client = RawClient::connect(weir.address());
        assert_eq!(client.send(post).final_response("POST").text(), "good");
    }
    assert!((1..=4).contains(&bad.accepted()), "{}", bad.accepted());
}

#[test]
fn a_backend_may_want_to_know_who_asks() {
    let world = World::new();
    let clients = Authority::new("Clients");
    for version in VERSIONS {
        let server = TlsServer::with(&world.root.server(LOCAL), Some(&clients), &[version], &[]);
        let backend = FakeBackend::tls(&server, Answer::ok("welcome"));
        let me = clients.intermediate("Middle").client("weir.test");
        let weir = Setup::http(&[backend.address()]).pool(&world.tls(&world.identity(&me))).start();
        assert_eq!(get(&weir).text(), "welcome");
        assert_eq!(backend.handshakes()[0].certificates, me.chain);
        let weir = Setup::http(&[backend.address()]).pool(&world.tls("")).start();
        assert_eq!(get(&weir).status(), 502);
        let said = last_error(&weir);
        assert!(said.starts_with("no TLS could be agreed on with the backend (it "), "{version:?}: {said}");
        assert!(said.contains("client certificate"), "{version:?}: {said}");
        let stranger = Authority::new("Strangers").client("weir.test");
        let weir = Setup::http(&[backend.address()]).pool(&world.tls(&world.identity(&stranger))).start();
        assert_eq!(get(&weir).status(), 502);
        assert!(last_error(&weir).contains("the client certificate"), "{version:?}: {}", last_error(&weir));
    }
}

#[test]
fn who_speaks_no_tls_or_nothing_at_all_is_told_apart() {
    let world = World::new();
    let plain = FakeBackend::custom(|mut connection| {
        connection.read_exact(1);
        connection.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        let _ = connection.read_to_end();
    });
    let weir = Setup::http(&[plain.address()]).pool(&world.tls("")).start();
    assert_eq!(get(&weir).status(), 502);
    assert!(last_error(&weir).contains("something that is not TLS"), "{}", last_error(&weir));
    let closing = FakeBackend::custom(|mut connection| {
        connection.read_exact(1);
    });
    let weir = Setup::http(&[closing.address()]).pool(&world.tls("")).start();
    assert_eq!(get(&weir).status(), 502);
    assert!(last_error(&weir).contains("in the handshake"), "{}", last_error(&weir));
    let mute = FakeBackend::custom(|mut connection| {
        let _ = connection.read_to_end();
    });
    let weir = Setup::http(&[mute.address()]).pool(&world.tls("")).pool("connect_timeout: 200ms").start();
    assert_eq!(get(&weir).status(), 504);
    assert!(last_error(&weir).contains("TLS handshake"), "{}", last_error(&weir));
    let hole = BlackHole::new();
    let weir = Setup::http(&[hole.address()]).pool(&world.tls("")).pool("connect_timeout: 200ms").start();
    assert_eq!(get(&weir).status(), 504);
    assert!(!last_error(&weir).contains("TLS"), "{}", last_error(&weir));
}

#[test]
fn a_new_connection_takes_up_an_earlier_session() {
    let world = World::new();
    for version in VERSIONS {
        let server = TlsServer::with(&world.root.server(LOCAL), None, &[version], &[]);
        let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody";
        let backend = FakeBackend::tls(&server, Answer::bytes(closing).then_close());
        let weir = Setup::http(&[backend.address()]).pool(&world.tls("")).start();
        for _ in 0..3 {
            assert_eq!(get(&weir).text(), "body");
        }
        let resumed: Vec<_> = backend.handshakes().iter().map(|facts| facts.resumed).collect();
        assert_eq!(resumed, [false, true, true], "{version:?}");
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_has_to_say_that_it_ends() {
    let world = World::new();
    for (cut, status) in [(false, true), (true, false)] {
        let backend = FakeBackend::tls_custom(&world.server(), move |mut connection| {
            let _ = connection.read_request();
            connection.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall that there is");
            if cut {
                connection.cut();
            } else {
                connection.finish();
            }
            let _ = connection.read_to_end();
        });
        let weir = Setup::http(&[backend.address()]).pool(&world.tls("")).start();
        let mut client = RawClient::connect(weir.address());
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let response = client.final_response("GET");
        assert_eq!((response.status(), response.complete), (200, status), "cut: {cut}");
    }
}

#[test]
fn nobody_says_in_the_name_of_who_was_cut_that_this_was_all() {
    let world = World::new();
    for (cut, end) in [(false, End::Closed), (true, End::Cut)] {
        let backend = FakeBackend::tls_custom(&world.server(), move |mut connection| {
            connection.send("a part of it");
            if cut {
                connection.cut();
            } else {
                connection.finish();
            }
            let _ = connection.read_to_end();
        });
        let (certificate, key) = world.root.server(LOCAL).write(&world.folder, "site");
        let (certificate, key) = (certificate.display(), key.display());
        let weir = Setup::tcp(&[backend.address()])
            .listener(&format!("tls: {{ certificates: [{{ cert: {certificate}, key: {key} }}] }}"))
            .pool(&world.tls(""))
            .start();
        let mut client = RawClient::connect_tls(weir.address(), &TlsClient::new(&world.root, "app.test"));
        assert_eq!(client.read_to_end(), (b"a part of it".to_vec(), end), "cut: {cut}");
    }
}

#[test]
fn a_backend_is_told_that_a_kept_connection_ends() {
    let world = World::new();
    let ends = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ends);
    let backend = FakeBackend::tls_custom(&world.server(), move |mut connection| {
        let _ = connection.read_request();
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let end = connection.read_to_end().1;
        seen.lock().unwrap().push(end);
    });
    let weir =
        Setup::http(&[backend.address()]).pool(&world.tls("")).pool("keepalive: { idle: 200ms }").start();
    assert_eq!(get(&weir).text(), "ok");
    wait_until("the connection ends", || !ends.lock().unwrap().is_empty());
    assert_eq!(*ends.lock().unwrap(), [End::Closed]);
}

#[test]
fn a_kept_connection_that_was_closed_is_not_used() {
    let world = World::new();
    let backend = FakeBackend::tls_custom(&world.server(), |mut connection| {
        if connection.read_request().is_some() {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            connection.finish();
        }
        let _ = connection.read_to_end();
    });
    let weir = Setup::http(&[backend.address()]).pool(&world.tls("")).start();
    let mut client = RawClient::connect(weir.address());
    for _ in 0..3 {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(client.final_response("POST").text(), "ok");
    }
    assert_eq!(backend.accepted(), 3);
}

#[test]
fn streams_are_encrypted_on_their_way_to_the_backend() {
    let world = World::new();
    let backend = FakeBackend::tls_custom(&world.server(), |mut connection| {
        connection.send("220 hello\r\n");
        let (rest, end) = connection.read_to_end();
        connection.send(format!("{} bytes, {end:?}", rest.len()));
        connection.finish();
    });
    let weir = Setup::tcp(&[backend.address()]).pool(&world.tls("")).start();
    let mut client = RawClient::connect(weir.address());
    assert_eq!(client.read_exact(11), b"220 hello\r\n");
    client.send("x".repeat(1_000_000)).finish();
    assert_eq!(client.read_to_end(), (b"1000000 bytes, Closed".to_vec(), End::Closed));
    assert_eq!(backend.handshakes()[0].protocol, None);
}

#[test]
fn an_upgrade_leads_through_tls() {
    let world = World::new();
    let backend = FakeBackend::tls_custom(&world.server(), |mut connection| {
        let _ = connection.read_head();
        connection
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        loop {
            let bytes = connection.read_exact(1);
            if bytes.is_empty() || !connection.send(bytes.to_ascii_uppercase()) {
                return connection.finish();
            }
        }
    });
    let weir = Setup::http(&[backend.address()]).pool(&world.tls("")).start();
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.response("GET").unwrap().status(), 101);
    client.send("hello");
    assert_eq!(client.read_exact(5), b"HELLO");
    client.finish();
    assert_eq!(client.read_to_end(), (Vec::new(), End::Closed));
}

#[test]
fn checks_go_over_tls_and_judge_as_traffic_does() {
    let world = World::new();
    let check = "health: { http: /, interval: 50ms, fall: 1 }";
    let backend = FakeBackend::tls(&world.server(), Answer::ok("fine"));
    let weir = Setup::http(&[backend.address()]).pool(&world.tls("")).pool(check).start();
    wait_until("the check has passed", || get(&weir).text() == "fine");
    let late = world.root.issue(Wanted::server(LOCAL).over());
    let expired = FakeBackend::tls(&TlsServer::new(&late), Answer::ok("never"));
    let weir = Setup::http(&[expired.address()]).pool(&world.tls("")).pool(check).start();
    wait_until("the check has failed", || !last_error(&weir).is_empty());
    assert_eq!(
        last_error(&weir),
        "health check: its certificate cannot be trusted: it expired on 2021-06-01"
    );
    assert_eq!(get(&weir).status(), 503);
}

#[test]
fn a_check_may_be_content_with_a_handshake() {
    let world = World::new();
    let check = "health: { tls: {}, interval: 50ms, fall: 1 }";
    // Without `tls` in the pool there is nothing to verify by.
    let stranger =
        FakeBackend::tls(&TlsServer::new(&Authority::new("Others").server(&["x.test"])), Answer::close());
    let up = |weir: &Weir| weir.app().snapshot().pools[0].backends[0].is_eligible();
    let weir = Setup::tcp(&[stranger.address()]).pool(check).start();
    wait_until("the check has passed", || up(&weir));
    let weir = Setup::tcp(&[stranger.address()]).pool(&world.tls("")).pool(check).start();
    wait_until("the check has failed", || last_error(&weir).contains("unknown authority"));
    assert!(!up(&weir));
    let plain = FakeBackend::answering(Answer::ok("plain"));
    let weir = Setup::tcp(&[plain.address()]).pool(check).start();
    wait_until("the check has failed", || last_error(&weir).contains("health check: "));
    assert!(!up(&weir));
}

#[test]
fn what_the_pool_says_of_tls_holds_for_the_next_request() {
    let world = World::new();
    let backend = FakeBackend::tls(&world.server(), Answer::ok("fine"));
    let text = |tls: &str| {
        format!(
            "listeners: {{ web: {{ bind: '127.0.0.1:0', protocol: http, pool: app }} }}\n\
             pools:\n  app:\n    backends: ['{}']\n    {tls}\n",
            backend.address()
        )
    };
    let weir = Weir::from_text(&text("tls: { verify: false }"));
    let mut client = RawClient::connect(weir.address());
    assert_eq!(client.get("/").text(), "fine");
    // The same again keeps connections and sessions.
    weir.app().reload_text(&(text("tls: { verify: false }") + "    stream_idle: 1m\n")).unwrap();
    assert_eq!(client.get("/").text(), "fine");
    assert_eq!(backend.accepted(), 1);
    // A connection that nobody verified is not used where it has to be.
    weir.app().reload_text(&text(&world.tls(", sni: other.test"))).unwrap();
    assert_eq!(client.get("/").status(), 502);
    weir.app().reload_text(&text(&world.tls(""))).unwrap();
    assert_eq!(client.get("/").text(), "fine");
    assert_eq!(backend.accepted(), 3);
}

#[test]
fn a_header_about_the_client_stands_before_tls() {
    let world = World::new();
    let server = world.server();
    let backend = FakeBackend::custom(move |mut connection| {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend_from_slice(&connection.read_exact(1));
        }
        let mut connection = connection.with_tls(&server);
        let _ = connection.read_request();
        connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", line.len()));
        connection.send(line);
        let _ = connection.read_to_end();
    });
    let weir = Setup::http(&[backend.address()]).pool(&world.tls("")).pool("send_proxy_protocol: v1").start();
    let said = get(&weir).text();
    assert!(said.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "), "{said}");
}
