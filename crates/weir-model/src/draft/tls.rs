//! TLS as a file says it. Certificates and keys have been read, so that nothing but what was in the files matters later;
//! where they came from is kept for those who watch the files.

use std::{path::PathBuf, sync::Arc};

use super::{Setting, Text};
use crate::{
    acme::Challenge,
    problem::Span,
    tls::{Certificate, Version},
};

/// The unchecked TLS of a listener.
#[derive(Clone, Debug, Default)]
pub struct TerminationDraft {
    /// Those that could be read.
    pub certificates: Setting<Vec<CertificateDraft>>,
    /// The oldest version that is spoken.
    pub min_version: Setting<Version>,
    /// Names of protocols, as written.
    pub alpn: Setting<Vec<Text>>,
    /// Client certificates.
    pub client_auth: Setting<ClientAuthDraft>,
    /// A certificate that an authority issues.
    pub acme: Setting<AcmeDraft>,
}

/// A certificate that an authority issues; see [`crate::acme::Acme`].
#[derive(Clone, Debug, Default)]
pub struct AcmeDraft {
    /// A URL, as written.
    pub directory: Option<Text>,
    /// An address of mail.
    pub email: Option<Text>,
    /// Host names, as written.
    pub domains: Setting<Vec<Text>>,
    /// The folder, as seen from the folder that weir runs in.
    pub storage: Setting<PathBuf>,
    /// How the domains are proved; unless given, it follows from the other listeners.
    pub challenge: Setting<Challenge>,
    /// Whose signature of the directory's certificate counts.
    pub ca: Option<AuthoritiesDraft>,
    /// True if a key could not be read.
    pub broken: bool,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct CertificateDraft {
    /// Where it stands.
    pub span: Span,
    /// Where it came from.
    pub files: CertificateFiles,
    /// What was read there.
    pub read: Arc<Certificate>,
}

/// The files of a certificate, each as seen from the folder that weir runs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, with the key in it if [`CertificateFiles::key`] is none.
    pub certificate: PathBuf,
    /// The key.
    pub key: Option<PathBuf>,
    /// The answer of the OCSP server, if there is one to be stapled.
    pub ocsp: Option<PathBuf>,
}

impl CertificateFiles {
    /// All of them.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.certificate).chain(&self.key).chain(&self.ocsp)
    }
}

/// Certificates of those who may sign others.
#[derive(Clone, Debug)]
pub struct AuthoritiesDraft {
    /// The file, as seen from the folder that weir runs in.
    pub file: PathBuf,
    /// What was read there, each as DER.
    pub read: Vec<Arc<[u8]>>,
}

/// Client certificates; see [`crate::tls::ClientAuth`].
#[derive(Clone, Debug, Default)]
pub struct ClientAuthDraft {
    /// Whose certificates count; none if that could not be read.
    pub ca: Option<AuthoritiesDraft>,
    /// Whether a client without one is refused; it is unless the file says otherwise.
    pub required: Setting<bool>,
}
