//! Counts by cause. Causes are declared by the data path; here they are numbers below a bound.

use std::sync::OnceLock;

use super::Counter;

/// One counter for each cause of a failure or refusal; one writer. Takes hardly any memory until something fails.
#[derive(Debug, Default)]
pub struct CauseCounter(OnceLock<Box<[Counter]>>);

impl CauseCounter {
    /// How many causes there may be.
    pub const ROOM: usize = 128;

    /// Counts one failure of this cause, whose number is below [`CauseCounter::ROOM`].
    #[cold]
    pub fn count(&self, cause: usize) {
        let counters = self.0.get_or_init(|| (0..Self::ROOM).map(|_| Counter::default()).collect());
        if let Some(counter) = counters.get(cause) {
            counter.add(1);
        }
    }

    /// How many of this cause.
    pub fn of(&self, cause: usize) -> u64 {
        self.0.get().and_then(|counters| counters.get(cause)).map_or(0, Counter::value)
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.get().into_iter().flatten().map(Counter::value).fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_counted_apart() {
        let causes = CauseCounter::default();
        assert_eq!((causes.of(3), causes.total()), (0, 0));
        [3, 3, 7, CauseCounter::ROOM].into_iter().for_each(|cause| causes.count(cause));
        assert_eq!((causes.of(3), causes.of(7), causes.of(CauseCounter::ROOM)), (2, 1, 0));
        assert_eq!(causes.total(), 3);
    }
}
