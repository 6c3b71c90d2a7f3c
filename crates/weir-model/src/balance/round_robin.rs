//! Smooth weighted round robin by earliest deadline: each member is due every `1 / weight`, and the one that is due
//! first goes next. Equal weights need no heap.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::EligibleSet;

/// One turn is this long for weight 1; divisible by many weights, so that long runs stay exact.
const TURN: u64 = 720_720 << 20;
/// Beyond this all deadlines are moved back together, so that they never overflow.
const REBASE: u64 = 1 << 62;

/// State of one worker.
#[derive(Debug)]
pub struct RoundRobin {
    next: usize,
    seed: u64,
    due: BinaryHeap<Reverse<(u64, usize)>>,
}

impl RoundRobin {
    pub(super) const fn new(seed: u64) -> Self {
        Self { next: 0, seed, due: BinaryHeap::new() }
    }

    pub(super) fn prepare(&mut self, set: &EligibleSet) {
        self.due.clear();
        if set.is_empty() {
            return;
        }
        // Each worker starts elsewhere; the counter itself goes on, so that a change of health does not send the
        // next request of every worker to the same backend.
        if self.next == 0 {
            self.next = (self.seed % set.len() as u64) as usize;
        }
        if !set.is_even() {
            let first =
                |(index, member): (usize, &super::Member)| Reverse((TURN / u64::from(member.weight), index));
            self.due.extend(set.members().iter().enumerate().map(first));
        }
    }

    pub(super) fn pick(&mut self, set: &EligibleSet) -> usize {
        let Some(mut top) = self.due.peek_mut() else {
            let index = if self.next < set.len() { self.next } else { 0 };
            self.next = index + 1;
            return index;
        };
        let Reverse((due, index)) = *top;
        *top = Reverse((due + TURN / u64::from(set.members()[index].weight), index));
        drop(top);
        if due > REBASE {
            self.due =
                self.due.drain().map(|Reverse((later, index))| Reverse((later - due, index))).collect();
        }
        index
    }
}
