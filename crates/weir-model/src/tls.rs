//! TLS: what ends at a listener, and what begins at a pool.
//!
//! ```text
//!  files ── read, judged (weir-control) ──> Draft ── compile ──> Termination, Origination ── prepare (weir-proxy) ──> Slot
//! ```
//!
//! A snapshot carries certificates and keys as values, so that a snapshot that is published never fails for a file that
//! is gone. What the path makes of them (contexts of the TLS library) is made once, before the snapshot is published,
//! and lies in the [`Slot`] beside them, shared by all workers.

mod identity;

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
};

pub use identity::{AlternativeName, Identity, NameKind};

/// The TLS that ends at a listener.
#[derive(Debug, PartialEq, Eq)]
pub struct Termination {
    /// Chosen by the name that the client asks for (RFC 6066 section 3); the first is for those that no other fits.
    pub certificates: Vec<Arc<Certificate>>,
    /// The oldest version that is spoken.
    pub min_version: Version,
    /// The protocols that are offered by ALPN (RFC 7301), the preferred one first.
    pub alpn: Vec<Box<[u8]>>,
    /// Whether clients have to show certificates, and whose.
    pub client_auth: Option<ClientAuth>,
    /// What the path made of it.
    pub prepared: Slot,
}

/// The TLS that begins at a pool.
#[derive(Debug, PartialEq, Eq)]
pub struct Origination {
    /// Whether the certificate of a backend has to be valid, for its name and in time.
    pub verify: bool,
    /// Who may have signed it, each as DER; none is whom the system trusts.
    pub authorities: Option<Vec<Arc<[u8]>>>,
    /// The name that is asked for and verified, if it is not that of the backend.
    pub server_name: Option<Arc<str>>,
    /// What weir shows of itself.
    pub identity: Option<Arc<Certificate>>,
    /// What the path made of it.
    pub prepared: Slot,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// Client certificates.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// Who may have signed them, each as DER.
    pub authorities: Vec<Arc<[u8]>>,
    /// A client without one is refused; otherwise it is served as nobody in particular.
    pub required: bool,
}

/// A certificate with its key: read, and found to belong together.
#[derive(PartialEq, Eq)]
pub struct Certificate {
    /// What metrics and messages call it: the file that it came from.
    pub name: Arc<str>,
    /// The chain as DER, its own certificate first.
    pub chain: Vec<Arc<[u8]>>,
    /// The private key as DER.
    pub key: PrivateKey,
    /// The answer of its OCSP server (RFC 6960) as DER, to be stapled.
    pub ocsp: Option<Arc<[u8]>>,
    /// The host names that it is for, in lower case; `*.` stands for exactly one label.
    pub names: Vec<Box<str>>,
    /// When it ends, in seconds since 1970.
    pub not_after: u64,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("name", &self.name)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// A private key as DER, which is never shown.
#[derive(PartialEq, Eq)]
pub enum PrivateKey {
    /// PKCS #1 (RFC 8017).
    Pkcs1(Box<[u8]>),
    /// SEC 1 (RFC 5915).
    Sec1(Box<[u8]>),
    /// PKCS #8 (RFC 5958).
    Pkcs8(Box<[u8]>),
}

/// What the path made of a resource of a snapshot, before the snapshot was published. Whoever made it knows its type.
#[derive(Default)]
pub struct Slot(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Slot {
    /// Puts something in; what is there already stays.
    pub fn fill(&self, made: Arc<dyn Any + Send + Sync>) {
        _ = self.0.set(made);
    }

    /// What is in there, if it is of this type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.0.get()?.clone().downcast().ok()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "Slot(full)" } else { "Slot(empty)" })
    }
}

/// What was made of two equal things is no difference between them.
impl PartialEq for Slot {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Slot {}
