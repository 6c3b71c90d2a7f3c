//! An authority that believes everybody, and says when it would like its certificates to be renewed.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa, KeyPair,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use weir_model::{
    acme::{Acme, Challenge},
    status::{AcmeStatus, Proofs},
};

use super::{
    super::{Shared, keeper::Keeper},
    Folder,
};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What it knows and what it was asked.
struct Authority {
    url: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// It wants everything renewed at once.
    hasty: AtomicBool,
    orders: Mutex<Vec<Value>>,
    asked_when: AtomicUsize,
    issued: Mutex<String>,
}

impl Authority {
    /// Starts it.
    async fn start() -> Arc<Self> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let own =
            CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(own.der().to_vec())],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = Arc::new(Self {
            url: format!("https://{}", listener.local_addr().unwrap()),
            issuer,
            hasty: AtomicBool::new(true),
            orders: Mutex::default(),
            asked_when: AtomicUsize::new(0),
            issued: Mutex::default(),
        });
        let (acceptor, own) = (TlsAcceptor::from(Arc::new(config)), authority.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(own.clone().serve(acceptor.clone(), stream));
            }
        });
        authority
    }

    async fn serve(self: Arc<Self>, acceptor: TlsAcceptor, stream: TcpStream) {
        let Ok(mut stream) = acceptor.accept(stream).await else { return };
        let Some((line, body)) = request(&mut stream).await else { return };
        let (status, fields, body) = self.answer(&line, &body);
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} x\r\nReplay-Nonce: n\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }

    fn answer(&self, line: &str, body: &[u8]) -> (u16, String, String) {
        let url = &self.url;
        let path = line.split(' ').nth(1).unwrap_or_default();
        let payload = || -> Value {
            let signed: Value = serde_json::from_slice(body).unwrap();
            let payload = BASE64_URL_SAFE_NO_PAD.decode(signed["payload"].as_str().unwrap()).unwrap();
            serde_json::from_slice(&payload).unwrap_or_default()
        };
        let order = |status: &str| {
            let replaces = self.orders.lock().unwrap().last().map(|order| order["replaces"].clone());
            let mut state = json!({
                "status": status, "authorizations": [], "finalize": format!("{url}/finalize"),
                "identifiers": [{ "type": "dns", "value": "example.com" }],
                "certificate": format!("{url}/certificate"),
            });
            if let Some(replaces) = replaces.filter(|replaces| !replaces.is_null()) {
                state["replaces"] = replaces;
            }
            state.to_string()
        };
        match path {
            "/directory" => {
                let at = |path: &str| format!("{url}/{path}");
                let text = json!({
                    "newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order"),
                    "revokeCert": at("revoke"), "keyChange": at("key"), "renewalInfo": at("renewal"),
                });
                (200, String::new(), text.to_string())
            }
            "/nonce" => (200, String::new(), String::new()),
            "/account" => (201, format!("Location: {url}/account/1\r\n"), "{}".to_owned()),
            "/order" => {
                self.orders.lock().unwrap().push(payload());
                (201, format!("Location: {url}/order/1\r\n"), order("ready"))
            }
            "/order/1" => {
                let done = !self.issued.lock().unwrap().is_empty();
                (200, String::new(), order(if done { "valid" } else { "ready" }))
            }
            "/finalize" => {
                let request = BASE64_URL_SAFE_NO_PAD.decode(payload()["csr"].as_str().unwrap()).unwrap();
                *self.issued.lock().unwrap() = self.sign(request);
                (200, String::new(), order("valid"))
            }
            "/certificate" => (200, String::new(), std::mem::take(&mut *self.issued.lock().unwrap())),
            _ if path.starts_with("/renewal/") => {
                self.asked_when.fetch_add(1, Ordering::Relaxed);
                let year = if self.hasty.load(Ordering::Relaxed) { 2020 } else { 2090 };
                let window = json!({ "suggestedWindow": {
                    "start": format!("{year}-01-01T00:00:00Z"), "end": format!("{year}-01-02T00:00:00Z"),
                }});
                (200, "Retry-After: 60\r\n".to_owned(), window.to_string())
            }
            _ => (404, String::new(), json!({ "type": "x", "detail": path }).to_string()),
        }
    }

    fn sign(&self, request: Vec<u8>) -> String {
        let request = CertificateSigningRequestDer::from(request);
        let mut request = CertificateSigningRequestParams::from_der(&request).unwrap();
        request.params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        request.params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        request.params.use_authority_key_identifier_extension = true;
        request.signed_by(&self.issuer).unwrap().pem() + &self.issuer.pem()
    }
}

/// The first line of a request, and its body.
async fn request(stream: &mut TlsStream<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if read.len() >= end + 4 + length.unwrap_or(0) {
                let line = String::from_utf8_lossy(&read[..end]).lines().next()?.to_owned();
                return Some((line, read.split_off(end + 4)));
            }
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let waiting = async {
        while !is() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

fn acme(authority: &Authority, storage: &Path) -> Arc<Acme> {
    let directory = format!("{}/directory", authority.url);
    Arc::new(Acme {
        label: weir_model::acme::label(&directory, ["example.com"]).unwrap().into(),
        directory: directory.into(),
        email: None,
        domains: vec!["example.com".into()],
        storage: storage.into(),
        challenge: Challenge::Http01,
        authorities: Some(vec![authority.issuer.der().to_vec().into()]),
        status: Arc::<AcmeStatus>::default(),
    })
}

#[tokio::test]
async fn it_is_renewed_when_the_authority_wants_it() {
    let (authority, folder) = (Authority::start().await, Folder::new("authority"));
    let acme = acme(&authority, &folder.0);
    let shared = Shared { log: Arc::new(|_: &str| {}), wall: now, date: |seconds| seconds.to_string() };
    let keeper = Keeper::new(acme.clone(), Arc::<Proofs>::default(), shared);
    let keeping = tokio::spawn(keeper.run());
    // By its lifetime the first one would do for fifty years.
    until("the first", || acme.status.issued.load(Ordering::Relaxed) >= 1).await;
    until("the second", || acme.status.issued.load(Ordering::Relaxed) >= 2).await;
    authority.hasty.store(false, Ordering::Relaxed);
    {
        let orders = authority.orders.lock().unwrap();
        assert!(orders[0]["replaces"].is_null(), "{orders:?}");
        let replaced = orders[1]["replaces"].as_str().expect("it says what it replaces");
        assert!(
            replaced.split_once('.').is_some_and(|(issuer, serial)| !issuer.is_empty() && !serial.is_empty())
        );
    }
    // What it wants by then is after the year 2080: the next one is due when the certificate ends, or nearly so.
    until("patience", || acme.status.next_attempt.load(Ordering::Relaxed) > 3_786_912_000).await;
    let issued = acme.status.issued.load(Ordering::Relaxed);
    assert_eq!(acme.status.failed.load(Ordering::Relaxed), 0, "{:?}", acme.status.last_error());
    sleep(Duration::from_millis(1200)).await;
    assert_eq!(acme.status.issued.load(Ordering::Relaxed), issued);
    assert!(authority.asked_when.load(Ordering::Relaxed) >= 2);
    keeping.abort();
}
