//! Certificates: what is shown to clients, who they are, and what becomes of all that when files change.

mod identity;
mod renewal;

use std::{net::SocketAddr, path::PathBuf};

use serde_json::Value;
use weir::app::{App, Sink};
use weir_testkit::{Answer, Authority, FakeBackend, Folder, Issued, Message, RawClient, TlsClient};

/// A configuration with one listener `web` that ends TLS, in a file of a folder of its own.
struct Site {
    folder: Folder,
    root: Authority,
    backend: FakeBackend,
    protocol: &'static str,
    tls: String,
    listener: String,
    more: String,
}

impl Site {
    /// HTTPS with one certificate for `a.test`, in `a.pem` and `a.key`.
    fn new(name: &str) -> Self {
        let (folder, root) = (Folder::new(name), Authority::new("Root"));
        root.server(&["a.test"]).write(&folder, "a");
        Self {
            folder,
            root,
            backend: FakeBackend::answering(Answer::ok("ok")),
            protocol: "https",
            tls: "certificates: [{ cert: a.pem, key: a.key }]".into(),
            listener: "pool: app".into(),
            more: String::new(),
        }
    }

    /// Clients are asked for certificates of the same authority.
    fn asking(self, mode: &str) -> Self {
        self.root.write(&self.folder, "clients.pem");
        let tls = format!("{}, client_auth: {{ ca: clients.pem, mode: {mode} }}", self.tls);
        Self { tls, ..self }
    }

    /// The keys of the listener beside its address and TLS.
    fn listener(self, keys: &str) -> Self {
        Self { listener: keys.into(), ..self }
    }

    fn text(&self) -> String {
        let Self { protocol, tls, listener, more, .. } = self;
        let backend = self.backend.address();
        format!(
            "workers: 1\nadmin: {{ bind: \"127.0.0.1:0\" }}\n\
             listeners: {{ web: {{ bind: \"127.0.0.1:0\", protocol: {protocol}, tls: {{ {tls} }}, {listener} }} }}\n\
             pools: {{ app: {{ backends: [\"{backend}\"] }} }}\n{more}\n"
        )
    }

    /// Writes the file, and says where it is.
    fn file(&self) -> PathBuf {
        self.folder.write("weir.yaml", self.text())
    }

    #[track_caller]
    fn start(&self) -> App {
        self.start_with(Sink::none())
    }

    #[track_caller]
    fn start_with(&self, log: Sink) -> App {
        App::from_path(&self.file(), log)
            .unwrap_or_else(|error| panic!("{error}\n--- in ---\n{}", self.text()))
    }

    /// A client that believes the authority, and shows this.
    fn client(&self, shows: Option<&Issued>) -> TlsClient {
        let versions = [weir_testkit::TlsVersion::Tls12, weir_testkit::TlsVersion::Tls13];
        TlsClient::with(&self.root, "a.test", shows, &versions, &[b"http/1.1"])
    }
}

/// What a new connection gets for a request; none if there is no answer.
fn get(address: SocketAddr, client: &TlsClient, fields: &str) -> Option<Message> {
    let mut connection = RawClient::connect_tls(address, client);
    connection.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")).response("GET")
}

/// The certificate that a new connection is shown.
fn shown(address: SocketAddr, client: &TlsClient) -> Option<Vec<u8>> {
    let facts = RawClient::connect_tls(address, client).tls()?;
    facts.certificates.into_iter().next()
}

/// What the admin API says.
fn told(app: &App, path: &str) -> String {
    let mut admin = RawClient::connect(app.admin_address().unwrap());
    admin.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).final_response("GET").text()
}

/// The TLS of the listener in `/api/status`.
fn status(app: &App) -> Value {
    let status: Value = serde_json::from_str(&told(app, "/api/status")).unwrap();
    status["listeners"][0]["tls"].clone()
}
