//! Balancing: which of the eligible backends takes the next request or connection.
//!
//! A [`Balancer`] belongs to one worker and works on an [`EligibleSet`] that is prepared whenever the status of a
//! pool changes, never on a list filtered per request. What is heavy to build, a [`HashTable`], is built where the
//! configuration is compiled and shared.

mod ask;
mod eligible;
mod ewma;
mod explain;
mod first;
mod hashed;
mod key;
mod least_conn;
mod maglev;
mod policy;
mod random;
mod ring_hash;
mod round_robin;
mod seed;
mod source_hash;
mod table;
mod tier;
mod zone;

use std::sync::Arc;

pub use ask::{Ask, Loads};
pub use eligible::{EligibleSet, Member};
pub use explain::{Candidate, Choice};
pub use key::{Flow, Key, KeyHash};
pub use maglev::MaglevTable;
pub use policy::{Balance, Policy};
pub use seed::Seed;
pub use table::HashTable;
pub use tier::{Headcount, Standing, Tier};
pub use zone::Zones;

/// One worker's balancer for one pool.
#[derive(Debug)]
pub enum Balancer {
    /// See [`Policy::RoundRobin`].
    RoundRobin(round_robin::RoundRobin),
    /// See [`Policy::LeastConn`].
    LeastConn(least_conn::LeastConn),
    /// See [`Policy::Random`].
    Random,
    /// See [`Policy::TwoChoices`].
    TwoChoices,
    /// See [`Policy::Ewma`].
    Ewma(Box<ewma::Ewma>),
    /// See [`Policy::SourceHash`], [`Policy::RingHash`] and [`Policy::Maglev`].
    Hashed(hashed::Hashed),
    /// See [`Policy::First`].
    First(first::First),
}

impl Balancer {
    /// A balancer for what a pool says, with its table if the policy hashes; without one it draws. Workers pass different
    /// seeds so that they do not all start with the same backend.
    pub fn new(balance: &Balance, table: Option<&Arc<HashTable>>, seed: u64) -> Self {
        match balance.policy {
            Policy::RoundRobin => Self::RoundRobin(round_robin::RoundRobin::new(seed)),
            Policy::LeastConn => Self::LeastConn(least_conn::LeastConn::default()),
            Policy::Random => Self::Random,
            Policy::TwoChoices => Self::TwoChoices,
            Policy::Ewma => Self::Ewma(Box::new(ewma::Ewma::new(seed))),
            Policy::SourceHash | Policy::RingHash | Policy::Maglev => match table {
                Some(table) => Self::Hashed(hashed::Hashed::new(table.clone(), balance.bounded_load)),
                None => Self::Random,
            },
            Policy::First => Self::First(first::First::default()),
        }
    }

    /// Goes on where the balancer of an earlier configuration of the same pool stands, if it has the same policy. `place`
    /// says where a backend stands now, by where it stood.
    pub fn inherit(&mut self, before: &Self, place: impl Fn(usize) -> Option<usize>) {
        match (self, before) {
            (Self::RoundRobin(own), Self::RoundRobin(before)) => {
                own.clone_from(before);
                own.renumber(&place);
            }
            (Self::LeastConn(own), Self::LeastConn(before)) => own.clone_from(before),
            (Self::Ewma(own), Self::Ewma(before)) => {
                own.clone_from(before);
                own.renumber(&place);
            }
            // The others keep nothing, or nothing but their table.
            _ => {}
        }
    }

    /// Called when the eligible set was built anew.
    pub fn prepare(&mut self, set: &EligibleSet) {
        match self {
            Self::RoundRobin(balancer) => balancer.prepare(set),
            Self::Ewma(balancer) => balancer.prepare(set),
            Self::Hashed(balancer) => balancer.prepare(set),
            Self::First(balancer) => balancer.prepare(set),
            Self::LeastConn(_) | Self::Random | Self::TwoChoices => {}
        }
    }

    /// The member to use next, as an index into `set`; `None` if all of them were tried or are full.
    #[inline]
    pub fn pick(
        &mut self,
        set: &EligibleSet,
        ask: &Ask<'_>,
        loads: &impl Loads,
        seed: &mut Seed,
    ) -> Option<usize> {
        let blocked = |backend: usize| {
            (!ask.tried.is_empty() && ask.tried.contains(&backend)) || loads.is_full(backend)
        };
        let free = |index: &usize| !blocked(set.members()[*index].backend);
        if let Self::First(balancer) = self {
            return balancer.pick(set, ask.tried, loads);
        }
        let index = match set.len() {
            0 => return None,
            1 => return Some(0).filter(free),
            _ => self.propose(set, ask, loads, blocked, seed)?,
        };
        if free(&index) {
            return Some(index);
        }
        for _ in 0..3 {
            if let Some(index) = self.propose(set, ask, loads, blocked, seed).filter(free) {
                return Some(index);
            }
        }
        let start = seed.below(set.len() as u64) as usize;
        (start..set.len()).chain(0..start).find(free)
    }

    /// A member of a set with two at least. It may be blocked if the policy is one that goes on by itself.
    fn propose(
        &mut self,
        set: &EligibleSet,
        ask: &Ask<'_>,
        loads: &impl Loads,
        blocked: impl Fn(usize) -> bool,
        seed: &mut Seed,
    ) -> Option<usize> {
        let load =
            |member: &Member| if blocked(member.backend) { u32::MAX } else { loads.active(member.backend) };
        Some(match self {
            Self::RoundRobin(balancer) => balancer.pick(set),
            Self::LeastConn(balancer) => balancer.pick(set, load, seed),
            Self::Random => random::draw(set, seed),
            Self::TwoChoices => random::two_choices(set, load, seed),
            Self::Ewma(balancer) => balancer.pick(set, ask, loads, blocked, seed),
            Self::Hashed(balancer) => return balancer.pick(set, ask, loads, blocked),
            Self::First(balancer) => return balancer.pick(set, ask.tried, loads),
        })
    }
}

#[cfg(test)]
mod tests;
