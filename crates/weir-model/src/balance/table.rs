//! The tables of the policies that hash: from the hash of a key to a backend.
//!
//! A table is built of all backends that the file names, whatever their health, when the configuration is compiled, and
//! shared by all workers. A change of health builds nothing; see [`super::hashed`] for what becomes of keys whose backend
//! may not be chosen. The order of a table follows the names of the backends and never their places, so that the same
//! backends make the same table in every process.

use std::sync::Arc;

use super::{Policy, maglev::MaglevTable, ring_hash::Ring, source_hash::Shares};

/// A backend as tables see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'n> {
    pub(super) name: &'n str,
    /// Its index in the pool.
    pub(super) backend: usize,
    /// At least 1; all of them have no common divisor.
    pub(super) weight: u32,
}

/// From the hash of a key to a backend.
#[derive(Debug)]
pub struct HashTable {
    policy: Policy,
    /// Name and weight of each backend, in the order of the pool.
    backends: Vec<(Arc<str>, u32)>,
    /// The weight that the table gives a backend that has none.
    least: u32,
    lookup: Lookup,
}

#[derive(Debug)]
enum Lookup {
    Shares(Shares),
    Ring(Ring),
    Maglev(MaglevTable),
}

impl HashTable {
    /// The table of a policy over these backends, by name and weight; none if the policy does not hash or there is no
    /// backend. One of weight 0 is in it as if it had the least weight, since an operator may give it one.
    pub fn new(policy: Policy, backends: Vec<(Arc<str>, u32)>) -> Option<Self> {
        let least = backends.iter().map(|(_, weight)| *weight).filter(|weight| *weight > 0);
        let least = least.reduce(greatest_common_divisor).unwrap_or(1);
        let entry = |(backend, (name, weight)): (usize, &(Arc<str>, u32))| (name.clone(), backend, *weight);
        let mut sorted: Vec<_> = backends.iter().enumerate().map(entry).collect();
        sorted.sort_unstable();
        let entries: Vec<_> = sorted
            .iter()
            .map(|(name, backend, weight)| Entry {
                name,
                backend: *backend,
                weight: (*weight).max(least) / least,
            })
            .collect();
        if entries.is_empty() {
            return None;
        }
        let lookup = match policy {
            Policy::SourceHash => Lookup::Shares(Shares::new(&entries)),
            Policy::RingHash => Lookup::Ring(Ring::new(&entries)),
            Policy::Maglev => Lookup::Maglev(MaglevTable::new(&entries)),
            Policy::RoundRobin
            | Policy::LeastConn
            | Policy::Random
            | Policy::TwoChoices
            | Policy::Ewma
            | Policy::First => return None,
        };
        Some(Self { policy, backends, least, lookup })
    }

    /// True if it is what [`HashTable::new`] would make of this.
    pub fn is_of(&self, policy: Policy, backends: &[(Arc<str>, u32)]) -> bool {
        self.policy == policy && self.backends == backends
    }

    /// The index of the backend that this hash belongs to.
    #[inline]
    pub fn lookup(&self, hash: u64) -> usize {
        match &self.lookup {
            Lookup::Shares(shares) => shares.lookup(hash),
            Lookup::Ring(ring) => ring.lookup(hash),
            Lookup::Maglev(table) => table.lookup(hash),
        }
    }

    /// How many backends there are.
    pub const fn len(&self) -> usize {
        self.backends.len()
    }

    /// Never true: there is no table of nothing.
    pub const fn is_empty(&self) -> bool {
        self.backends.is_empty()
    }

    /// The weight that the table gives to a backend.
    pub(super) fn weight(&self, backend: usize) -> u32 {
        self.backends.get(backend).map_or(self.least, |(_, weight)| (*weight).max(self.least))
    }

    /// The Maglev table, if it is one.
    pub const fn maglev(&self) -> Option<&MaglevTable> {
        match &self.lookup {
            Lookup::Maglev(table) => Some(table),
            Lookup::Shares(_) | Lookup::Ring(_) => None,
        }
    }
}

const fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
