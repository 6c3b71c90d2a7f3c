//! Zones: how much of the traffic stays in weir's own zone, and where the rest goes.
//!
//! Each weir knows its own zone only. It takes it that as much traffic arrives in each of the pool's zones, so that each of
//! `n` zones has to carry `1/n` of it, and that capacity is weight: that of the backends which carry the traffic now.
//!
//! - A zone whose part of the capacity is at least `1/n` keeps all of its traffic.
//! - One whose part is smaller keeps as much as that part can carry, `part × n` of its traffic. The rest goes to the zones
//!   that have more than `1/n`, in proportion to what each has beyond that.
//!
//! If every weir does so, each backend carries what its weight says. The arithmetic is that of Envoy's zone aware routing,
//! with equal parts in the place of what Envoy is told of its peers.

use std::{collections::BTreeMap, sync::Arc};

use super::Member;

/// Weights that were cut for zones are counted in steps of this, so that rounding costs a millionth at most.
const FINEST: f64 = 1_000_000.0;

/// The zone of each backend of a pool, as a number: 0 is weir's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zones {
    own: Arc<str>,
    of: Vec<u32>,
    count: u32,
}

impl Zones {
    /// The zones of backends in the order of their pool. Those that name none are together a zone of their own.
    pub fn new<'b>(own: &Arc<str>, backends: impl IntoIterator<Item = Option<&'b Arc<str>>>) -> Self {
        let mut numbers = BTreeMap::from([(Some(own.clone()), 0)]);
        let of = backends.into_iter().map(|zone| {
            let next = numbers.len() as u32;
            *numbers.entry(zone.cloned()).or_insert(next)
        });
        let of = of.collect();
        Self { own: own.clone(), of, count: numbers.len() as u32 }
    }

    /// The zone that weir stands in.
    pub const fn own(&self) -> &Arc<str> {
        &self.own
    }

    /// How many zones there are, weir's own included.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// True if a backend stands in weir's own zone.
    pub fn is_own(&self, backend: usize) -> bool {
        self.number(backend) == 0
    }

    fn number(&self, backend: usize) -> usize {
        self.of.get(backend).map_or(0, |zone| *zone as usize)
    }

    /// What becomes of the weights of these backends, which are all that carry the traffic now.
    pub(super) fn spread(&self, members: impl Iterator<Item = (usize, u32)>) -> Spread {
        let mut capacity = vec![0.0; self.count as usize];
        for (backend, weight) in members {
            capacity[self.number(backend)] += f64::from(weight);
        }
        let zones = f64::from(self.count);
        let all: f64 = capacity.iter().sum();
        let own = capacity[0] * zones;
        if own >= all {
            return Spread::Own;
        }
        // All of this is `zones × capacity` of the pool, to do without fractions.
        let beyond: Vec<_> = capacity.iter().map(|zone| (zone * zones - all).max(0.0)).collect();
        let offered: f64 = beyond.iter().sum();
        let missing = all - own;
        let mut factors: Vec<_> = beyond
            .iter()
            .zip(&capacity)
            .map(
                |(beyond, capacity)| {
                    if *beyond > 0.0 { missing * beyond / (offered * capacity) } else { 0.0 }
                },
            )
            .collect();
        factors[0] = zones;
        Spread::Over(factors)
    }
}

/// What becomes of the weights of backends.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Spread {
    /// Only those of weir's own zone count.
    Own,
    /// Each is multiplied by the factor of its zone, by number; those of a zone whose factor is 0 do not count.
    Over(Vec<f64>),
}

/// Multiplies the weight of each member with its zone's factor, and leaves out those for whom nothing is left.
pub(super) fn scale(zones: &Zones, factors: &[f64], members: &mut Vec<Member>) {
    let scaled = |member: &Member| f64::from(member.weight) * factors[zones.number(member.backend)];
    let largest = members.iter().map(scaled).fold(0.0, f64::max);
    members.retain_mut(|member| {
        let weight = scaled(member);
        member.weight = (weight / largest * FINEST).round().max(1.0) as u32;
        weight > 0.0
    });
}

#[cfg(test)]
mod tests;
