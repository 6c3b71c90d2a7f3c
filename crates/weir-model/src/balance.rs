//! Balancing: which of the eligible backends takes the next request or connection.
//!
//! A [`Balancer`] belongs to one worker and works on an [`EligibleSet`] that is prepared whenever the status of a
//! pool changes, never on a list filtered per request. What is heavy to build, a [`HashTable`], is built where the
//! configuration is compiled and shared.

mod ask;
mod eligible;
mod ewma;
mod explain;
mod hashed;
mod key;
mod least_conn;
mod maglev;
mod policy;
mod random;
mod ring_hash;
mod room;
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

use ewma::Ewma;
use hashed::Hashed;
use least_conn::LeastConn;
use room::Room;
use round_robin::RoundRobin;

/// So many proposals of a policy may be full, or tried before, until the next one that is neither will do.
const PROPOSALS: usize = 4;

/// One worker's balancer for one pool.
#[derive(Debug)]
pub struct Balancer {
    by: By,
    room: Room,
}

/// What each policy keeps.
#[derive(Debug)]
enum By {
    RoundRobin(RoundRobin),
    LeastConn(LeastConn),
    Random,
    TwoChoices,
    Ewma(Box<Ewma>),
    /// `source_hash`, `ring_hash` and `maglev`.
    Hashed(Hashed),
    First,
}

impl Balancer {
    /// A balancer for what a pool says, with its table if the policy hashes; without one it draws. Workers pass different
    /// seeds so that they do not all start with the same backend.
    pub fn new(balance: &Balance, table: Option<&Arc<HashTable>>, seed: u64) -> Self {
        let by = match balance.policy {
            Policy::RoundRobin => By::RoundRobin(RoundRobin::new(seed)),
            Policy::LeastConn => By::LeastConn(LeastConn::default()),
            Policy::Random => By::Random,
            Policy::TwoChoices => By::TwoChoices,
            Policy::Ewma => By::Ewma(Box::new(Ewma::new(seed))),
            Policy::SourceHash | Policy::RingHash | Policy::Maglev => match table {
                Some(table) => By::Hashed(Hashed::new(table.clone(), balance.bounded_load)),
                None => By::Random,
            },
            Policy::First => By::First,
        };
        Self { by, room: Room::default() }
    }

    /// Goes on where the balancer of an earlier configuration of the same pool stands, if it has the same policy. `place`
    /// says where a backend stands now, by where it stood.
    pub fn inherit(&mut self, before: &Self, place: impl Fn(usize) -> Option<usize>) {
        match (&mut self.by, &before.by) {
            (By::RoundRobin(own), By::RoundRobin(before)) => {
                own.clone_from(before);
                own.renumber(&place);
            }
            (By::LeastConn(own), By::LeastConn(before)) => own.clone_from(before),
            (By::Ewma(own), By::Ewma(before)) => {
                own.clone_from(before);
                own.renumber(&place);
            }
            // The others keep nothing, or nothing but their table.
            _ => {}
        }
    }

    /// Called when the eligible set was built anew.
    pub fn prepare(&mut self, set: &EligibleSet) {
        self.room.prepare(set);
        match &mut self.by {
            By::RoundRobin(balancer) => balancer.prepare(set),
            By::Ewma(balancer) => balancer.prepare(set),
            By::Hashed(balancer) => balancer.prepare(set),
            By::LeastConn(_) | By::Random | By::TwoChoices | By::First => {}
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
        match set.len() {
            0 => return None,
            1 => return Some(0).filter(free),
            _ => {}
        }
        for _ in 0..PROPOSALS {
            match self.by.propose(set, ask, loads, blocked, seed) {
                Ok(index) if free(&index) => return Some(index),
                Ok(_) => {}
                Err(start) => return self.room.find(set, start, ask.tried, loads),
            }
        }
        let start = seed.below(set.len() as u64) as usize;
        self.room.find(set, start, ask.tried, loads)
    }
}

impl By {
    /// A member of a set with two at least; it may be blocked. Or the one from which on the next that is not is the one.
    #[inline]
    fn propose(
        &mut self,
        set: &EligibleSet,
        ask: &Ask<'_>,
        loads: &impl Loads,
        blocked: impl Fn(usize) -> bool,
        seed: &mut Seed,
    ) -> Result<usize, usize> {
        let load =
            |member: &Member| if blocked(member.backend) { u32::MAX } else { loads.active(member.backend) };
        Ok(match self {
            // A second attempt takes nobody's turn: with one of two dead, every request would begin at the dead one.
            Self::RoundRobin(_) if !ask.tried.is_empty() => random::draw(set, seed),
            Self::RoundRobin(balancer) => balancer.pick(set),
            Self::LeastConn(balancer) => balancer.pick(set, load, seed),
            Self::Random => random::draw(set, seed),
            Self::TwoChoices => random::two_choices(set, load, seed),
            Self::Ewma(balancer) => balancer.pick(set, ask, loads, blocked, seed),
            Self::Hashed(balancer) => return balancer.pick(set, ask, loads, blocked),
            Self::First => return Err(0),
        })
    }
}

#[cfg(test)]
mod tests;
