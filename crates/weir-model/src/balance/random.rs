//! Draws in proportion to weight, alone or two at a time (Mitzenmacher 2001, "The Power of Two Choices").

use super::{EligibleSet, Member, Seed, least_conn::least};

/// One member, drawn in proportion to weight.
pub(super) fn draw(set: &EligibleSet, seed: &mut Seed) -> usize {
    if set.is_even() {
        return seed.below(set.len() as u64) as usize;
    }
    set.at_weight(seed.below(set.total_weight())).min(set.len() - 1)
}

/// Two different members, of a set with two at least.
pub(super) fn two(set: &EligibleSet, seed: &mut Seed) -> (usize, usize) {
    let first = draw(set, seed);
    // A second draw that may not be the first: after a few tries the neighbour will do.
    let second = (0..4).map(|_| draw(set, seed)).find(|index| *index != first);
    (first, second.unwrap_or((first + 1) % set.len()))
}

/// The less loaded of two different members.
pub(super) fn two_choices(set: &EligibleSet, load: impl Fn(&Member) -> u32, seed: &mut Seed) -> usize {
    let (first, second) = two(set, seed);
    least(set, [first, second].into_iter(), load)
}
