//! The backends that may be chosen now.

use crate::{pool::Pool, time::Millis};

/// One backend that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its index in [`Pool::backends`].
    pub backend: usize,
    /// Its weight, at least 1.
    pub weight: u32,
}

/// The backends that may be chosen now, with what the policies need precomputed.
#[derive(Debug, Default)]
pub struct EligibleSet {
    members: Vec<Member>,
    /// Sum of the weights up to and including each member.
    cumulative: Vec<u64>,
    even: bool,
}

impl EligibleSet {
    /// Builds the set from members; those with weight 0 are left out.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Self {
        let members: Vec<_> = members.into_iter().filter(|member| member.weight > 0).collect();
        let mut sum = 0;
        let cumulative = members.iter().map(|member| {
            sum += u64::from(member.weight);
            sum
        });
        let cumulative = cumulative.collect();
        let even = members.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        Self { members, cumulative, even }
    }

    /// The backends of a pool that are eligible now.
    pub fn of(pool: &Pool) -> Self {
        let backends = || pool.backends.iter().enumerate().filter(|(_, backend)| backend.is_eligible());
        let shares = backends().map(|(_, backend)| backend.status.share());
        // Where all have just begun, or all have begun long ago, shares change nothing.
        let slow = pool.slow_start != Millis(0) && !is_even(shares);
        Self::new(backends().map(|(index, backend)| {
            let weight = backend.weight_now();
            let weight = if slow { weight.saturating_mul(backend.status.share()) } else { weight };
            Member { backend: index, weight }
        }))
    }

    /// The members.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.members.len()
    }

    /// True if nothing may be chosen.
    pub const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// True if all weights are equal.
    pub const fn is_even(&self) -> bool {
        self.even
    }

    /// The sum of all weights.
    pub fn total_weight(&self) -> u64 {
        self.cumulative.last().copied().unwrap_or(0)
    }

    /// The member that a point below [`EligibleSet::total_weight`] falls on.
    pub fn at_weight(&self, point: u64) -> usize {
        self.cumulative.partition_point(|sum| *sum <= point)
    }
}

/// True if all are equal.
fn is_even(mut shares: impl Iterator<Item = u32>) -> bool {
    let first = shares.next();
    shares.all(|share| Some(share) == first)
}
