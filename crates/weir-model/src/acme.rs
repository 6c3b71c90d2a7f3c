//! Certificates that an authority issues by itself (ACME, RFC 8555): what a listener says of them, and when they are renewed.

mod renewal;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use twox_hash::XxHash3_64;

pub use renewal::{Renewal, Setbacks, Span};

use crate::status::AcmeStatus;

/// What a listener says of the certificate that it is to be given.
#[derive(Clone, Debug)]
pub struct Acme {
    /// What it is called in storage, logs and metrics; see [`label`].
    pub label: Arc<str>,
    /// Where the authority says what it offers: a URL.
    pub directory: Arc<str>,
    /// Whom the authority writes to.
    pub email: Option<Arc<str>>,
    /// What the certificate is for, in lower case.
    pub domains: Vec<Arc<str>>,
    /// The folder that account, certificate and locks are kept in, perhaps by several instances.
    pub storage: Arc<Path>,
    /// How the domains are proved.
    pub challenge: Challenge,
    /// Who may have signed the certificate of the directory, each as DER; none is whom the system trusts.
    pub authorities: Option<Vec<Arc<[u8]>>>,
    /// How it goes; survives reloads.
    pub status: Arc<AcmeStatus>,
}

/// How it goes is no part of what the file says.
impl PartialEq for Acme {
    fn eq(&self, other: &Self) -> bool {
        let Self { label, directory, email, domains, storage, challenge, authorities, status: _ } = self;
        (label, directory, email, domains) == (&other.label, &other.directory, &other.email, &other.domains)
            && (storage, challenge, authorities) == (&other.storage, &other.challenge, &other.authorities)
    }
}

impl Eq for Acme {}

impl Acme {
    /// The file that the certificate lies in, with its key.
    pub fn certificate(&self) -> PathBuf {
        certificate(&self.storage, &self.label)
    }
}

/// How an authority is shown that a domain is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// It asks for a file at port 80 (RFC 8555 section 8.3).
    Http01,
    /// It asks for a certificate at port 443 (RFC 8737).
    TlsAlpn01,
}

impl Challenge {
    /// The word used in the file, and by authorities.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }

    /// The port that authorities connect to.
    pub const fn port(self) -> u16 {
        match self {
            Self::Http01 => 80,
            Self::TlsAlpn01 => 443,
        }
    }
}

/// What a certificate of this authority for these domains is called: the first domain in the order of the alphabet, and a
/// hash of all of that. With other domains it is another certificate.
pub fn label<'d>(directory: &str, domains: impl IntoIterator<Item = &'d str>) -> Option<String> {
    let mut domains: Vec<_> = domains.into_iter().map(str::to_ascii_lowercase).collect();
    domains.sort_unstable();
    domains.dedup();
    let first = domains.first()?;
    let text = format!("{directory}\n{}", domains.join("\n"));
    Some(format!("{first}-{:016x}", XxHash3_64::oneshot(text.as_bytes())))
}

/// The file that the certificate of this name lies in, with its key.
pub fn certificate(storage: &Path, label: &str) -> PathBuf {
    storage.join(format!("{label}.pem"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_domains_have_the_same_name_and_others_another() {
        let name = |domains: &[&str]| label("https://ca.example/dir", domains.iter().copied());
        let one = name(&["example.com", "www.example.com"]).expect("there are domains");
        assert!(one.starts_with("example.com-") && one.len() == "example.com-".len() + 16, "{one}");
        assert_eq!(name(&["www.example.com", "Example.com", "example.com"]), Some(one.clone()));
        assert_ne!(name(&["example.com"]), Some(one.clone()));
        assert_ne!(label("https://ca.example/staging", ["example.com", "www.example.com"]), Some(one));
        assert_eq!(name(&[]), None);
    }
}
