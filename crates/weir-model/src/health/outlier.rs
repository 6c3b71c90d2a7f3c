//! Outlier detection: backends that fail live traffic are taken out for a while.
//!
//! Each worker counts what it sees ([`Faults`], one writer each) and judges when something fails; what went well costs it
//! a store. The rate is judged over all workers, by adding up what they counted. Whether a backend may be ejected at all is
//! decided by its pool ([`Pool::eject`](crate::pool::Pool::eject)), how long it stays out by its
//! [`HealthView`](super::HealthView).

mod eject;
mod faults;

pub use eject::{Ejected, Refused};
pub use faults::{Faults, Verdict};

use crate::time::Millis;

/// When live traffic takes a backend out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// Errors in a row that one worker has to see; none if they do not count.
    pub consecutive_errors: Option<u32>,
    /// Share of errors in the window over all workers, in millionths; none if it does not count.
    pub error_rate: Option<u32>,
    /// What the share is taken over.
    pub window: Millis,
    /// How long a first ejection lasts; one that follows is longer, up to ten times.
    pub eject: Millis,
    /// Share of the pool's backends that may be out at the same time, in millionths.
    pub max_ejected: u32,
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive_errors: Some(5),
            error_rate: Some(500_000),
            window: Millis::secs(10),
            eject: Millis::secs(30),
            max_ejected: 500_000,
        }
    }
}

impl Outlier {
    /// Requests in the window before its rate is judged: a few bad ones of a few say too little.
    pub const LEAST_REQUESTS: u64 = 20;

    /// How many of so many backends may be out at the same time: the share of them, rounded down, but at least one, and
    /// never all.
    ///
    /// | backends | 10% | 34% | 50% | 67% | 100% |
    /// |----------|-----|-----|-----|-----|------|
    /// | 1        | 0   | 0   | 0   | 0   | 0    |
    /// | 2        | 1   | 1   | 1   | 1   | 1    |
    /// | 3        | 1   | 1   | 1   | 2   | 2    |
    /// | 4        | 1   | 1   | 2   | 2   | 3    |
    /// | 5        | 1   | 1   | 2   | 3   | 4    |
    pub fn most_ejected(&self, backends: usize) -> usize {
        let share = backends as u128 * u128::from(self.max_ejected) / 1_000_000;
        let share = usize::try_from(share).unwrap_or(backends);
        share.max(1).min(backends.saturating_sub(1))
    }

    /// Whether an answer with this status is an error: 5xx, but for 501 and 505, which say something about the request.
    /// 0 stands for a connection that was made, which is none.
    #[inline]
    pub const fn is_error(status: u16) -> bool {
        status >= 500 && status != 501 && status != 505
    }
}

#[cfg(test)]
mod tests;
