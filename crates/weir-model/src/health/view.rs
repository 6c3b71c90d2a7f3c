//! One view of a backend's health, from everybody who knows something about it. Each writes its own fact and nobody
//! else's; what follows from all of them is decided here.
//!
//! | its name        | its checks  | live traffic | health    |
//! |-----------------|-------------|--------------|-----------|
//! | has no address  | any         | any          | `down`    |
//! | has one         | `down`      | any          | `down`    |
//! | has one         | `unknown`   | any          | `unknown` |
//! | has one         | `up`        | ejected it   | `ejected` |
//! | has one         | `up`        | -            | `up`      |
//!
//! A check that passes does not end an ejection, since a backend may answer its checks and nothing else. One that comes up
//! after it was down does: what was ejected is not there any more. What operators set is no health, and counts beside it
//! (`State`).

use std::sync::Arc;

use crate::{
    status::Health,
    time::{Millis, Moment},
};

/// An ejection is never longer than this many times the first one.
const MOST_TIMES: u64 = 10;

/// What one of those who know says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact<'r> {
    /// Its name has no address, and why. Written by who looks names up.
    Unresolved(&'r str),
    /// Its name has an address. Written by who looks names up.
    Resolved,
    /// What checks say (or, without any, that there are none), and why. [`Health::Ejected`] is nothing that checks say and
    /// counts as up. Written by who checks.
    Checked(Health, &'r str),
    /// Live traffic found it bad: the length of a first ejection, and why. Ignored unless it is up. Written by workers.
    Ejected(Millis, &'r str),
    /// Its ejection is over, and why. Written by who ends ejections, and by operators.
    Returned(&'r str),
}

/// A change of health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// What it was.
    pub from: Health,
    /// What it is now.
    pub to: Health,
}

/// An ejection that lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// When it is over.
    pub until: Moment,
    /// Why it was ejected, in words.
    pub reason: Arc<str>,
}

/// Everything that is known of one backend's health.
#[derive(Clone, Debug)]
pub struct HealthView {
    /// Why its name has no address.
    unresolved: Option<Arc<str>>,
    checked: (Health, Arc<str>),
    ejection: Option<Ejection>,
    /// What ended the last ejection, as long as nothing was said after that.
    returned_because: Option<Arc<str>>,
    /// Ejections that count for the length of the next one, as of the end of the last one.
    times: u64,
    /// The end of the last one.
    returned: Moment,
    since: Moment,
}

impl HealthView {
    /// A backend of which only this is known, without a reason.
    pub fn new(checked: Health) -> Self {
        Self {
            unresolved: None,
            checked: (checked, "".into()),
            ejection: None,
            returned_because: None,
            times: 0,
            returned: Moment(0),
            since: Moment(0),
        }
    }

    /// What follows from all that is known; see the table above.
    pub const fn health(&self) -> Health {
        match (&self.unresolved, self.checked.0, &self.ejection) {
            (Some(_), ..) | (None, Health::Down, _) => Health::Down,
            (None, Health::Unknown, _) => Health::Unknown,
            (None, Health::Up | Health::Ejected, Some(_)) => Health::Ejected,
            (None, Health::Up | Health::Ejected, None) => Health::Up,
        }
    }

    /// Why its health is what it is, in words; empty if nothing was said.
    pub const fn reason(&self) -> &Arc<str> {
        match (&self.unresolved, self.health(), &self.ejection, &self.returned_because) {
            (Some(reason), ..)
            | (None, Health::Ejected, Some(Ejection { reason, .. }), _)
            | (None, Health::Up, _, Some(reason)) => reason,
            _ => &self.checked.1,
        }
    }

    /// What checks say by themselves.
    pub const fn checked(&self) -> Health {
        self.checked.0
    }

    /// The ejection that lasts, also while the backend is down and that counts for more.
    pub const fn ejection(&self) -> Option<&Ejection> {
        self.ejection.as_ref()
    }

    /// Since when its health is what it is.
    pub const fn since(&self) -> Moment {
        self.since
    }

    /// When the last ejection ended; what live traffic did before says nothing any more.
    pub const fn returned(&self) -> Moment {
        self.returned
    }

    /// Takes in what somebody says. A change of health comes back; a fact that another one outweighs changes none.
    pub fn apply(&mut self, fact: Fact<'_>, now: Moment) -> Option<Shift> {
        let from = self.health();
        match fact {
            Fact::Unresolved(reason) => self.unresolved = Some(reason.into()),
            Fact::Resolved => self.unresolved = None,
            Fact::Checked(health, reason) => {
                let health = if health == Health::Ejected { Health::Up } else { health };
                if self.checked.0 == Health::Down && health == Health::Up {
                    self.end_ejection(now);
                }
                self.checked = (health, reason.into());
                self.returned_because = None;
            }
            Fact::Ejected(first, reason) if from == Health::Up => {
                self.times = self.times_now(first, now) + 1;
                let length = Millis(first.0.saturating_mul(self.times.min(MOST_TIMES)));
                self.ejection = Some(Ejection { until: now + length, reason: reason.into() });
            }
            Fact::Returned(reason) if self.ejection.is_some() => {
                self.end_ejection(now);
                self.returned_because = Some(reason.into());
            }
            Fact::Ejected(..) | Fact::Returned(_) => {}
        }
        let to = self.health();
        (from != to).then(|| {
            self.since = now;
            Shift { from, to }
        })
    }

    fn end_ejection(&mut self, now: Moment) {
        if self.ejection.take().is_some() {
            self.returned = now;
        }
    }

    /// Ejections that still count: each `first` that it has behaved since the last one makes up for one of them.
    fn times_now(&self, first: Millis, now: Moment) -> u64 {
        let behaved = now.since(self.returned).0 / first.0.max(1);
        self.times.min(MOST_TIMES).saturating_sub(behaved)
    }
}

#[cfg(test)]
mod tests;
