//! Host patterns: `api.example.com`, and `*.example.com` for one or more labels in front.

use std::fmt;

/// A host pattern, in lower case and without a final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostMatch {
    /// This host.
    Exact(Box<str>),
    /// Any host that ends in a dot and this text, with at least one label in front.
    Under(Box<str>),
}

impl HostMatch {
    /// True if the pattern takes this host (lower case, without port, see `without_dot`).
    pub fn takes(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(name) => host == name.as_bytes(),
            Self::Under(parent) => host
                .strip_suffix(parent.as_bytes())
                .and_then(|front| front.strip_suffix(b"."))
                .is_some_and(|labels| !labels.is_empty()),
        }
    }

    /// True if this pattern takes every host that `other` takes.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exact(name)) => self.takes(name.as_bytes()),
            (Self::Under(parent), Self::Under(child)) => parent == child || self.takes(child.as_bytes()),
            (Self::Exact(_), Self::Under(_)) => false,
        }
    }
}

impl fmt::Display for HostMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Under(parent) => write!(f, "*.{parent}"),
        }
    }
}

/// The host without the final dot of a fully qualified name: both spellings mean the same host.
pub(crate) fn without_dot(host: &[u8]) -> &[u8] {
    match host {
        [name @ .., b'.'] if !name.is_empty() => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_or_more_labels() {
        let under = HostMatch::Under("example.com".into());
        assert!(under.takes(b"a.example.com") && under.takes(b"a.b.example.com"));
        for host in ["example.com", ".example.com", "badexample.com", "example.com.evil", ""] {
            assert!(!under.takes(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn a_wider_wildcard_covers_a_narrower_one() {
        let wide = HostMatch::Under("com".into());
        let narrow = HostMatch::Under("example.com".into());
        assert!(wide.covers(&narrow) && wide.covers(&wide) && !narrow.covers(&wide));
        assert!(narrow.covers(&HostMatch::Exact("a.example.com".into())));
        assert!(!HostMatch::Exact("a.example.com".into()).covers(&narrow));
    }

    #[test]
    fn only_one_final_dot_is_dropped() {
        assert_eq!(without_dot(b"a.example."), b"a.example");
        assert_eq!(without_dot(b"."), b".");
    }
}
