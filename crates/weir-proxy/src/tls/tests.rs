//! Sessions against rustls's own buffered connections, over real sockets.

use std::{
    future::poll_fn,
    io::{IoSlice, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    rc::Rc,
    sync::Arc,
    thread,
};

use proptest::prelude::*;
use rustls::{
    CipherSuite, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedCipherSuite,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use weir_model::tls::{Certificate, ClientAuth, PrivateKey, Slot};
use weir_testkit::{Authority, Issued};

use super::*;
use crate::{buffer::Spare, timer::Wheel};

pub(super) fn certificate(issued: &Issued, names: &[&str]) -> Arc<Certificate> {
    Arc::new(Certificate {
        name: names.first().copied().unwrap_or("nobody").into(),
        chain: issued.chain.iter().map(|part| Arc::from(part.as_slice())).collect(),
        key: PrivateKey::Pkcs8(issued.key.clone().into()),
        ocsp: None,
        names: names.iter().map(|name| Box::from(*name)).collect(),
        not_after: 0,
    })
}

fn termination(authority: &Authority) -> Termination {
    Termination {
        certificates: vec![certificate(&authority.server(&["a.test"]), &["a.test"])],
        min_version: Version::Tls12,
        alpn: Vec::new(),
        client_auth: None,
        prepared: Slot::default(),
    }
}

fn made(termination: &Termination) -> ServerContext {
    let common = Common::default();
    ServerContext::new(termination, &common.provider, &common.tickets).unwrap()
}

fn provider(suite: Option<SupportedCipherSuite>) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(suite) = suite {
        provider.cipher_suites = vec![suite];
    }
    Arc::new(provider)
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.certificate())).unwrap();
    Arc::new(roots)
}

fn client_config(authority: &Authority, suite: Option<SupportedCipherSuite>) -> ClientConfig {
    ClientConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&versions(suite))
        .unwrap()
        .with_root_certificates(roots(authority))
        .with_no_client_auth()
}

fn versions(suite: Option<SupportedCipherSuite>) -> Vec<&'static SupportedProtocolVersion> {
    match suite {
        None => vec![&TLS13, &TLS12],
        Some(SupportedCipherSuite::Tls13(_)) => vec![&TLS13],
        Some(SupportedCipherSuite::Tls12(_)) => vec![&TLS12],
    }
}

fn server_config(authority: &Authority) -> Arc<ServerConfig> {
    let issued = authority.server(&["a.test"]);
    let chain = issued.chain.into_iter().map(CertificateDer::from).collect();
    let mut config = ServerConfig::builder_with_provider(provider(None))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivatePkcs8KeyDer::from(issued.key).into())
        .unwrap();
    config.ticketer = aws_lc_rs::Ticketer::new().unwrap();
    Arc::new(config)
}

/// The other end, which sends at most so many bytes at once.
struct Peer {
    conn: Connection,
    tcp: TcpStream,
    step: usize,
}

impl Peer {
    fn client(config: impl Into<Arc<ClientConfig>>, tcp: TcpStream) -> Self {
        let conn = ClientConnection::new(config.into(), ServerName::try_from("a.test").unwrap()).unwrap();
        Self { conn: conn.into(), tcp, step: usize::MAX }
    }

    fn flush(&mut self) {
        let mut out = Vec::new();
        while self.conn.wants_write() {
            self.conn.write_tls(&mut out).unwrap();
        }
        for part in out.chunks(self.step.min(out.len().max(1))) {
            self.tcp.write_all(part).unwrap();
        }
    }

    /// One read of the socket; false at the end of it.
    fn pump(&mut self) -> Result<bool, rustls::Error> {
        self.flush();
        let more = self.conn.read_tls(&mut self.tcp).unwrap() > 0;
        let processed = self.conn.process_new_packets();
        self.flush();
        processed.map(|_| more)
    }

    fn shake(&mut self) -> Result<(), rustls::Error> {
        self.flush();
        while self.conn.is_handshaking() {
            assert!(self.pump()?, "closed in the handshake");
        }
        Ok(())
    }

    fn say(&mut self, text: &[u8]) {
        for part in text.chunks(16 * 1024) {
            self.conn.writer().write_all(part).unwrap();
            self.flush();
        }
    }

    fn hear(&mut self, count: usize) -> Vec<u8> {
        let mut heard = vec![0; count];
        let mut done = 0;
        while done < count {
            match self.conn.reader().read(&mut heard[done..]) {
                Ok(0) => panic!("closed after {done} of {count} bytes"),
                Ok(count) => done += count,
                Err(_) => assert!(self.pump().unwrap(), "cut after {done} of {count} bytes"),
            }
        }
        heard
    }
}

/// Two ends of a connection, the first of them ours.
async fn pair() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peer = TcpStream::connect(address).unwrap();
    peer.set_nodelay(true).unwrap();
    let (own, _) = listener.accept().unwrap();
    own.set_nonblocking(true).unwrap();
    (Stream::tcp(tokio::net::TcpStream::from_std(own).unwrap()), peer)
}

/// Runs our end here and the other one on a thread.
fn both<T: Send + 'static, O>(
    other: impl FnOnce(TcpStream) -> T + Send + 'static,
    own: impl AsyncFnOnce(Stream) -> O,
) -> (O, T) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (stream, peer) = pair().await;
        let other = thread::spawn(move || other(peer));
        let own = own(stream).await;
        (own, other.join().unwrap())
    })
}

async fn accepted(mut stream: Stream, termination: &Termination) -> Result<Stream, ProxyError> {
    let wheel: Rc<Wheel> = Rc::default();
    let spare: Rc<Spare> = Rc::default();
    let deadline = crate::clock::now() + weir_model::time::Millis::secs(60);
    accept(&mut stream, &made(termination), spare.buffer(), &wheel.timer(), deadline).await?;
    Ok(stream)
}

/// Reads so much, in pieces that fit into `room`.
async fn read(stream: &Stream, count: usize, room: usize) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut piece = vec![0; room];
    while heard.len() < count {
        poll_fn(|cx| stream.poll_readable(cx)).await.unwrap();
        match stream.read_now(&mut piece) {
            Some(Ok(0)) => panic!("closed after {} of {count} bytes", heard.len()),
            Some(Ok(length)) => heard.extend_from_slice(&piece[..length]),
            Some(Err(error)) => panic!("{error} after {} of {count} bytes", heard.len()),
            None => {}
        }
    }
    heard
}

/// What comes next, with whatever it takes until something does.
async fn next(stream: &Stream) -> std::io::Result<usize> {
    let spare: Rc<Spare> = Rc::default();
    let mut buffer = spare.buffer();
    poll_fn(|cx| stream.poll_fill(cx, &mut buffer)).await
}

/// Waits until the other end has gone, so that nothing that was said to it is lost.
async fn linger(stream: &Stream) {
    poll_fn(|cx| stream.poll_finish(cx)).await;
    loop {
        stream.raw().readable().await.unwrap();
        match stream.raw().try_read(&mut [0; 4096]) {
            Ok(0) => return,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + index / 251) as u8).collect()
}

/// Sends text to a session of ours, which sends it back.
fn echo(suite: Option<SupportedCipherSuite>, length: usize, step: usize, room: usize) -> Facts {
    let authority = Authority::new("Root");
    let config = client_config(&authority, suite);
    let client = move |tcp| {
        let mut peer = Peer::client(config, tcp);
        peer.step = step;
        peer.shake().unwrap();
        let said = text(length);
        // Nobody sends forever before reading: the other end would have to keep it all.
        for part in said.chunks(100_000) {
            peer.say(part);
            assert_eq!(peer.hear(part.len()), part);
        }
    };
    let termination = termination(&authority);
    let (facts, ()) = both(client, async |stream| {
        let stream = accepted(stream, &termination).await.unwrap();
        for part in text(length).chunks(100_000) {
            let heard = read(&stream, part.len(), room).await;
            assert!(heard == part, "garbled");
            let (head, body) = heard.split_at(heard.len() / 3);
            let mut done = 0;
            while done < heard.len() {
                let slices = [&head[done.min(head.len())..], &body[done.saturating_sub(head.len())..]];
                done += poll_fn(|cx| stream.poll_write(cx, &slices.map(IoSlice::new))).await.unwrap();
            }
        }
        stream.facts().unwrap().clone()
    });
    facts
}

#[test]
fn every_cipher_carries_everything() {
    for suite in aws_lc_rs::ALL_CIPHER_SUITES {
        // The test's certificate has a key of this kind.
        if format!("{:?}", suite.suite()).contains("RSA") {
            continue;
        }
        let facts = echo(Some(*suite), 200_000, usize::MAX, 64 * 1024);
        assert_eq!(facts.cipher, suite.suite().as_str().unwrap());
        assert_eq!(facts.version == Version::Tls13, suite.tls13().is_some());
        assert_eq!(facts.server_name.as_deref(), Some("a.test"));
        assert!(!facts.resumed && facts.peer.is_empty() && facts.alpn.is_none());
    }
}

#[test]
fn sizes_around_those_of_records_are_carried() {
    for length in [1, 2, 16_383, 16_384, 16_385, 32_768, 65_536, 65_537] {
        echo(None, length, usize::MAX, 16 * 1024);
    }
}

#[test]
fn one_byte_at_a_time_is_as_good_as_any() {
    let tls12 = aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
    for suite in [None, Some(tls12)] {
        echo(suite, 3000, 1, 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_the_pieces_the_text_is_the_same(
        length in 1usize..60_000,
        step in 1usize..40_000,
        room in 1usize..70_000,
        index in 0usize..9,
    ) {
        let suite = aws_lc_rs::ALL_CIPHER_SUITES[index];
        let rsa = format!("{:?}", suite.suite()).contains("RSA");
        echo((!rsa).then_some(suite), length, step, room);
    }
}

#[test]
fn who_reads_slowly_gets_everything() {
    const LENGTH: usize = 6_000_000;
    let authority = Authority::new("Root");
    let config = client_config(&authority, None);
    let client = move |tcp: TcpStream| {
        let mut peer = Peer::client(config, tcp);
        peer.shake().unwrap();
        let heard = peer.hear(LENGTH);
        assert!(heard == text(LENGTH), "garbled");
        // The last word comes behind all of it.
        while peer.pump().unwrap() {}
        assert_eq!(peer.conn.reader().read(&mut [0]).unwrap(), 0, "cut");
    };
    let termination = termination(&authority);
    both(client, async |stream| {
        let stream = accepted(stream, &termination).await.unwrap();
        socket2::SockRef::from(stream.raw()).set_send_buffer_size(8192).unwrap();
        stream.write_all(&text(LENGTH)).await.unwrap();
        poll_fn(|cx| stream.poll_finish(cx)).await;
        assert_eq!(next(&stream).await.unwrap(), 0);
    });
}

/// Our end, once the client has shaken hands and done something.
fn after<O>(
    suite: Option<SupportedCipherSuite>,
    client: impl FnOnce(&mut Peer) + Send + 'static,
    own: impl AsyncFnOnce(Stream) -> O,
) -> O {
    let authority = Authority::new("Root");
    let config = client_config(&authority, suite);
    let client = move |tcp| {
        let mut peer = Peer::client(config, tcp);
        peer.shake().unwrap();
        client(&mut peer);
    };
    let termination = termination(&authority);
    let own = async |stream| own(accepted(stream, &termination).await.unwrap()).await;
    both(client, own).0
}

#[test]
fn an_end_is_told_from_a_cut() {
    for suite in [None, Some(aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)] {
        for says_so in [true, false] {
            let client = move |peer: &mut Peer| {
                peer.say(b"last words");
                if says_so {
                    peer.conn.send_close_notify();
                    peer.flush();
                }
                peer.tcp.shutdown(Shutdown::Write).unwrap();
                // Our direction is still open.
                assert_eq!(peer.hear(6), b"answer");
            };
            after(suite, client, async |stream| {
                assert_eq!(read(&stream, 10, 100).await, b"last words");
                assert_eq!(next(&stream).await.unwrap(), 0);
                assert_eq!(next(&stream).await.unwrap(), 0, "it stays at its end");
                assert_eq!(stream.is_truncated(), !says_so);
                stream.write_all(b"answer").await.unwrap();
                assert!(stream.finish());
                assert!(stream.write_all(b"more").await.is_err(), "after the end");
            });
        }
    }
}

#[test]
fn the_end_is_said() {
    let client = |peer: &mut Peer| {
        assert_eq!(peer.hear(4), b"bye.");
        while peer.pump().unwrap() {}
        assert_eq!(peer.conn.reader().read(&mut [0]).unwrap(), 0, "cut");
    };
    after(None, client, async |stream| {
        stream.write_all(b"bye.").await.unwrap();
        assert!(stream.finish());
    });
}

#[test]
fn new_keys_are_taken_and_given() {
    let client = |peer: &mut Peer| {
        for round in 0..100 {
            peer.conn.refresh_traffic_keys().unwrap();
            peer.say(format!("question {round:3}").as_bytes());
            assert_eq!(peer.hear(10), format!("answer {round:3}").into_bytes());
        }
    };
    after(None, client, async |stream| {
        for round in 0..100 {
            assert_eq!(read(&stream, 12, 5).await, format!("question {round:3}").into_bytes());
            stream.write_all(format!("answer {round:3}").as_bytes()).await.unwrap();
        }
    });
}

#[test]
fn keys_that_are_worn_out_are_replaced() {
    let client = |peer: &mut Peer| {
        for _ in 0..3 {
            assert!(peer.hear(40_000) == text(40_000), "garbled");
        }
    };
    after(None, client, async |stream| {
        for _ in 0..3 {
            stream.session().unwrap().wear_out();
            stream.write_all(&text(40_000)).await.unwrap();
        }
    });
    // TLS 1.2 has no way to replace them: the session ends.
    let tls12 = aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let client = |peer: &mut Peer| {
        while peer.pump().unwrap() {}
        assert_eq!(peer.conn.reader().read(&mut [0; 10]).unwrap(), 0);
    };
    after(Some(tls12), client, async |stream| {
        stream.session().unwrap().wear_out();
        assert!(stream.write_all(b"more").await.is_err());
        assert!(stream.finish());
    });
}

#[test]
fn new_keys_without_end_are_an_attack() {
    let client = |peer: &mut Peer| {
        for _ in 0..40 {
            peer.conn.refresh_traffic_keys().unwrap();
            peer.flush();
        }
        let error = loop {
            if let Err(error) = peer.pump() {
                break error;
            }
        };
        assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::UnexpectedMessage));
    };
    after(None, client, async |stream| {
        let error = next(&stream).await.unwrap_err();
        assert!(error.to_string().contains("too many TLS records without data"), "{error}");
        linger(&stream).await;
    });
}

#[test]
fn what_is_no_record_ends_the_session() {
    let tls12 = aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    let rows: [(&[u8], _); 6] = [
        (&[23, 3, 3, 0, 40], rustls::AlertDescription::BadRecordMac),
        (&[23, 3, 3, 0, 3], rustls::AlertDescription::BadRecordMac),
        (&[23, 3, 3, 255, 255], rustls::AlertDescription::RecordOverflow),
        (&[20, 3, 3, 0, 1], rustls::AlertDescription::UnexpectedMessage),
        (&[23, 9, 9, 0, 40], rustls::AlertDescription::UnexpectedMessage),
        (b"GET / HTTP/1.1\r\n", rustls::AlertDescription::UnexpectedMessage),
    ];
    for suite in [None, Some(tls12)] {
        for (bytes, alert) in rows {
            let client = move |peer: &mut Peer| {
                peer.say(b"good");
                peer.tcp.write_all(bytes).unwrap();
                peer.tcp.write_all(&[1; 40]).unwrap();
                let error = loop {
                    if let Err(error) = peer.pump() {
                        break error;
                    }
                };
                assert_eq!(error, rustls::Error::AlertReceived(alert), "{bytes:?}");
            };
            after(suite, client, async |stream| {
                assert_eq!(read(&stream, 4, 100).await, b"good");
                next(&stream).await.unwrap_err();
                next(&stream).await.unwrap_err();
                assert!(stream.is_truncated());
                assert!(stream.write_all(b"more").await.is_err());
                linger(&stream).await;
            });
        }
    }
}

#[test]
fn a_new_handshake_in_an_old_session_is_refused() {
    let tls12 = aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let authority = Authority::new("Root");
    let mut config = client_config(&authority, Some(tls12));
    config.enable_secret_extraction = true;
    let termination = termination(&authority);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    // Both ends are ours: rustls's own would not ask for it.
    runtime.block_on(local.run_until(async {
        let (own, other) = pair().await;
        other.set_nonblocking(true).unwrap();
        let mut other = Stream::tcp(tokio::net::TcpStream::from_std(other).unwrap());
        let asking = async {
            let name = ServerName::try_from("a.test").unwrap();
            connect(&mut other, Arc::new(config), name, |_| false).await.unwrap();
            // The beginning of a ClientHello.
            other.session().unwrap().say_for_test(other.raw(), 22, &[1, 0, 0, 2, 3, 3]);
            other.write_all(b"and on").await.unwrap();
            assert_eq!(read(&other, 2, 10).await, b"ok");
        };
        let asked = async {
            let stream = accepted(own, &termination).await.unwrap();
            assert_eq!(read(&stream, 6, 10).await, b"and on");
            stream.write_all(b"ok").await.unwrap();
            stream
        };
        let ((), _stream) = tokio::join!(asking, asked);
    }));
}

#[test]
fn who_gives_up_is_understood() {
    let client = |peer: &mut Peer| {
        // The client's library sends an alert when it gets something that it cannot open.
        let error = loop {
            if let Err(error) = peer.pump() {
                break error;
            }
        };
        assert_eq!(error, rustls::Error::DecryptError);
    };
    after(None, client, async |stream| {
        rustix::io::write(
            stream.raw(),
            &[23, 3, 3, 0, 17, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8],
        )
        .unwrap();
        let error = next(&stream).await.unwrap_err();
        assert!(error.to_string().contains("BadRecordMac"), "{error}");
    });
}

#[test]
fn who_does_not_speak_tls_is_told_apart() {
    let authority = Authority::new("Root");
    let termination = termination(&authority);
    let refused = |bytes: &'static [u8], ends: bool| {
        let client = move |mut tcp: TcpStream| {
            tcp.write_all(bytes).unwrap();
            if ends {
                tcp.shutdown(Shutdown::Write).unwrap();
            }
            let mut answer = Vec::new();
            _ = tcp.read_to_end(&mut answer);
            answer
        };
        let own = async |stream| accepted(stream, &termination).await.map(drop).unwrap_err();
        let (error, answer) = both(client, own);
        (error.cause, answer)
    };
    let (cause, answer) = refused(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n", false);
    assert_eq!(cause, Cause::ClientNotTls);
    assert_eq!(answer.first(), Some(&21), "an alert");
    assert_eq!(refused(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", false).0, Cause::ClientTlsHandshake);
    assert_eq!(refused(b"", true).0, Cause::ClientAborted);
    assert_eq!(refused(b"\x16\x03\x01\x02", true).0, Cause::ClientAborted);
}

#[test]
fn a_handshake_that_takes_too_long_ends() {
    let authority = Authority::new("Root");
    let context = made(&termination(&authority));
    let (error, ()) = both(
        |mut tcp| _ = tcp.read_to_end(&mut Vec::new()),
        async |mut stream| {
            let (wheel, spare): (Rc<Wheel>, Rc<Spare>) = Default::default();
            let timer = wheel.timer();
            accept(&mut stream, &context, spare.buffer(), &timer, crate::clock::now()).await.unwrap_err()
        },
    );
    assert_eq!(error.cause, Cause::ClientTimeoutHandshake);
}

#[test]
fn what_was_read_before_the_handshake_belongs_to_it() {
    let authority = Authority::new("Root");
    let config = client_config(&authority, None);
    let client = move |tcp| {
        let mut peer = Peer::client(config, tcp);
        peer.shake().unwrap();
        peer.say(b"hello");
    };
    let context = made(&termination(&authority));
    both(client, async |mut stream| {
        let (wheel, spare): (Rc<Wheel>, Rc<Spare>) = Default::default();
        let mut early = spare.buffer();
        poll_fn(|cx| stream.poll_fill(cx, &mut early)).await.unwrap();
        let deadline = crate::clock::now() + weir_model::time::Millis::secs(60);
        accept(&mut stream, &context, early, &wheel.timer(), deadline).await.unwrap();
        assert_eq!(read(&stream, 5, 5).await, b"hello");
    });
}

#[test]
fn protocols_are_agreed_on_or_nothing_is() {
    let authority = Authority::new("Root");
    let offer = |ours: &[&str], theirs: &[&str]| {
        let mut config = client_config(&authority, None);
        config.alpn_protocols = theirs.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut termination = termination(&authority);
        termination.alpn = ours.iter().map(|name| name.as_bytes().into()).collect();
        let client = move |tcp| Peer::client(config, tcp).shake();
        let (own, client) = both(client, async |stream| accepted(stream, &termination).await);
        (own.map(|stream| stream.facts().unwrap().alpn.clone()), client)
    };
    let agreed = offer(&["h2", "http/1.1"], &["http/1.1", "h2"]).0.unwrap();
    assert_eq!(agreed.as_deref(), Some(&b"h2"[..]), "ours is the preference that counts");
    assert_eq!(offer(&["http/1.1"], &[]).0.unwrap(), None);
    assert_eq!(offer(&[], &["h2"]).0.unwrap(), None);
    let (own, client) = offer(&["http/1.1"], &["h2"]);
    assert_eq!(own.unwrap_err().cause, Cause::ClientTlsHandshake);
    let alert = rustls::AlertDescription::NoApplicationProtocol;
    assert_eq!(client.unwrap_err(), rustls::Error::AlertReceived(alert));
}

#[test]
fn the_oldest_version_is_the_listeners_choice() {
    let authority = Authority::new("Root");
    let tls12 = aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let config = client_config(&authority, Some(tls12));
    let mut termination = termination(&authority);
    termination.min_version = Version::Tls13;
    let client = move |tcp| Peer::client(config, tcp).shake().unwrap_err();
    let (own, client) = both(client, async |stream| accepted(stream, &termination).await);
    assert_eq!(own.unwrap_err().cause, Cause::ClientTlsHandshake);
    let alert = rustls::AlertDescription::ProtocolVersion;
    assert_eq!(client, rustls::Error::AlertReceived(alert));
}

#[test]
fn clients_show_certificates_where_they_have_to() {
    let (authority, clients, strangers) =
        (Authority::new("Root"), Authority::new("Clients"), Authority::new("Strangers"));
    let (good, bad) = (clients.client("ann"), strangers.client("eve"));
    let shown = |required, issued: Option<&Issued>| {
        let builder = ClientConfig::builder_with_provider(provider(None))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(&authority));
        let config = match issued {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let chain = issued.chain.iter().cloned().map(CertificateDer::from).collect();
                let key = PrivatePkcs8KeyDer::from(issued.key.clone());
                builder.with_client_auth_cert(chain, key.into()).unwrap()
            }
        };
        let mut termination = termination(&authority);
        let authorities = vec![clients.certificate().into()];
        termination.client_auth = Some(ClientAuth { authorities, required });
        // A client of TLS 1.3 is done before it hears what its certificate is thought of.
        let client = move |tcp| {
            let mut peer = Peer::client(config, tcp);
            peer.shake().unwrap();
            while peer.pump()? {}
            Ok(())
        };
        let own = async |stream| {
            let stream = accepted(stream, &termination).await?;
            assert!(stream.finish());
            Ok(stream.facts().unwrap().peer.clone())
        };
        let (own, client): (Result<_, ProxyError>, Result<(), rustls::Error>) = both(client, own);
        assert_eq!(own.is_ok(), client.is_ok());
        own
    };
    for required in [true, false] {
        let verified = shown(required, Some(&good)).unwrap();
        assert_eq!(verified[..].iter().map(|der| der.to_vec()).collect::<Vec<_>>(), good.chain);
        assert_eq!(shown(required, Some(&bad)).unwrap_err().cause, Cause::ClientTlsHandshake);
    }
    assert_eq!(shown(true, None).unwrap_err().cause, Cause::ClientTlsHandshake);
    assert!(shown(false, None).unwrap().is_empty());
}

#[test]
fn a_client_may_have_a_long_chain() {
    let (authority, clients) = (Authority::new("Root"), Authority::new("Clients"));
    let issued = clients.client("ann");
    // Those behind its own are of no use to anybody, and stand in its tickets all the same.
    let other = Authority::new("Other").certificate();
    let chain = issued.chain.iter().chain(std::iter::repeat_n(&other, 120)).cloned();
    let chain: Vec<_> = chain.map(CertificateDer::from).collect();
    let length: usize = chain.iter().map(|part| part.len()).sum();
    assert!(length > 40_000, "{length}");
    for version in [&TLS12, &TLS13] {
        let config = ClientConfig::builder_with_provider(provider(None))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots(&authority))
            .with_client_auth_cert(chain.clone(), PrivatePkcs8KeyDer::from(issued.key.clone()).into())
            .unwrap();
        let mut termination = termination(&authority);
        let authorities = vec![clients.certificate().into()];
        termination.client_auth = Some(ClientAuth { authorities, required: true });
        let client = move |tcp| {
            let mut peer = Peer::client(config, tcp);
            // It goes out with the last message of the handshake, and there are no tickets to be written before it is read.
            peer.conn.writer().write_all(&text(30_000)).unwrap();
            peer.shake().unwrap();
            peer.conn.send_close_notify();
            peer.flush();
            assert!(peer.hear(100_000) == text(100_000), "garbled");
        };
        both(client, async |stream| {
            let stream = accepted(stream, &termination).await.unwrap();
            assert!(read(&stream, 30_000, 10_000).await == text(30_000), "garbled");
            assert_eq!(next(&stream).await.unwrap(), 0);
            assert!(!stream.is_truncated());
            stream.write_all(&text(100_000)).await.unwrap();
        });
    }
}

#[test]
fn data_may_come_with_the_handshake() {
    for suite in [None, Some(aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)] {
        let authority = Authority::new("Root");
        let config = client_config(&authority, suite);
        let client = move |tcp| {
            let mut peer = Peer::client(config, tcp);
            peer.conn.writer().write_all(&text(50_000)).unwrap();
            peer.shake().unwrap();
            assert_eq!(peer.hear(6), b"answer");
        };
        let termination = termination(&authority);
        both(client, async |stream| {
            let stream = accepted(stream, &termination).await.unwrap();
            assert!(read(&stream, 50_000, 64 * 1024).await == text(50_000), "garbled");
            stream.write_all(b"answer").await.unwrap();
        });
    }
}

#[test]
fn our_own_connections_speak_tls_and_come_back() {
    let authority = Authority::new("Root");
    let server = server_config(&authority);
    for suite in [None, Some(aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)] {
        let mut config = client_config(&authority, suite);
        config.enable_secret_extraction = true;
        let config = Arc::new(config);
        for round in 0..3 {
            let server = server.clone();
            let other = move |tcp: TcpStream| {
                let mut peer =
                    Peer { conn: ServerConnection::new(server).unwrap().into(), tcp, step: usize::MAX };
                peer.shake().unwrap();
                assert_eq!(peer.hear(9), b"question?");
                peer.say(&text(50_000));
            };
            let (resumed, ()) = both(other, async |mut stream| {
                let name = ServerName::try_from("a.test").unwrap();
                connect(&mut stream, config.clone(), name, |_| false).await.unwrap();
                stream.send(b"question?").await.unwrap();
                let mut heard = Vec::new();
                let mut room = [0; 4000];
                while heard.len() < 50_000 {
                    let count = stream.take(&mut room).await.unwrap();
                    assert_ne!(count, 0);
                    heard.extend_from_slice(&room[..count]);
                }
                assert!(heard == text(50_000), "garbled");
                stream.facts().unwrap().resumed
            });
            assert_eq!(resumed, round > 0);
        }
    }
}

#[test]
fn tickets_do_not_break_the_silence() {
    let authority = Authority::new("Root");
    let mut config = client_config(&authority, None);
    config.enable_secret_extraction = true;
    let server = server_config(&authority);
    let (said, told) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel();
    let other = move |tcp: TcpStream| {
        let mut peer = Peer { conn: ServerConnection::new(server).unwrap().into(), tcp, step: usize::MAX };
        peer.shake().unwrap();
        said.send(()).unwrap();
        may_go.recv().unwrap();
        peer.say(b"unasked");
        said.send(()).unwrap();
        may_go.recv().unwrap();
    };
    both(other, async |mut stream| {
        let name = ServerName::try_from("a.test").unwrap();
        connect(&mut stream, Arc::new(config), name, |_| false).await.unwrap();
        told.recv().unwrap();
        // The tickets are there, in the kernel.
        let mut peeked = [0; 1];
        while rustix::net::recv(stream.raw(), &mut peeked, rustix::net::RecvFlags::PEEK).is_err() {}
        assert!(stream.is_silent(true) && stream.is_silent(true) && stream.is_silent(false));
        go.send(()).unwrap();
        told.recv().unwrap();
        while rustix::net::recv(stream.raw(), &mut peeked, rustix::net::RecvFlags::PEEK).is_err() {}
        assert!(!stream.is_silent(true));
        go.send(()).unwrap();
        assert_eq!(read(&stream, 7, 100).await, b"unasked");
    });
}

#[test]
fn a_session_is_small() {
    let size = size_of::<Session>();
    println!("session: {size} bytes, facts {}", size_of::<Facts>());
    assert!(size <= 2048, "{size} bytes");
}

#[test]
fn the_preferred_key_exchange_withstands_quantum_computers() {
    assert_eq!(Common::default().provider.kx_groups[0].name(), rustls::NamedGroup::X25519MLKEM768);
    assert!(
        Common::default()
            .provider
            .cipher_suites
            .iter()
            .all(|suite| suite.suite() != CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA)
    );
}
