//! The lookup table of Maglev (Eisenbud et al. 2016, section 3.4): every backend has a permutation of the slots of its
//! own, made from its name, and in turn each takes the next slot of its permutation that is still free. Turns are as
//! frequent as weights are large. The same table serves requests, connections and packets.

use std::{cmp::Reverse, collections::BinaryHeap};

use twox_hash::XxHash3_64;

use super::table::Entry;

/// The fewest slots, as in the paper; a prime.
const FEWEST: u64 = 65_537;
/// So many slots for each backend, so that shares differ by about a hundredth at most.
const SLOTS_EACH: u64 = 100;
/// The time between two turns of weight 1.
const TURN: u64 = 1 << 40;
const FREE: u32 = u32::MAX;

/// Which backend each slot belongs to.
#[derive(Debug)]
pub struct MaglevTable {
    slots: Box<[u32]>,
}

impl MaglevTable {
    /// A table over these, which are not empty and stand in the order of their names.
    pub(super) fn new(entries: &[Entry<'_>]) -> Self {
        let size = size(entries.len() as u64);
        let mut table = Filling::new(entries, size as u32);
        let weight = entries.first().map_or(1, |entry| entry.weight);
        if entries.iter().all(|entry| entry.weight == weight) {
            while (0..entries.len()).all(|entry| table.take_turn(entry)) {}
        } else {
            let mut due: BinaryHeap<_> = (0..entries.len()).map(|entry| Reverse((0u64, entry))).collect();
            while let Some(mut next) = due.peek_mut() {
                let Reverse((now, entry)) = *next;
                if !table.take_turn(entry) {
                    break;
                }
                *next = Reverse((now + TURN / u64::from(entries[entry].weight), entry));
            }
        }
        Self { slots: table.slots.into() }
    }

    /// The backend of a hash: its upper 32 bits, scaled to the number of slots.
    #[inline]
    pub fn lookup(&self, hash: u64) -> usize {
        let slot = ((hash >> 32) * self.slots.len() as u64) >> 32;
        self.slots[slot as usize] as usize
    }

    /// The backend of each slot, by its index in the pool.
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }
}

/// A table while it is filled.
struct Filling {
    slots: Vec<u32>,
    free: usize,
    /// Backend, next slot to try and step, for each entry.
    walks: Vec<(u32, u32, u32)>,
}

impl Filling {
    fn new(entries: &[Entry<'_>], size: u32) -> Self {
        let walk = |entry: &Entry<'_>| {
            let name = entry.name.as_bytes();
            let offset = XxHash3_64::oneshot_with_seed(1, name) % u64::from(size);
            let step = XxHash3_64::oneshot_with_seed(2, name) % u64::from(size - 1) + 1;
            (entry.backend as u32, offset as u32, step as u32)
        };
        let walks = entries.iter().map(walk).collect();
        Self { slots: vec![FREE; size as usize], free: size as usize, walks }
    }

    /// Gives the entry its next slot; false if none is free.
    fn take_turn(&mut self, entry: usize) -> bool {
        if self.free == 0 {
            return false;
        }
        let size = self.slots.len() as u32;
        let (backend, place, step) = &mut self.walks[entry];
        loop {
            let slot = *place;
            // The size stays far below 2^31, so that the sum fits.
            *place += *step;
            if *place >= size {
                *place -= size;
            }
            if self.slots[slot as usize] == FREE {
                self.slots[slot as usize] = *backend;
                self.free -= 1;
                return true;
            }
        }
    }
}

/// How many slots there are for so many entries: 65,537 doubled as often as it takes, and from there the next prime. Keys
/// of two tables of different sizes have nothing to do with each other, so that the size follows the number of backends
/// in such wide steps: beyond 655, 1311, 2621, …
fn size(entries: u64) -> u64 {
    let mut least = FEWEST;
    while least < entries * SLOTS_EACH {
        least = (least - 1) * 2 + 1;
    }
    next_prime(least)
}

/// The least prime that is not below `least`, which is at least 3.
fn next_prime(least: u64) -> u64 {
    let is_prime =
        |number: u64| (3..).step_by(2).take_while(|d| d * d <= number).all(|d| !number.is_multiple_of(d));
    (least | 1..).step_by(2).find(|number| is_prime(*number)).unwrap_or(FEWEST)
}
