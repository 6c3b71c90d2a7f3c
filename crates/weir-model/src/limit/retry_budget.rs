//! A retry budget: retries may add a fixed share to the load of the last ten seconds, and a few per second always.
//!
//! The shape is that of Finagle's `RetryBudget`: without it, retries multiply the load of a pool that is
//! already failing.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::Moment;

/// Seconds that the share is taken over.
const WINDOW: usize = 10;

/// A budget shared by all workers: one relaxed add per request, and a sum over the window only when a retry is asked
/// for.
#[derive(Debug)]
pub struct RetryBudget {
    /// Requests in the low half and retries in the high half of each second's cell, with the second it belongs to.
    cells: [Cell; WINDOW + 1],
    floor_per_second: u64,
}

#[derive(Debug, Default)]
struct Cell {
    second: AtomicU64,
    requests: AtomicU64,
    retries: AtomicU64,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(3)
    }
}

impl RetryBudget {
    /// `floor_per_second` retries are granted in any case.
    pub fn new(floor_per_second: u64) -> Self {
        Self { cells: Default::default(), floor_per_second }
    }

    fn cell(&self, now: Moment) -> &Cell {
        let second = now.0 / 1000 + 1;
        let cell = &self.cells[(second % (WINDOW as u64 + 1)) as usize];
        let seen = cell.second.load(Ordering::Acquire);
        // The first to touch a cell in a new second empties it. A count lost in that race is one of a whole
        // second's, which a budget can bear.
        if seen != second
            && cell.second.compare_exchange(seen, second, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            cell.requests.store(0, Ordering::Relaxed);
            cell.retries.store(0, Ordering::Relaxed);
        }
        cell
    }

    /// Counts one request (not its retries).
    #[inline]
    pub fn count_request(&self, now: Moment) {
        self.cell(now).requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks for one retry where retries may be `share` millionths of the requests; true if the budget had it, and then it
    /// is spent. Without a share it always has it, and with a share of nothing never.
    pub fn try_retry(&self, now: Moment, share: Option<u32>) -> bool {
        if share == Some(0) {
            return false;
        }
        let current = self.cell(now);
        let second = now.0 / 1000 + 1;
        let recent = |cell: &&Cell| {
            let age = second.wrapping_sub(cell.second.load(Ordering::Acquire));
            age < WINDOW as u64
        };
        let (mut requests, mut retries) = (0, 0);
        for cell in self.cells.iter().filter(recent) {
            requests += cell.requests.load(Ordering::Relaxed);
            retries += cell.retries.load(Ordering::Relaxed);
        }
        let floor = current.retries.load(Ordering::Relaxed) < self.floor_per_second;
        let allowed = floor || share.is_none_or(|share| retries < requests * u64::from(share) / 1_000_000);
        if allowed {
            current.retries.fetch_add(1, Ordering::Relaxed);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_there_without_any_load() {
        let budget = RetryBudget::default();
        let granted = (0..10).filter(|_| budget.try_retry(Moment(500), Some(200_000))).count();
        assert_eq!(granted, 3);
        assert_eq!((0..10).filter(|_| budget.try_retry(Moment(1500), Some(200_000))).count(), 3);
    }

    #[test]
    fn retries_are_a_fifth_of_the_requests_and_old_ones_are_forgotten() {
        let budget = RetryBudget::default();
        (0..1000).for_each(|_| budget.count_request(Moment(100)));
        assert_eq!((0..1000).filter(|_| budget.try_retry(Moment(200), Some(200_000))).count(), 200);
        (0..1000).for_each(|_| budget.count_request(Moment(9_900)));
        assert_eq!((0..1000).filter(|_| budget.try_retry(Moment(9_950), Some(200_000))).count(), 200);
        // Eleven seconds later only the floor is left.
        assert_eq!((0..1000).filter(|_| budget.try_retry(Moment(21_000), Some(200_000))).count(), 3);
    }

    #[test]
    fn no_share_is_no_limit_and_a_share_of_nothing_is_none() {
        let budget = RetryBudget::default();
        assert_eq!((0..100).filter(|_| budget.try_retry(Moment(500), None)).count(), 100);
        (0..1000).for_each(|_| budget.count_request(Moment(2_000)));
        assert_eq!((0..100).filter(|_| budget.try_retry(Moment(2_500), Some(0))).count(), 0);
    }
}
