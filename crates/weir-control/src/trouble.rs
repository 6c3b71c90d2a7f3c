//! What went wrong with something an operator asked for: the cause, and what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A cause and a remedy, each one plain sentence without a full stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What is wrong.
    #[serde(rename = "error")]
    pub cause: String,
    /// What to do about it; empty when the cause says it all.
    #[serde(default)]
    pub remedy: String,
}

impl Trouble {
    /// A cause and its remedy.
    pub fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        if !self.remedy.is_empty() {
            write!(f, "\n  help: {}", self.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for Trouble {}
