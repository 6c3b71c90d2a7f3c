//! Slow start: how much of its weight counts for a backend that has just begun to take traffic.
//!
//! It grows in a straight line from a tenth to all of it. What counts is the relation to the others: where all begin at
//! the same time, as at the start of the process, it changes nothing, and neither does it for one that is alone.

use crate::{
    pool::{Backend, Pool},
    status::FULL_SHARE,
    time::{Millis, Moment},
};

/// What a backend begins with, in thousandths.
pub const START: u32 = 100;

/// The share of its weight, in thousandths, of a backend that takes traffic since then, where it has all of it after
/// `length`.
pub fn share(length: Millis, since: Moment, now: Moment) -> u32 {
    let (passed, length) = (now.since(since).0, length.0);
    if passed >= length {
        return FULL_SHARE;
    }
    // Below 900, since less than the length has passed.
    let grown = u128::from(passed) * u128::from(FULL_SHARE - START) / u128::from(length);
    START + u32::try_from(grown).unwrap_or(0)
}

impl Pool {
    /// How much of a backend's weight counts now, in thousandths.
    pub fn share_of(&self, backend: &Backend) -> u32 {
        if self.slow_start == Millis(0) { FULL_SHARE } else { backend.status.share() }
    }

    /// Moves the shares of its backends on, as of now. Says whether a share moved, so that the caller has to call
    /// [`PoolStatus::touch`](crate::status::PoolStatus::touch).
    pub fn ramp(&self, now: Moment) -> bool {
        let length = self.slow_start;
        if length == Millis(0) {
            return false;
        }
        let moved = self.backends.iter().map(|backend| backend.status.ramp(backend.carries(), length, now));
        moved.fold(false, |any, moved| any | moved)
    }
}

impl Backend {
    fn carries(&self) -> bool {
        self.is_eligible() && self.weight_now() > 0
    }

    /// The pool has done without a slow start until now: it has its whole share if it takes traffic.
    pub(crate) fn settle_share(&self) {
        self.status.settle_share(self.carries());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_grows_in_a_straight_line() {
        let at = |second: u64| share(Millis::secs(30), Moment(5000), Moment(5000 + second * 1000));
        assert_eq!([0, 1, 10, 15, 29, 30, 31].map(at), [100, 130, 400, 550, 970, 1000, 1000]);
        assert_eq!(
            share(Millis(0), Moment(5), Moment(5)),
            FULL_SHARE,
            "without a length there is nothing to grow"
        );
        assert_eq!(share(Millis::secs(30), Moment(5000), Moment(0)), START, "never less than at the start");
    }

    proptest! {
        #[test]
        fn it_never_shrinks_and_stays_in_its_bounds(length in 1..u64::MAX, first: u64, more: u64) {
            let (length, since) = (Millis(length), Moment(0));
            let (a, b) = (Moment(first), Moment(first.saturating_add(more)));
            let (early, late) = (share(length, since, a), share(length, since, b));
            prop_assert!((START..=FULL_SHARE).contains(&early) && early <= late && late <= FULL_SHARE);
        }
    }
}
