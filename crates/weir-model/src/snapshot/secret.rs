//! A text that is never shown.

use std::{fmt, sync::Arc};

/// A password or token. It cannot be printed, and comparing it takes the same time wherever the texts differ.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// A secret.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that judges it and the one that shows it to a process.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// True if this is what was given.
    pub fn is(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differ = own.iter().zip(given).fold(0, |differ, (own, given)| differ | (own ^ given));
        own.len() == given.len() && std::hint::black_box(differ) == 0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_text_is_it_and_nothing_shows_it() {
        let secret = Secret::new("correct horse battery staple");
        assert!(secret.is(b"correct horse battery staple"));
        for other in [
            "",
            "correct horse battery stapl",
            "correct horse battery staple ",
            "Correct horse battery staple",
        ] {
            assert!(!secret.is(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{secret:?}"), "***");
    }
}
