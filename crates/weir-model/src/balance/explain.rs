//! Which backends may be chosen, and why the others may not, in words; and which one is chosen, by the very code that
//! chooses for traffic.

use super::{Ask, Balancer, EligibleSet, Seed};
use crate::{
    pool::{Backend, Pool},
    status::{Health, State},
};

/// A backend as a choice sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// True if it may be chosen.
    pub eligible: bool,
    /// Why, in one sentence without a full stop.
    pub why: String,
}

/// What becomes of a choice in a pool.
#[derive(Clone, Debug)]
pub struct Choice {
    /// One for each of [`Pool::backends`], in their order.
    pub candidates: Vec<Candidate>,
    /// The index of the backend that is chosen; none if nothing is eligible.
    pub pick: Option<usize>,
}

impl Choice {
    /// A choice in this pool, as a balancer makes it that has not chosen before. `draw` decides what is left to chance.
    pub fn explain(pool: &Pool, ask: &Ask<'_>, draw: u64) -> Self {
        let set = EligibleSet::of(pool);
        let chosen_from = |index| set.members().iter().any(|member| member.backend == index);
        let candidates = pool.backends.iter().enumerate().map(|(index, backend)| {
            let eligible = chosen_from(index);
            Candidate { eligible, why: why(backend) }
        });
        let candidates = candidates.collect();
        let mut balancer = Balancer::new(&pool.balance, pool.hash_table.as_ref(), 0);
        balancer.prepare(&set);
        let pick = balancer.pick(&set, ask, pool, &mut Seed::new(draw));
        Self { candidates, pick: pick.map(|index| set.members()[index].backend) }
    }
}

fn why(backend: &Backend) -> String {
    let health = backend.status.health();
    let reason = backend.status.reason();
    match (health, backend.state_now(), backend.weight_now()) {
        (_, State::Disabled, _) => "disabled: it is given nothing".into(),
        (_, State::Draining, _) => "draining: it is given nothing new".into(),
        (_, State::Active, 0) => "its weight is 0".into(),
        (Health::Unknown, ..) if reason.is_empty() => "unknown: no health check has answered yet".into(),
        _ if reason.is_empty() => health.word().into(),
        _ => format!("{}: {reason}", health.word()),
    }
}
