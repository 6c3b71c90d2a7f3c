//! Fewest in flight per weight. Ties rotate, and who has nothing in flight ties with all others who have nothing: with a fixed
//! order an idle pool would send everything to its first backend, or to its heaviest.

use super::{EligibleSet, Member, Seed, random};

/// Up to this many members all are compared; above it, so many are drawn.
const EXACT: usize = 32;
const SAMPLES: usize = 5;

/// State of one worker.
#[derive(Clone, Debug, Default)]
pub(super) struct LeastConn {
    turn: usize,
}

impl LeastConn {
    pub(super) fn pick(
        &mut self,
        set: &EligibleSet,
        load: impl Fn(&Member) -> u32,
        seed: &mut Seed,
    ) -> usize {
        if set.len() > EXACT {
            let draws: [usize; SAMPLES] = std::array::from_fn(|_| random::draw(set, seed));
            return least(set, draws.into_iter(), load);
        }
        let start = if self.turn < set.len() { self.turn } else { 0 };
        let best = least(set, (start..set.len()).chain(0..start), load);
        self.turn = best + 1;
        best
    }
}

/// The first of the candidates that no later one undercuts. Compares `(load + 1) / weight` without division, or 0 where
/// there is no load, as HAProxy does.
pub(super) fn least(
    set: &EligibleSet,
    mut candidates: impl Iterator<Item = usize>,
    load: impl Fn(&Member) -> u32,
) -> usize {
    let cost = |index: usize| {
        let member = &set.members()[index];
        let load = load(member);
        (u64::from(load) + u64::from(load > 0), u64::from(member.weight))
    };
    let mut best = candidates.next().unwrap_or(0);
    let mut best_cost = cost(best);
    for index in candidates {
        let (load, weight) = cost(index);
        if load * best_cost.1 < best_cost.0 * weight {
            (best, best_cost) = (index, (load, weight));
        }
    }
    best
}
