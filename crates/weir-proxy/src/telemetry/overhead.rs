//! How long requests are worked on here, as opposed to waited for. The clock is read twice for one request in eight;
//! that one stands for those until the next one, so that what is measured costs next to nothing.

use std::cell::Cell;

use crate::clock;

/// One in so many is measured; a power of two.
const EACH: u32 = 8;
const NOT_MEASURED: u64 = u64::MAX;

/// A worker's measurements.
#[derive(Debug, Default)]
pub(crate) struct Overhead {
    turn: Cell<u32>,
    last: Cell<u64>,
}

/// The work on one request so far, in microseconds: 0 until it was on its way to a backend.
#[derive(Debug)]
pub(crate) struct Work(u64);

impl Overhead {
    /// The work on a request that begins now.
    #[inline]
    pub(crate) fn begin(&self) -> Work {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        Work(if turn.is_multiple_of(EACH) { 0 } else { NOT_MEASURED })
    }

    /// Microseconds of work on a request that ends now.
    #[inline]
    pub(crate) fn end(&self, work: &Work) -> u64 {
        if work.0 != NOT_MEASURED {
            // What was done since the last wake-up is the end of its answer.
            self.last.set(work.0 + clock::since_wake_up());
        }
        self.last.get()
    }
}

impl Work {
    /// The request is on its way: from here on the backend is waited for.
    #[inline]
    pub(crate) fn wait(&mut self) {
        if self.0 == 0 {
            self.0 = clock::since_wake_up().max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_eight_is_measured_and_stands_for_the_others() {
        clock::refresh();
        let overhead = Overhead::default();
        let mut first = overhead.begin();
        first.wait();
        let sent = first.0;
        first.wait();
        assert!(sent >= 1 && first.0 == sent, "only the first wait counts");
        let measured = overhead.end(&first);
        assert!(measured >= sent);
        for _ in 1..EACH {
            let mut other = overhead.begin();
            other.wait();
            assert_eq!(overhead.end(&other), measured);
        }
        assert_eq!(overhead.begin().0, 0, "it is measured again");
    }
}
