//! What went wrong with something an operator asked for: the cause, and what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};
use weir_model::problem::nearest;

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

/// What to do about a name that there is not: take the one that was probably meant, or else one of those that there are.
pub fn instead<'n>(name: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    const SHOWN: usize = 8;
    if let Some(near) = nearest(name, known.clone()) {
        return format!("did you mean `{near}`?");
    }
    let mut names: Vec<_> = known.take(SHOWN + 1).map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        return "there are none".into();
    }
    if names.len() > SHOWN {
        names[SHOWN] = "…".into();
    }
    format!("there are: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_probably_meant_is_named_first() {
        let known = ["api", "app", "shop-1"];
        assert_eq!(instead("ap", known.into_iter()), "did you mean `api`?");
        assert_eq!(instead("shop1", known.into_iter()), "did you mean `shop-1`?");
        assert_eq!(instead("x", known.into_iter()), "there are: `api`, `app`, `shop-1`");
        assert_eq!(instead("x", ["aa"; 20].into_iter()), format!("there are: {}…", "`aa`, ".repeat(8)));
        assert_eq!(instead("x", [].into_iter()), "there are none");
    }
}
