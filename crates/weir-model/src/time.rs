//! Time as the pure cores see it: milliseconds, handed in by the caller.

use std::{fmt, ops::Add, time::Duration};

/// A point in time: milliseconds since some fixed point chosen by the caller (the start of the process).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Moment(pub u64);

/// A length of time in milliseconds; [`Millis::NONE`] stands for "no limit".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// "No limit": a deadline that never comes.
    pub const NONE: Self = Self(u64::MAX);

    /// So many seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(seconds * 1000)
    }

    /// True for "no limit".
    pub const fn is_none(self) -> bool {
        self.0 == u64::MAX
    }

    /// The same as a [`Duration`]; "no limit" becomes about a year, which is what timers can hold.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0.min(365 * 86_400_000))
    }
}

/// As files write it: `250ms`, `30s`, `none`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            _ if self.is_none() => f.write_str("none"),
            millis if millis.is_multiple_of(1000) => write!(f, "{}s", millis / 1000),
            millis => write!(f, "{millis}ms"),
        }
    }
}

impl Moment {
    /// A moment that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// How long ago `earlier` was; zero if it has not come yet.
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Millis> for Moment {
    type Output = Self;

    fn add(self, length: Millis) -> Self {
        Self(self.0.saturating_add(length.0))
    }
}
