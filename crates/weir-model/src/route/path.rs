//! Path patterns: `/v1` exact, `/v1/*` by segment, `/*` everything, `~^/v[0-9]+/` an expression.

use std::fmt;

use regex::bytes::Regex;

/// A path pattern.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// This path and no other.
    Exact(Box<str>),
    /// This path, and every path that goes on with a slash; empty takes everything.
    Prefix(Box<str>),
    /// Every path in which the expression matches somewhere.
    Regex(Regex),
}

impl PartialEq for PathMatch {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(ours), Self::Exact(theirs)) | (Self::Prefix(ours), Self::Prefix(theirs)) => {
                ours == theirs
            }
            (Self::Regex(ours), Self::Regex(theirs)) => ours.as_str() == theirs.as_str(),
            _ => false,
        }
    }
}

impl Eq for PathMatch {}

impl PathMatch {
    /// True if the pattern takes this path.
    pub fn takes(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => path == exact.as_bytes(),
            Self::Prefix(prefix) if prefix.is_empty() => true,
            Self::Prefix(prefix) => {
                path.strip_prefix(prefix.as_bytes()).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
            }
            Self::Regex(regex) => regex.is_match(path),
        }
    }

    /// True if this pattern is known to take every path that `other` takes.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exact(path)) => self.takes(path.as_bytes()),
            (Self::Prefix(_), Self::Prefix(path)) => self.takes(path.as_bytes()),
            (Self::Prefix(prefix), Self::Regex(_)) => prefix.is_empty(),
            (Self::Regex(ours), Self::Regex(theirs)) => ours.as_str() == theirs.as_str(),
            (Self::Exact(_), Self::Prefix(_) | Self::Regex(_)) | (Self::Regex(_), Self::Prefix(_)) => false,
        }
    }
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Prefix(path) => write!(f, "{path}/*"),
            Self::Regex(regex) => write!(f, "~{regex}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_goes_by_segment() {
        let prefix = PathMatch::Prefix("/v1".into());
        for path in ["/v1", "/v1/", "/v1/a/b"] {
            assert!(prefix.takes(path.as_bytes()), "{path}");
        }
        for path in ["/v1x", "/v", "/", "", "/V1"] {
            assert!(!prefix.takes(path.as_bytes()), "{path}");
        }
        assert!(PathMatch::Prefix("".into()).takes(b"*"), "`/*` takes the asterisk form too");
    }

    #[test]
    fn covering_is_never_claimed_wrongly() {
        let exact = |path: &str| PathMatch::Exact(path.into());
        let prefix = |path: &str| PathMatch::Prefix(path.into());
        let regex = |text: &str| PathMatch::Regex(Regex::new(text).unwrap());
        assert!(prefix("/a").covers(&exact("/a")) && prefix("/a").covers(&prefix("/a/b")));
        assert!(prefix("").covers(&regex("x")) && regex("^/a").covers(&exact("/abc")));
        assert!(!prefix("/a").covers(&prefix("/ab")) && !prefix("/a").covers(&prefix("")));
        assert!(!regex("^/").covers(&prefix("/a")), "not known is not covered");
    }
}
