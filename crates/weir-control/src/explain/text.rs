//! An explanation for people.

use std::fmt::{self, Display, Write as _};

use super::Explanation;
use crate::config::visible;

impl Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", visible(&self.question))?;
        writeln!(f, "listener    {}", self.listener)?;
        let names = self.tested.iter().map(|tested| tested.route.chars().count());
        let width = names.max().unwrap_or_default();
        for (number, tested) in self.tested.iter().enumerate() {
            let head = if number == 0 { "routes" } else { "" };
            let mark = if tested.matched { "yes" } else { "no" };
            writeln!(
                f,
                "{head:<11} {mark:<3}  {:<width$}  {}",
                visible(&tested.route),
                visible(&tested.why)
            )?;
        }
        writeln!(f, "action      {}", self.action())?;
        let addresses = self.candidates.iter().map(|candidate| named(candidate).chars().count());
        let width = addresses.max().unwrap_or_default();
        for (number, candidate) in self.candidates.iter().enumerate() {
            let head = if number == 0 { "candidates" } else { "" };
            let mark = if candidate.eligible { "yes" } else { "no" };
            writeln!(
                f,
                "{head:<11} {mark:<3}  {:<width$}  {}",
                visible(&named(candidate)),
                visible(&candidate.why)
            )?;
        }
        for (number, note) in self.notes.iter().enumerate() {
            let head = if number == 0 { "pool" } else { "" };
            writeln!(f, "{head:<11} {}", visible(note))?;
        }
        if self.pool.is_some() {
            writeln!(f, "pick        {}", self.pick.as_deref().unwrap_or("none"))?;
        }
        for (number, effect) in self.effects.iter().enumerate() {
            let head = if number == 0 { "effects" } else { "" };
            writeln!(f, "{head:<11} {}", visible(effect))?;
        }
        if !self.live && !self.candidates.is_empty() {
            let note = "every backend is taken to be healthy; `--live` asks the running process";
            writeln!(f, "note        {note}")?;
        }
        Ok(())
    }
}

impl Explanation {
    fn action(&self) -> String {
        let balance = self.balance.as_ref().map(|policy| match &self.key {
            Some(key) => format!("{policy} on {}", visible(key)),
            None => policy.clone(),
        });
        let mut text = match (self.action.as_str(), &self.pool, &balance) {
            ("none", ..) => "none: no route matches".to_owned(),
            ("refused", ..) => "refused before routing".to_owned(),
            ("split", Some(pool), Some(balance)) => {
                format!("split, drawn for this one: pool `{pool}` ({balance})")
            }
            (action, Some(pool), Some(balance)) => format!("{action} `{pool}` ({balance})"),
            (action, ..) => action.to_owned(),
        };
        let total: u64 = self.split.iter().map(|arm| u64::from(arm.weight)).sum();
        for arm in &self.split {
            let mark = if arm.drawn { "  <- drawn" } else { "" };
            // Writing to a String cannot fail.
            let _ = write!(text, "\n            {} of {total} to `{}`{mark}", arm.weight, arm.pool);
        }
        text
    }
}

/// An address, with the name in front where there is another one.
fn named(candidate: &super::CandidateView) -> String {
    if candidate.name == candidate.address {
        candidate.address.clone()
    } else {
        format!("{} ({})", candidate.name, candidate.address)
    }
}
