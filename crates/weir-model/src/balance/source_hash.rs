//! The hash scaled to the sum of the weights, as a map-based hash does it: shares are exact and nothing is kept but one
//! number for each backend, but another list of backends moves about half of all keys.

use super::table::Entry;

/// The backends in the order of their names, each with a share of all hashes.
#[derive(Debug)]
pub(super) struct Shares {
    /// Sum of the weights up to and including each, and its backend.
    ends: Box<[(u64, u32)]>,
}

impl Shares {
    /// The shares of these, which are not empty and stand in the order of their names.
    pub(super) fn new(entries: &[Entry<'_>]) -> Self {
        let mut sum = 0;
        let ends = entries.iter().map(|entry| {
            sum += u64::from(entry.weight);
            (sum, entry.backend as u32)
        });
        Self { ends: ends.collect() }
    }

    /// The backend in whose share the hash falls.
    #[inline]
    pub(super) fn lookup(&self, hash: u64) -> usize {
        let Some((total, _)) = self.ends.last() else { return 0 };
        let point = ((u128::from(hash) * u128::from(*total)) >> 64) as u64;
        let place = self.ends.partition_point(|(end, _)| *end <= point);
        self.ends[place.min(self.ends.len() - 1)].1 as usize
    }
}
