//! Which backends may be chosen, and why the others may not, in words; and which one is chosen, by the very code that
//! chooses for traffic.

use super::{Ask, Balancer, EligibleSet, Seed, Tier};
use crate::{
    pool::{Backend, Pool},
    status::{FULL_SHARE, Health, State},
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
    /// What holds for the pool as a whole, each a sentence without a full stop: that it is in panic, that its backups carry
    /// the traffic, how much of it leaves the zone.
    pub notes: Vec<String>,
}

impl Choice {
    /// A choice in this pool, as a balancer makes it that has not chosen before. `draw` decides what is left to chance.
    pub fn explain(pool: &Pool, ask: &Ask<'_>, draw: u64) -> Self {
        let set = EligibleSet::of(pool);
        let mut places = vec![None; pool.backends.len()];
        for (place, member) in set.members().iter().enumerate() {
            places[member.backend] = Some(place);
        }
        let candidates = pool.backends.iter().enumerate().map(|(index, backend)| Candidate {
            eligible: places[index].is_some() && !backend.is_full(),
            why: why(pool, &set, index, places[index]),
        });
        let candidates: Vec<_> = candidates.collect();
        let mut balancer = Balancer::new(&pool.balance, pool.hash_table.as_ref(), 0);
        balancer.prepare(&set);
        let pick = balancer.pick(&set, ask, pool, &mut Seed::new(draw));
        let mut notes: Vec<_> = set.standing().sentence(pool.panic).into_iter().collect();
        notes.extend(of_zones(pool, &set));
        if !set.is_empty() && pick.is_none() {
            notes.push("all of those have max_connections in flight: it waits until one has less".into());
        }
        Self { candidates, pick: pick.map(|index| set.members()[index].backend), notes }
    }
}

/// Where the traffic goes that arrives in weir's zone.
fn of_zones(pool: &Pool, set: &EligibleSet) -> Option<String> {
    let zones = pool.zones.as_ref()?;
    let own = zones.own();
    if set.standing().tier == Tier::Panic {
        return Some("zones do not count in panic".into());
    }
    let weights = |wanted: bool| {
        let members = set.members().iter().filter(move |member| zones.is_own(member.backend) == wanted);
        members.map(|member| u64::from(member.weight)).sum::<u64>()
    };
    Some(match (weights(true), weights(false)) {
        (0, 0) => return None,
        (_, 0) => format!("all of it stays in the zone `{own}`"),
        (0, _) => format!("all of it leaves the zone `{own}`, which has nobody to take it"),
        (own_weight, others) => {
            let share = own_weight as f64 * 100.0 / (own_weight + others) as f64;
            format!(
                "{share:.1} % of the traffic stays in the zone `{own}`; the rest is more than it can carry"
            )
        }
    })
}

/// Why a backend may be chosen, or why not. `place` is its place in the set, if it has one.
fn why(pool: &Pool, set: &EligibleSet, index: usize, place: Option<usize>) -> String {
    let backend = &pool.backends[index];
    let kept_out = match (backend.state_now(), backend.weight_now()) {
        (State::Disabled, _) => Some("disabled: it is given nothing"),
        (State::Draining, _) => Some("draining: it is given nothing new"),
        (State::Active, 0) => Some("its weight is 0"),
        _ => None,
    };
    if let Some(kept_out) = kept_out {
        return kept_out.into();
    }
    let health = backend.status.health();
    let mut text = of_health(backend, health);
    let tier = set.standing().tier;
    let mut add = |more: &str| text = format!("{text}; {more}");
    match (tier, health) {
        (Tier::Panic, _) if place.is_none() && backend.is_nowhere() => add("it has no address"),
        (Tier::Panic, Health::Up) => {}
        (Tier::Panic, _) if place.is_some() => add("taken all the same, because the pool is in panic"),
        (Tier::Primary | Tier::Panic, _) if backend.backup => {
            add("a backup, which takes traffic only while no primary can");
        }
        (Tier::Backup | Tier::Both, Health::Up) if backend.backup => add("a backup"),
        (Tier::Primary | Tier::Backup | Tier::Both, Health::Up) if place.is_none() => {
            let zone =
                backend.zone.as_deref().map_or("in no zone".into(), |zone| format!("in the zone `{zone}`"));
            add(&format!("{zone}, and weir's own zone needs no help from there"));
        }
        _ => {}
    }
    let Some(place) = place else { return text };
    if backend.is_full() {
        let most = backend.max_connections;
        text = format!("{text}; full: it has max_connections ({most}) in flight");
    }
    let share = pool.share_of(backend);
    if share < FULL_SHARE {
        text = format!("{text}; it starts slowly, with {:.1} % of its weight", f64::from(share) / 10.0);
    }
    if !set.is_even() && set.members()[place].weight != backend.weight_now() {
        let part = f64::from(set.members()[place].weight) * 100.0 / set.total_weight() as f64;
        text = format!("{text}; {part:.1} % of the traffic by weight");
    }
    text
}

fn of_health(backend: &Backend, health: Health) -> String {
    let reason = backend.status.reason();
    match health {
        Health::Unknown if reason.is_empty() => "unknown: no health check has answered yet".into(),
        _ if reason.is_empty() => health.word().into(),
        _ => format!("{}: {reason}", health.word()),
    }
}
