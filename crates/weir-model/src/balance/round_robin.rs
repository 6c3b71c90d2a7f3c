//! Smooth weighted round robin by earliest deadline: each member is due every `1 / weight`, and the one that is due
//! first goes next. Equal weights need no heap.
//!
//! Where the sequence stands outlives the set: a change of health or weight, and a reload, go on from there. If each began
//! anew, a pool that changes often would send most of its traffic to whoever comes first.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{EligibleSet, Member};

/// One turn is this long for weight 1; divisible by many weights, so that long runs stay exact.
const TURN: u64 = 720_720 << 20;
/// Beyond this all deadlines are moved back together, so that they never overflow.
const REBASE: u64 = 1 << 62;

/// State of one worker.
#[derive(Clone, Debug)]
pub(super) struct RoundRobin {
    /// The member that is next while weights are equal.
    next: usize,
    seed: u64,
    started: bool,
    /// When each member is due, while weights differ.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    /// The members that `due` is about.
    members: Vec<Member>,
    /// The last deadline that was met.
    now: u64,
}

impl RoundRobin {
    pub(super) const fn new(seed: u64) -> Self {
        Self { next: 0, seed, started: false, due: BinaryHeap::new(), members: Vec::new(), now: 0 }
    }

    pub(super) fn prepare(&mut self, set: &EligibleSet) {
        if set.is_empty() {
            return;
        }
        // Each worker starts elsewhere; the counter itself goes on, so that a change of health does not send the
        // next request of every worker to the same backend.
        if !std::mem::replace(&mut self.started, true) {
            self.next = (self.seed % set.len() as u64) as usize;
        }
        if set.is_even() {
            // If weights have just become equal, goes on with whoever was due.
            if let Some(Reverse((_, index))) = self.due.peek() {
                let backend = self.members.get(*index).map_or(0, |member| member.backend);
                self.next = set.members().partition_point(|member| member.backend < backend);
            }
            self.due.clear();
            self.members.clear();
            return;
        }
        let waits = self.waits();
        let (now, count, next) = (self.now, set.len(), self.next % set.len());
        let due = set.members().iter().enumerate().map(|(index, member)| {
            let turn = TURN / u64::from(member.weight);
            let wait = match waits.get(member.backend) {
                Some(Some((left, weight))) if *weight == member.weight => *left,
                // As much of its turn is left as before, however long a turn is now.
                Some(Some((left, weight))) => {
                    (u128::from(*left) * u128::from(*weight) / u128::from(member.weight)) as u64
                }
                // One that is new waits for a part of its turn, each for another one, in order from the next on.
                _ => (turn / count as u64) * ((index + count - next) % count + 1) as u64,
            };
            Reverse((now + wait, index))
        });
        self.due = due.collect();
        self.members.clear();
        self.members.extend_from_slice(set.members());
    }

    /// By backend: how long it has yet to wait, and its weight.
    fn waits(&self) -> Vec<Option<(u64, u32)>> {
        let backends = self.members.iter().map(|member| member.backend + 1).max().unwrap_or(0);
        let mut waits = vec![None; backends];
        for Reverse((due, index)) in &self.due {
            if let Some(member) = self.members.get(*index) {
                waits[member.backend] = Some((due.saturating_sub(self.now), member.weight));
            }
        }
        waits
    }

    /// The backends of the pool have other places now: `place` says where one is that stood elsewhere before.
    pub(super) fn renumber(&mut self, place: &dyn Fn(usize) -> Option<usize>) {
        let due = std::mem::take(&mut self.due);
        self.due = due
            .into_iter()
            .filter(|Reverse((_, index))| {
                let member = self.members.get_mut(*index);
                member.is_some_and(|member| match place(member.backend) {
                    Some(backend) => {
                        member.backend = backend;
                        true
                    }
                    None => false,
                })
            })
            .collect();
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
        self.now = due;
        if due > REBASE {
            self.due =
                self.due.drain().map(|Reverse((later, index))| Reverse((later - due, index))).collect();
            self.now = 0;
        }
        index
    }
}
