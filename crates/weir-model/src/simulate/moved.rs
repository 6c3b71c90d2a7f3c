//! Which part of all keys moves when a backend comes or goes.

use std::sync::Arc;

use super::machine::Machine;
use crate::balance::{Balance, HashTable, Policy, Seed};

const KEYS: u64 = 100_000;

/// Parts of all keys, from 0 to 1, for a policy that hashes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moved {
    /// Those that belonged to the last machine: they move whenever it goes, and nobody can do better.
    pub due: f64,
    /// Those that move when the last machine is removed from the configuration.
    pub removed: f64,
}

impl Moved {
    /// For a policy over these machines; none if it does not hash, or there are fewer than two.
    pub fn of(balance: &Balance, machines: &[Machine]) -> Option<Self> {
        let (last, others) = machines.split_last().filter(|(_, others)| !others.is_empty())?;
        let (whole, rest) = (table(balance.policy, machines)?, table(balance.policy, others)?);
        let (mut due, mut removed) = (0u64, 0u64);
        let mut keys = Seed::new(1);
        for _ in 0..KEYS {
            let key = keys.next();
            let (before, after) = (&machines[whole.lookup(key)].name, &others[rest.lookup(key)].name);
            due += u64::from(*before == last.name);
            removed += u64::from(before != after);
        }
        Some(Self { due: due as f64 / KEYS as f64, removed: removed as f64 / KEYS as f64 })
    }
}

fn table(policy: Policy, machines: &[Machine]) -> Option<HashTable> {
    let named: Vec<(Arc<str>, u32)> =
        machines.iter().map(|machine| (machine.name.clone(), machine.weight)).collect();
    HashTable::new(policy, named)
}
