//! One worker's count of what a backend got right and wrong.

use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use super::Outlier;
use crate::time::{Millis, Moment};

/// Parts of the window; it moves by one of them at a time.
const SLOTS: usize = 10;

/// Why a backend should be ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// So many errors in a row, seen by one worker.
    Row(u64),
    /// So many errors of so many requests in the window, seen by all of them.
    Rate {
        /// Errors.
        errors: u64,
        /// Requests, errors included.
        requests: u64,
    },
}

/// What one worker saw of one backend. It has one writer, which never uses an instruction that locks; others may read.
#[derive(Debug, Default)]
pub struct Faults {
    /// Errors since something last went well.
    row: AtomicU64,
    /// Ejections of the backend when the row began: what was seen before one says nothing after it.
    ejections: AtomicU64,
    /// The window that the slots are parts of.
    window: AtomicU64,
    /// When the present slot ends.
    ends: AtomicU64,
    /// Number of the present slot, from 1.
    number: AtomicU64,
    slots: [Slot; SLOTS],
}

/// A part of the window.
#[derive(Debug, Default)]
struct Slot {
    /// Which one, counted from the start of the process, from 1; 0 for none.
    number: AtomicU64,
    requests: AtomicU64,
    errors: AtomicU64,
}

/// The length of a slot.
const fn slot_length(window: Millis) -> u64 {
    let length = window.0 / SLOTS as u64;
    if length == 0 { 1 } else { length }
}

fn add(counter: &AtomicU64) {
    counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
}

impl Faults {
    /// Something went well. Only the worker that owns this may say so.
    #[inline]
    pub fn well(&self, outlier: &Outlier, now: Moment) {
        if self.row.load(Relaxed) != 0 {
            self.row.store(0, Relaxed);
        }
        if outlier.error_rate.is_some() {
            add(&self.slot(outlier, now).requests);
        }
    }

    /// Something went wrong, on a backend that was ejected so many times before, the last time until `returned`. Says
    /// whether that is too much, by what all workers saw. Only the worker that owns this may say so.
    pub fn wrong<'f>(
        &self,
        outlier: &Outlier,
        all: impl Iterator<Item = &'f Self>,
        (ejections, returned): (u64, Moment),
        now: Moment,
    ) -> Option<Verdict> {
        if self.ejections.load(Relaxed) != ejections {
            self.ejections.store(ejections, Relaxed);
            self.row.store(0, Relaxed);
        }
        add(&self.row);
        if outlier.error_rate.is_some() {
            let slot = self.slot(outlier, now);
            add(&slot.errors);
            add(&slot.requests);
        }
        let row = self.row.load(Relaxed);
        if outlier.consecutive_errors.is_some_and(|most| row >= u64::from(most)) {
            return Some(Verdict::Row(row));
        }
        let rate = u128::from(outlier.error_rate?);
        let (requests, errors) = all
            .map(|faults| faults.in_window(outlier, returned, now))
            .fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        let judged = requests >= Outlier::LEAST_REQUESTS;
        (judged && u128::from(errors) * 1_000_000 >= u128::from(requests) * rate)
            .then_some(Verdict::Rate { errors, requests })
    }

    #[inline]
    fn slot(&self, outlier: &Outlier, now: Moment) -> &Slot {
        if now.0 >= self.ends.load(Relaxed) || self.window.load(Relaxed) != outlier.window.0 {
            self.turn(outlier.window, now);
        }
        &self.slots[(self.number.load(Relaxed) % SLOTS as u64) as usize]
    }

    /// Goes on to the slot of this moment.
    #[cold]
    fn turn(&self, window: Millis, now: Moment) {
        if self.window.load(Relaxed) != window.0 {
            // Parts of another window mean nothing in this one.
            self.slots.iter().for_each(|slot| slot.number.store(0, Release));
            self.window.store(window.0, Release);
        }
        let length = slot_length(window);
        let number = now.0 / length + 1;
        let slot = &self.slots[(number % SLOTS as u64) as usize];
        // Emptied first: whoever reads the new number reads no old count.
        slot.requests.store(0, Relaxed);
        slot.errors.store(0, Relaxed);
        slot.number.store(number, Release);
        self.number.store(number, Relaxed);
        self.ends.store(number.saturating_mul(length), Relaxed);
    }

    /// Requests and errors of the window that ends now, without what began before `from`.
    fn in_window(&self, outlier: &Outlier, from: Moment, now: Moment) -> (u64, u64) {
        if self.window.load(Acquire) != outlier.window.0 {
            return (0, 0);
        }
        let length = slot_length(outlier.window);
        let current = now.0 / length + 1;
        let counts = self.slots.iter().filter_map(|slot| {
            let number = slot.number.load(Acquire);
            let begun = number.checked_sub(1)?.saturating_mul(length);
            let recent = current.saturating_sub(number) < SLOTS as u64 && begun >= from.0;
            recent.then(|| (slot.requests.load(Relaxed), slot.errors.load(Relaxed)))
        });
        counts.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    }
}
