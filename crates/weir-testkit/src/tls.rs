//! TLS on either end of a test: what a server shows, what a client asks for, and what they learn of each other.

use std::{collections::VecDeque, fmt, io, net::TcpStream, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};

use crate::{Authority, Issued};

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl TlsVersion {
    const fn supported(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls12 => &TLS12,
            Self::Tls13 => &TLS13,
        }
    }
}

/// How a server speaks TLS. Connections that are made with clones of it can be resumed with each other.
#[derive(Clone)]
pub struct TlsServer(Arc<ServerConfig>);

/// How a client speaks TLS. Connections that are made with clones of it can be resumed with each other.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    name: String,
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsServer")
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClient")
    }
}

/// What is known of the other end once both have shaken hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// The name that a client asked for, as its server sees it.
    pub server_name: Option<String>,
    /// What was agreed on by ALPN.
    pub protocol: Option<Vec<u8>>,
    /// The certificates that the other end has shown, as DER, its own first.
    pub certificates: Vec<Vec<u8>>,
    /// The version.
    pub version: Option<TlsVersion>,
    /// No keys were exchanged anew, or no certificates at least.
    pub resumed: bool,
}

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn chain(issued: &Issued) -> Vec<CertificateDer<'static>> {
    issued.chain.iter().cloned().map(CertificateDer::from).collect()
}

fn key(issued: &Issued) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(issued.key.clone()).into()
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates([CertificateDer::from(authority.certificate())]);
    roots
}

/// The parts that cannot fail for what a test makes up.
#[track_caller]
fn made<T, E: fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("no TLS: {error}"))
}

impl TlsServer {
    /// Shows this certificate to everybody, and asks for none.
    ///
    /// # Panics
    /// If it cannot be shown.
    pub fn new(issued: &Issued) -> Self {
        Self::with(issued, None, &VERSIONS, &[])
    }

    /// The whole of it: clients need a certificate of `clients` if that is given, and are spoken to in these versions and
    /// protocols.
    ///
    /// # Panics
    /// If it cannot be.
    pub fn with(
        issued: &Issued,
        clients: Option<&Authority>,
        versions: &[TlsVersion],
        protocols: &[&[u8]],
    ) -> Self {
        let versions: Vec<_> = versions.iter().map(|version| version.supported()).collect();
        let builder = made(ServerConfig::builder_with_provider(provider()).with_protocol_versions(&versions));
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let roots = Arc::new(roots(authority));
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
                builder.with_client_cert_verifier(made(verifier))
            }
        };
        let mut config = made(builder.with_single_cert(chain(issued), key(issued)));
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.ticketer = made(rustls::crypto::aws_lc_rs::Ticketer::new());
        Self(Arc::new(config))
    }

    pub(crate) fn accept(&self) -> Connection {
        Connection::Server(made(ServerConnection::new(self.0.clone())))
    }
}

impl TlsClient {
    /// Asks for a name and believes what this authority has signed.
    ///
    /// # Panics
    /// If it cannot be.
    pub fn new(authority: &Authority, name: &str) -> Self {
        Self::with(authority, name, None, &VERSIONS, &[])
    }

    /// The whole of it: it shows `issued` if that is given, and speaks these versions and protocols.
    ///
    /// # Panics
    /// If it cannot be.
    pub fn with(
        authority: &Authority,
        name: &str,
        issued: Option<&Issued>,
        versions: &[TlsVersion],
        protocols: &[&[u8]],
    ) -> Self {
        let versions: Vec<_> = versions.iter().map(|version| version.supported()).collect();
        let builder = made(ClientConfig::builder_with_provider(provider()).with_protocol_versions(&versions));
        let builder = builder.with_root_certificates(roots(authority));
        let mut config = match issued {
            None => builder.with_no_client_auth(),
            Some(issued) => made(builder.with_client_auth_cert(chain(issued), key(issued))),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Self { config: Arc::new(config), name: name.to_owned() }
    }

    /// The same, for another name; sends no name at all if `name` is an address.
    #[must_use]
    pub fn asking_for(&self, name: &str) -> Self {
        Self { config: self.config.clone(), name: name.to_owned() }
    }

    pub(crate) fn connect(&self) -> Connection {
        let name = made(ServerName::try_from(self.name.clone()));
        Connection::Client(made(ClientConnection::new(self.config.clone(), name)))
    }
}

/// One end of a connection that speaks TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    connection: Connection,
    /// What was read of it before it was known to be TLS.
    early: VecDeque<u8>,
    /// The other end has closed without saying so.
    cut: bool,
}

impl Tls {
    pub(crate) fn new(connection: Connection, early: Vec<u8>) -> Self {
        Self { connection, early: early.into(), cut: false }
    }

    /// Takes in what has come.
    fn receive(&mut self, mut stream: &TcpStream) -> io::Result<usize> {
        if self.early.is_empty() {
            return self.connection.read_tls(&mut stream);
        }
        self.connection.read_tls(&mut self.early)
    }

    /// Reads text; the handshake happens on the way.
    pub(crate) fn read(&mut self, stream: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
        use io::Read as _;
        loop {
            self.flush(stream)?;
            match self.connection.reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            if self.receive(stream)? == 0 {
                // A second look tells an announced end from a cut.
                self.cut = true;
                return self.connection.reader().read(into);
            }
            if let Err(error) = self.connection.process_new_packets() {
                // The alert is worth sending, whatever becomes of it.
                let _ = self.flush(stream);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }

    /// Writes text, as far as the other end takes it: what is returned as written has left.
    pub(crate) fn write(&mut self, stream: &TcpStream, from: &[u8]) -> io::Result<usize> {
        use io::Write as _;
        self.flush(stream)?;
        while self.connection.is_handshaking() {
            if self.receive(stream)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let processed = self.connection.process_new_packets();
            self.flush(stream)?;
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        // Written at once by the library into its own buffer; what does not leave now leaves with the next call.
        let count = self.connection.writer().write(&from[..from.len().min(16 * 1024)])?;
        match self.flush(stream) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(count)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(count),
        }
    }

    /// Sends what waits to be sent.
    pub(crate) fn flush(&mut self, mut stream: &TcpStream) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut stream)?;
        }
        Ok(())
    }

    /// Says that nothing more will come.
    pub(crate) fn close(&mut self, stream: &TcpStream) {
        self.connection.send_close_notify();
        // A peer that has gone already is no concern of the test here.
        let _ = self.flush(stream);
    }

    /// True if the other end has closed without saying so before.
    pub(crate) const fn was_cut(&self) -> bool {
        self.cut
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    pub(crate) fn facts(&self) -> TlsFacts {
        let shown = self.connection.peer_certificates().unwrap_or_default();
        TlsFacts {
            server_name: match &self.connection {
                Connection::Server(server) => server.server_name().map(str::to_owned),
                Connection::Client(_) => None,
            },
            protocol: self.connection.alpn_protocol().map(<[u8]>::to_vec),
            certificates: shown.iter().map(|der| der.to_vec()).collect(),
            version: match self.connection.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => Some(TlsVersion::Tls12),
                Some(rustls::ProtocolVersion::TLSv1_3) => Some(TlsVersion::Tls13),
                _ => None,
            },
            resumed: self.connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}
