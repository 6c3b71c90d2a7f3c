//! Counters with one writer each.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::{Millis, Moment};

/// Its own cache line, so that neighbours do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(pub T);

impl<T> std::ops::Deref for Padded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A counter that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it. Only its own worker may call this: it is a load and a store, not a read-modify-write.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Its value.
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// When all workers together last said something that is not to be said over and over again.
#[derive(Debug)]
pub struct Said(AtomicU64);

impl Default for Said {
    fn default() -> Self {
        Self(Moment::NEVER.0.into())
    }
}

impl Said {
    /// True for one of those that ask within so much time.
    pub fn is_due(&self, now: Moment, silence: Millis) -> bool {
        let before = self.0.load(Ordering::Relaxed);
        let due = Moment(before) == Moment::NEVER || now.since(Moment(before)) >= silence;
        due && self.0.compare_exchange(before, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// One `T` per worker.
#[derive(Debug)]
pub struct Sharded<T>(Box<[Padded<T>]>);

impl<T: Default> Sharded<T> {
    /// One for each of so many workers (at least one).
    pub fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|_| Padded::default()).collect())
    }
}

impl<T> Sharded<T> {
    /// The part that this worker writes.
    #[inline]
    pub fn of(&self, worker: usize) -> &T {
        &self.0[worker].0
    }

    /// Every part, to be summed.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &padded.0)
    }

    /// The sum of something over all workers.
    pub fn sum(&self, of: impl Fn(&T) -> u64) -> u64 {
        self.iter().map(of).fold(0, u64::wrapping_add)
    }
}

/// Status codes that have a counter of their own; every other one is counted with its class.
const CODES: [u16; 63] = [
    0, 101, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308, 400,
    401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423,
    424, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511, 520, 529,
];
const SLOTS: usize = CODES.len() + 6;

const INDEX: [u8; 600] = {
    let mut index = [0u8; 600];
    let mut code = 0;
    while code < 600 {
        index[code] = (CODES.len() + code / 100) as u8;
        code += 1;
    }
    let mut slot = 0;
    while slot < CODES.len() {
        index[CODES[slot] as usize] = slot as u8;
        slot += 1;
    }
    index
};

/// Counts by status code, with a bounded number of counters.
#[derive(Debug)]
pub struct CodeCounter([Counter; SLOTS]);

impl Default for CodeCounter {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl CodeCounter {
    /// Counts one message with this status code; 0 stands for a connection.
    #[inline]
    pub fn count(&self, code: u16) {
        self.0[INDEX[usize::from(code).min(599)] as usize].add(1);
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().map(Counter::value).fold(0, u64::wrapping_add)
    }

    /// Label and count of every counter that is not zero: `"200"`, or `"2xx"` for a code without its own.
    pub fn nonzero(&self) -> impl Iterator<Item = (String, u64)> {
        self.0.iter().enumerate().filter(|(_, counter)| counter.value() > 0).map(|(slot, counter)| {
            let label = CODES.get(slot).map_or_else(|| format!("{}xx", slot - CODES.len()), u16::to_string);
            (label, counter.value())
        })
    }

    /// How many messages of one class: 2 for 200 to 299.
    pub fn class(&self, class: u16) -> u64 {
        let own = CODES.iter().zip(&self.0).filter(|(code, _)| **code / 100 == class && **code != 0);
        let sum: u64 = own.map(|(_, counter)| counter.value()).sum();
        sum + self.0[CODES.len() + usize::from(class)].value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_counted_once_and_summed_by_class() {
        let codes = CodeCounter::default();
        for code in [0, 200, 200, 299, 404, 419, 500, 599] {
            codes.count(code);
        }
        assert_eq!(codes.total(), 8);
        assert_eq!((codes.class(2), codes.class(4), codes.class(5)), (3, 2, 2));
        let labels: Vec<_> = codes.nonzero().collect();
        assert!(labels.contains(&("200".into(), 2)) && labels.contains(&("2xx".into(), 1)), "{labels:?}");
    }
}
