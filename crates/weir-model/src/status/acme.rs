//! How it goes with certificates that an authority issues: what operators see of it, and what authorities are answered.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;

use crate::tls::Certificate;

/// How it goes with one certificate.
#[derive(Debug, Default)]
pub struct AcmeStatus {
    /// Certificates that this process was given.
    pub issued: AtomicU64,
    /// Attempts of this process that failed.
    pub failed: AtomicU64,
    /// Failures in a row, of whichever instance.
    pub failures: AtomicU32,
    /// When the next attempt is due, in seconds since 1970; 0 if that is not known yet.
    pub next_attempt: AtomicU64,
    /// When the certificate that is there ends, in the same seconds; 0 if there is none.
    pub not_after: AtomicU64,
    last_error: Mutex<Option<Arc<str>>>,
}

impl AcmeStatus {
    /// What went wrong last, if nothing has gone well since.
    pub fn last_error(&self) -> Option<Arc<str>> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets what went wrong.
    pub fn set_last_error(&self, sentence: Option<&str>) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = sentence.map(Arc::from);
    }
}

/// What an authority is answered that looks whether a domain is ours.
#[derive(Clone)]
pub enum Proof {
    /// At `/.well-known/acme-challenge/` and this token, this text.
    Http(Arc<str>, Arc<str>),
    /// To whoever asks for this name by the protocol `acme-tls/1`, this certificate.
    TlsAlpn(Arc<str>, Arc<Certificate>),
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(token, _) => f.debug_tuple("Http").field(token).finish(),
            Self::TlsAlpn(domain, _) => f.debug_tuple("TlsAlpn").field(domain).finish(),
        }
    }
}

/// Proofs that authorities may ask for just now, by the label of the certificate that they are for. Usually there are
/// none, and that is all that traffic asks.
#[derive(Debug, Default)]
pub struct Proofs {
    any: AtomicBool,
    known: ArcSwap<Vec<(Arc<str>, Vec<Proof>)>>,
}

impl Proofs {
    /// Where the path of a proof by HTTP begins (RFC 8555 section 8.3).
    pub const PATH: &str = "/.well-known/acme-challenge/";
    /// The name of the protocol for proofs by TLS (RFC 8737 section 4).
    pub const ALPN: &[u8] = b"acme-tls/1";

    /// True if an authority may ask for something.
    #[inline]
    pub fn are_any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Gives out these proofs for one certificate from now on, and no others; none at all if there are none.
    pub fn set(&self, label: &Arc<str>, proofs: &[Proof]) {
        self.known.rcu(|known| {
            let others = known.iter().filter(|(other, _)| other != label).cloned();
            let own = (!proofs.is_empty()).then(|| (label.clone(), proofs.to_vec()));
            others.chain(own).collect::<Vec<_>>()
        });
        // In this order: whoever sees that there are some finds them.
        self.any.store(!self.known.load().is_empty(), Ordering::Release);
    }

    /// The answer to a request for this path, if it asks for a proof that we have.
    pub fn at_path(&self, path: &[u8]) -> Option<Arc<str>> {
        let asked = path.strip_prefix(Self::PATH.as_bytes())?;
        self.find(|proof| match proof {
            Proof::Http(token, text) if token.as_bytes() == asked => Some(text.clone()),
            _ => None,
        })
    }

    /// The certificate to be shown to whoever asks for this name by [`Proofs::ALPN`].
    pub fn for_name(&self, name: &str) -> Option<Arc<Certificate>> {
        self.find(|proof| match proof {
            Proof::TlsAlpn(domain, certificate) if name.eq_ignore_ascii_case(domain) => {
                Some(certificate.clone())
            }
            _ => None,
        })
    }

    fn find<T>(&self, of: impl FnMut(&Proof) -> Option<T>) -> Option<T> {
        self.known.load().iter().flat_map(|(_, proofs)| proofs).find_map(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_come_and_go_by_certificate() {
        let proofs = Proofs::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let proof = |token: &str| Proof::Http(token.into(), format!("{token}.key").into());
        assert!(!proofs.are_any());
        proofs.set(&a, &[proof("one"), proof("two")]);
        proofs.set(&b, &[proof("three")]);
        let at = |token: &str| proofs.at_path(format!("{}{token}", Proofs::PATH).as_bytes());
        assert_eq!(at("two").as_deref(), Some("two.key"));
        assert_eq!((at("four"), at("")), (None, None));
        proofs.set(&a, &[proof("four")]);
        assert_eq!(
            (at("one"), at("four").as_deref(), at("three").as_deref()),
            (None, Some("four.key"), Some("three.key"))
        );
        proofs.set(&a, &[]);
        assert!(proofs.are_any() && at("four").is_none());
        proofs.set(&b, &[]);
        assert!(!proofs.are_any());
    }
}
