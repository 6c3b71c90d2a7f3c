//! What the policies that hash have in common: from the hash of a key over the table to a backend that may be chosen.
//!
//! The table knows every backend that is configured. If the one that a key belongs to may not be chosen, the key is
//! placed again by the hash of its hash, and so on: only keys of that backend move, they spread over all others in
//! proportion to weight, and they come back when it does. A retry goes on along the same walk, and so does a key whose
//! backend is beyond `bounded_load` (Mirrokni, Thorup, Zadimoghaddam 2016, with the jumps of Chen, Coleman, Shrivastava
//! 2021 in place of the neighbour, which would pass the load on to one backend).
//!
//! A weight that is not the table's, because an operator set it or a backend is new, is kept to in the same way: of the
//! places that the table gives to a backend, it leaves as many as it is now too light for.

use std::sync::Arc;

use super::{Ask, EligibleSet, HashTable, Loads, Member, Seed};

/// So often a key is placed again. Beyond that it is placed by weight among those that may be chosen: with half of the
/// backends gone this never happens, with nine of ten for one key in a thousand.
const PLACES: usize = 64;

/// State of one worker.
#[derive(Debug)]
pub(super) struct Hashed {
    table: Arc<HashTable>,
    bounded_load: Option<u32>,
    /// For each backend of the pool.
    seats: Vec<Seat>,
}

/// Where a backend stands among those that may be chosen.
#[derive(Clone, Copy, Debug)]
struct Seat {
    member: u32,
    /// The part of its places that it keeps, as a fraction of 2^32 - 1; 0 if it may not be chosen.
    keeps: u32,
}

const EMPTY: Seat = Seat { member: 0, keeps: 0 };

impl Hashed {
    pub(super) const fn new(table: Arc<HashTable>, bounded_load: Option<u32>) -> Self {
        Self { table, bounded_load, seats: Vec::new() }
    }

    pub(super) fn prepare(&mut self, set: &EligibleSet) {
        let ratio = |member: &Member| f64::from(member.weight) / f64::from(self.table.weight(member.backend));
        let most = set.members().iter().map(ratio).fold(0.0, f64::max);
        self.seats.clear();
        self.seats.resize(self.table.len(), EMPTY);
        for (index, member) in set.members().iter().enumerate() {
            // A cast from a float saturates, and the heaviest keeps everything.
            let keeps = (ratio(member) / most * f64::from(u32::MAX)).ceil() as u32;
            if let Some(seat) = self.seats.get_mut(member.backend) {
                *seat = Seat { member: index as u32, keeps: keeps.max(1) };
            }
        }
    }

    /// A member that is not blocked. If none is found, the one from which on the next that is not is the one.
    pub(super) fn pick(
        &self,
        set: &EligibleSet,
        ask: &Ask<'_>,
        loads: &impl Loads,
        blocked: impl Fn(usize) -> bool,
    ) -> Result<usize, usize> {
        let bound = self.bounded_load.map(|percent| Bound::new(percent, loads.total(), set.total_weight()));
        let mut hash = ask.hash;
        for _ in 0..PLACES {
            let backend = self.table.lookup(hash);
            let seat = self.seats.get(backend).copied().unwrap_or(EMPTY);
            let next = Seed::new(hash).next();
            if seat.keeps > next as u32 || seat.keeps == u32::MAX {
                let index = seat.member as usize;
                let member = &set.members()[index];
                let within = bound.is_none_or(|bound| bound.admits(member.weight, loads.active(backend)));
                if within && !blocked(backend) {
                    return Ok(index);
                }
            }
            hash = next;
        }
        Err(set.at_weight(((u128::from(hash) * u128::from(set.total_weight())) >> 64) as u64))
    }
}

/// How much each may have in flight: so many percent of its share of all, the one to be placed included, rounded up.
#[derive(Clone, Copy)]
struct Bound {
    /// 100 times what a unit of weight may have, times the sum of the weights.
    per_weight: u64,
    whole: u64,
}

impl Bound {
    fn new(percent: u32, total: u32, weights: u64) -> Self {
        Self { per_weight: u64::from(percent) * (u64::from(total) + 1), whole: weights.max(1) * 100 }
    }

    fn admits(self, weight: u32, active: u32) -> bool {
        u64::from(active) < self.per_weight.saturating_mul(u64::from(weight)).div_ceil(self.whole)
    }
}
