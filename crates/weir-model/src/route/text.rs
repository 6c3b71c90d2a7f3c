//! Comparison of one text: a header's value, a query parameter's, a cookie's.

use std::fmt;

use regex::bytes::Regex;

/// How a text is compared.
#[derive(Clone, Debug)]
pub enum TextMatch {
    /// It is this text.
    Exact(Box<[u8]>),
    /// It begins with this text.
    Prefix(Box<[u8]>),
    /// The expression matches somewhere in it.
    Regex(Regex),
    /// True: it is there, whatever it says. False: it is not there.
    Present(bool),
}

impl PartialEq for TextMatch {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(ours), Self::Exact(theirs)) | (Self::Prefix(ours), Self::Prefix(theirs)) => {
                ours == theirs
            }
            (Self::Regex(ours), Self::Regex(theirs)) => ours.as_str() == theirs.as_str(),
            (Self::Present(ours), Self::Present(theirs)) => ours == theirs,
            _ => false,
        }
    }
}

impl Eq for TextMatch {}

impl TextMatch {
    /// True if a value that is there is taken.
    pub fn takes(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => value == &**text,
            Self::Prefix(text) => value.starts_with(text),
            Self::Regex(regex) => regex.is_match(value),
            Self::Present(wanted) => *wanted,
        }
    }

    /// True if it is satisfied by the thing not being there at all.
    pub const fn takes_absence(&self) -> bool {
        matches!(self, Self::Present(false))
    }

    /// True if this comparison is known to take everything that `other` takes.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Present(ours), Self::Present(theirs)) => ours == theirs,
            (_, Self::Present(_)) | (Self::Present(false), _) => false,
            (Self::Present(true), _) => true,
            (_, Self::Exact(text)) => self.takes(text),
            (Self::Prefix(ours), Self::Prefix(theirs)) => theirs.starts_with(ours),
            (Self::Regex(ours), Self::Regex(theirs)) => ours.as_str() == theirs.as_str(),
            _ => false,
        }
    }
}

impl fmt::Display for TextMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "`{}`", text.escape_ascii()),
            Self::Prefix(text) => write!(f, "`{}` and whatever follows", text.escape_ascii()),
            Self::Regex(regex) => write!(f, "~`{}`", regex.as_str().escape_debug()),
            Self::Present(true) => f.write_str("present"),
            Self::Present(false) => f.write_str("absent"),
        }
    }
}
