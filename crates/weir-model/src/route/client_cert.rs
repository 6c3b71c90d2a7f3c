//! Comparison of the certificate that a client has shown.

use std::fmt;

use regex::bytes::Regex;

use super::{HostMatch, TextMatch};
use crate::tls::{AlternativeName, Identity, NameKind};

/// What a client certificate has to be. All of it holds; a list holds if any of its members does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateMatch {
    /// Only that there is none.
    pub absent: bool,
    /// One of its names.
    pub san: Vec<NameMatch>,
    /// Its subject.
    pub subject: Vec<TextMatch>,
}

/// How a name of a certificate is compared.
#[derive(Clone, Debug)]
pub enum NameMatch {
    /// This name, whatever its kind.
    Exact(Box<str>),
    /// A host below this one: never a name of another kind that happens to end like it.
    Under(HostMatch),
    /// The expression matches somewhere in it.
    Regex(Regex),
}

impl PartialEq for NameMatch {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(ours), Self::Exact(theirs)) => ours == theirs,
            (Self::Under(ours), Self::Under(theirs)) => ours == theirs,
            (Self::Regex(ours), Self::Regex(theirs)) => ours.as_str() == theirs.as_str(),
            _ => false,
        }
    }
}

impl Eq for NameMatch {}

impl NameMatch {
    fn takes(&self, name: &AlternativeName) -> bool {
        match self {
            Self::Exact(text) => match name.kind {
                NameKind::Dns => text.eq_ignore_ascii_case(&name.text),
                _ => **text == *name.text,
            },
            Self::Under(host) => name.kind == NameKind::Dns && host.takes(name.text.as_bytes()),
            Self::Regex(regex) => regex.is_match(name.text.as_bytes()),
        }
    }
}

impl CertificateMatch {
    /// True if a client with this certificate, or with none, is taken.
    pub fn takes(&self, client: Option<&Identity>) -> bool {
        match client {
            None => self.absent,
            Some(_) if self.absent => false,
            Some(client) => {
                let names = || client.names.iter();
                let subject = client.subject.as_bytes();
                (self.san.is_empty() || self.san.iter().any(|san| names().any(|name| san.takes(name))))
                    && (self.subject.is_empty() || self.subject.iter().any(|text| text.takes(subject)))
            }
        }
    }

    /// True if this is known to take everything that `other` takes.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let any = |wide: &Self| !wide.absent && wide.san.is_empty() && wide.subject.is_empty();
        self == other || any(self) && !other.absent
    }
}

impl fmt::Display for NameMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "`{text}`"),
            Self::Under(host) => write!(f, "`{host}`"),
            Self::Regex(regex) => write!(f, "~`{}`", regex.as_str().escape_debug()),
        }
    }
}

/// `san `*.example.com`, subject ~`CN=ops``.
impl fmt::Display for CertificateMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |items: Vec<String>| items.join(" | ");
        let san = (!self.san.is_empty())
            .then(|| format!("san {}", listed(self.san.iter().map(ToString::to_string).collect())));
        let subject = (!self.subject.is_empty())
            .then(|| format!("subject {}", listed(self.subject.iter().map(ToString::to_string).collect())));
        match (self.absent, san, subject) {
            (true, ..) => f.write_str("absent"),
            (false, None, None) => f.write_str("present"),
            (false, san, subject) => {
                f.write_str(&san.into_iter().chain(subject).collect::<Vec<_>>().join(" and "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Identity {
        let name = |kind, text: &str| AlternativeName { kind, text: text.into() };
        Identity {
            subject: "CN=ops,O=Partner".into(),
            names: vec![
                name(NameKind::Dns, "ops.partner.example"),
                name(NameKind::Email, "root@mail.other.example"),
                name(NameKind::Uri, "spiffe://Mesh/ops"),
            ],
            fingerprint: "00".into(),
        }
    }

    fn san(san: NameMatch) -> CertificateMatch {
        CertificateMatch { san: vec![san], ..CertificateMatch::default() }
    }

    #[test]
    fn names_are_compared_by_their_kind() {
        let under = |name: &str| san(NameMatch::Under(HostMatch::Under(name.into())));
        let exact = |name: &str| san(NameMatch::Exact(name.into()));
        for (wanted, takes) in [
            (exact("OPS.partner.example"), true),
            (exact("partner.example"), false),
            (exact("spiffe://Mesh/ops"), true),
            (exact("spiffe://mesh/ops"), false),
            (under("partner.example"), true),
            (under("other.example"), false),
            (san(NameMatch::Regex(Regex::new("^spiffe://Mesh/").unwrap())), true),
        ] {
            assert_eq!(wanted.takes(Some(&client())), takes, "{wanted}");
            assert!(!wanted.takes(None), "{wanted}");
        }
    }

    #[test]
    fn name_and_subject_hold_together() {
        let subject = |text: &str| vec![TextMatch::Regex(Regex::new(text).unwrap())];
        let both = |text: &str| CertificateMatch {
            subject: subject(text),
            ..san(NameMatch::Exact("ops.partner.example".into()))
        };
        assert!(both("CN=ops").takes(Some(&client())) && !both("CN=dev").takes(Some(&client())));
        let (any, none) = (CertificateMatch::default(), CertificateMatch { absent: true, ..both("x") });
        assert!(any.takes(Some(&client())) && !any.takes(None));
        assert!(none.takes(None) && !none.takes(Some(&client())));
        assert!(any.covers(&both("x")) && !any.covers(&none) && !both("x").covers(&any));
    }
}
