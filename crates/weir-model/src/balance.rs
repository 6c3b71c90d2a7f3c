//! Balancing: which of the eligible backends takes the next request or connection.
//!
//! A [`Balancer`] belongs to one worker and works on an [`EligibleSet`] that is prepared whenever the status of a
//! pool changes, never on a list filtered per request.

mod eligible;
mod explain;
mod least_conn;
mod random;
mod round_robin;
mod seed;
mod tier;
mod zone;

pub use eligible::{EligibleSet, Member};
pub use explain::{Candidate, Choice};
pub use seed::Seed;
pub use tier::{Headcount, Standing, Tier};
pub use zone::Zones;

/// How a backend is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// In turn, in proportion to weight, spread smoothly.
    RoundRobin,
    /// The one with the fewest in flight per weight; exact to 32 backends, sampled above.
    LeastConn,
    /// Drawn in proportion to weight.
    Random,
    /// The less loaded of two drawn in proportion to weight.
    TwoChoices,
}

impl Policy {
    /// The word used in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastConn => "least_conn",
            Self::Random => "random",
            Self::TwoChoices => "two_choices",
        }
    }
}

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
}

impl Balancer {
    /// A balancer for a policy. Workers pass different seeds so that they do not all start with the same backend.
    pub fn new(policy: Policy, seed: u64) -> Self {
        match policy {
            Policy::RoundRobin => Self::RoundRobin(round_robin::RoundRobin::new(seed)),
            Policy::LeastConn => Self::LeastConn(least_conn::LeastConn::default()),
            Policy::Random => Self::Random,
            Policy::TwoChoices => Self::TwoChoices,
        }
    }

    /// Called when the eligible set was built anew.
    pub fn prepare(&mut self, set: &EligibleSet) {
        if let Self::RoundRobin(balancer) = self {
            balancer.prepare(set);
        }
    }

    /// The member to use next, as an index into `set`; `None` if the set is empty. `load` tells how many requests
    /// or connections a member has in flight.
    pub fn pick(
        &mut self,
        set: &EligibleSet,
        load: impl Fn(&Member) -> u32,
        seed: &mut Seed,
    ) -> Option<usize> {
        match set.len() {
            0 => return None,
            1 => return Some(0),
            _ => {}
        }
        Some(match self {
            Self::RoundRobin(balancer) => balancer.pick(set),
            Self::LeastConn(balancer) => balancer.pick(set, load, seed),
            Self::Random => random::draw(set, seed),
            Self::TwoChoices => random::two_choices(set, load, seed),
        })
    }

    /// As [`Balancer::pick`], but never one of `tried` (indices of backends in their pool); `None` if nothing else
    /// is left.
    pub fn pick_other(
        &mut self,
        set: &EligibleSet,
        load: impl Fn(&Member) -> u32,
        seed: &mut Seed,
        tried: &[usize],
    ) -> Option<usize> {
        let fresh = |index: &usize| !tried.contains(&set.members()[*index].backend);
        for _ in 0..3 {
            if let Some(index) = self.pick(set, &load, seed).filter(fresh) {
                return Some(index);
            }
        }
        let start = (seed.next() % set.len().max(1) as u64) as usize;
        (start..set.len()).chain(0..start).find(fresh)
    }
}

#[cfg(test)]
mod tests;
