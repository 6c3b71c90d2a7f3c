//! TLS that ends at a listener: what clients of it see, and when they come back without a full handshake.

use std::fmt::Write as _;

use weir_testkit::{
    Answer, Authority, End, FakeBackend, Folder, Issued, RawClient, TlsClient, TlsFacts, TlsVersion,
    wait_until,
};

use crate::support::Weir;

/// Certificates in a folder, and a listener that shows them.
struct Site {
    folder: Folder,
    authority: Authority,
    clients: Authority,
    backend: FakeBackend,
}

impl Site {
    fn new(backend: FakeBackend) -> Self {
        let site = Self {
            folder: Folder::new("termination"),
            authority: Authority::new("Root"),
            clients: Authority::new("Clients"),
            backend,
        };
        site.renew();
        site.clients.write(&site.folder, "clients.pem");
        site
    }

    /// Another certificate in the same files.
    fn renew(&self) {
        self.authority.server(&["a.test"]).write(&self.folder, "site");
    }

    /// A configuration with more lines for its `tls`.
    fn text(&self, protocol: &str, workers: usize, more: &str) -> String {
        let folder = self.folder.display();
        let mut text = format!("workers: {workers}\nlisteners:\n  web:\n    bind: 127.0.0.1:0\n");
        let address = self.backend.address();
        writeln!(
            text,
            "    protocol: {protocol}\n    tls:\n      certificates: [{{ cert: {folder}/site.pem, key: {folder}/site.key }}]"
        )
        .unwrap();
        more.lines().for_each(|line| writeln!(text, "      {line}").unwrap());
        writeln!(text, "    pool: app\npools:\n  app: {{ backends: ['{address}'] }}").unwrap();
        text
    }

    fn client(&self, version: TlsVersion) -> TlsClient {
        TlsClient::with(&self.authority, "a.test", None, &[version], &[])
    }
}

const BOTH: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

/// What a client knows after one request, on a connection of its own.
fn visit(weir: &Weir, client: &TlsClient) -> TlsFacts {
    let mut connection = RawClient::connect_tls(weir.address(), client);
    assert_eq!(connection.get("/").text(), "ok");
    connection.tls().unwrap()
}

#[test]
fn requests_and_answers_of_all_sizes_pass() {
    let long = "0123456789abcdef".repeat(200_000);
    let site = Site::new(FakeBackend::answering(Answer::ok(&long)));
    let weir = Weir::from_text(&site.text("https", 1, ""));
    for version in BOTH {
        let mut client = RawClient::connect_tls(weir.address(), &site.client(version));
        for _ in 0..3 {
            assert!(client.get("/").text() == long, "garbled");
        }
        let head = "POST / HTTP/1.1\r\nHost: a.test\r\n";
        client.send(format!("{head}Content-Length: {}\r\n\r\n{long}", long.len()));
        assert!(client.response("POST").unwrap().text() == long, "garbled");
        assert_eq!(client.tls().unwrap().version, Some(version));
        // Requests that come together, and in pieces.
        client
            .send("GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\n\r\nGET /3 HT");
        client.send("TP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        for _ in 0..3 {
            assert!(client.response("GET").unwrap().text() == long, "garbled");
        }
        assert_eq!(client.read_to_end(), (Vec::new(), End::Closed), "the end is said");
    }
    let posted = site.backend.requests().into_iter().filter(|request| request.method() == "POST");
    assert_eq!(posted.map(|request| request.text() == long).collect::<Vec<_>>(), [true, true]);
}

#[test]
fn other_services_get_their_bytes() {
    let site = Site::new(FakeBackend::custom(|mut connection| {
        let (said, end) = connection.read_to_end();
        assert_eq!(end, End::Closed);
        connection.send(&said);
    }));
    let weir = Weir::from_text(&site.text("tcp", 1, ""));
    for version in BOTH {
        let mut client = RawClient::connect_tls(weir.address(), &site.client(version));
        client.send("question").finish();
        assert_eq!(client.read_to_end(), (b"question".to_vec(), End::Closed));
    }
}

#[test]
fn an_answer_that_breaks_off_is_not_given_an_orderly_end() {
    // Only the end of the connection tells a client of HTTP/1.0 that it has all of it.
    let site = Site::new(FakeBackend::custom(move |mut connection| {
        connection.read_head();
        connection.send("HTTP/1.1 200 OK\r\n\r\n12345");
        connection.reset();
    }));
    let weir = Weir::from_text(&site.text("https", 1, ""));
    let mut client = RawClient::connect_tls(weir.address(), &site.client(TlsVersion::Tls13));
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    assert_ne!(client.read_to_end().1, End::Closed);
}

#[test]
fn sessions_are_taken_up_by_any_worker_and_after_reloads() {
    let site = Site::new(FakeBackend::answering(Answer::ok("ok")));
    let weir = Weir::from_text(&site.text("https", 3, ""));
    for version in BOTH {
        let client = site.client(version);
        assert!(!visit(&weir, &client).resumed);
        // Whichever worker takes a connection.
        for _ in 0..12 {
            assert!(visit(&weir, &client).resumed, "{version:?}");
        }
        // Another certificate and other protocols are a new context of the same keys.
        site.renew();
        weir.app().reload_text(&site.text("https", 3, "alpn: [http/1.1]")).unwrap();
        for _ in 0..6 {
            assert!(visit(&weir, &client).resumed, "{version:?} after a reload");
        }
        // What has to be proved now was not proved then.
        let more = format!("client_auth: {{ ca: {}/clients.pem, mode: optional }}", site.folder.display());
        weir.app().reload_text(&site.text("https", 3, &more)).unwrap();
        wait_until("every worker has noticed", || !visit(&weir, &site.client(version)).resumed);
        assert!(!visit(&weir, &client).resumed, "{version:?} with other rules");
        weir.app().reload_text(&site.text("https", 3, "")).unwrap();
    }
}

#[test]
fn a_session_that_is_taken_up_again_is_of_the_same_client() {
    let site = Site::new(FakeBackend::answering(Answer::ok("ok")));
    let more = format!("client_auth: {{ ca: {}/clients.pem, mode: require }}", site.folder.display());
    let weir = Weir::from_text(&site.text("https", 2, &more));
    let with = |issued: Option<&Issued>, version| {
        TlsClient::with(&site.authority, "a.test", issued, &[version], &[])
    };
    let ann = site.clients.client("ann");
    for version in BOTH {
        let client = with(Some(&ann), version);
        assert!(!visit(&weir, &client).resumed);
        assert!(visit(&weir, &client).resumed);
        let mut nobody = RawClient::connect_tls(weir.address(), &with(None, version));
        nobody.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert!(nobody.response("GET").is_none());
    }
    assert_eq!(site.backend.requests().len(), 4);
}

#[test]
fn who_speaks_clear_text_gets_no_answer_in_it() {
    let site = Site::new(FakeBackend::answering(Answer::ok("ok")));
    let weir = Weir::from_text(&site.text("https", 1, ""));
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert!(!client.read_to_end().0.starts_with(b"HTTP"));
    assert!(site.backend.requests().is_empty());
}
