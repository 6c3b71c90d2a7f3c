//! The backends that may be chosen now.

use std::sync::atomic::Ordering;

use super::{
    tier::{Standing, Tier},
    zone::{self, Spread},
};
use crate::{pool::Pool, status::FULL_SHARE, time::Millis};

/// One backend that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its index in [`Pool::backends`].
    pub backend: usize,
    /// Its weight, at least 1. Only its ratio to those of the other members means anything: where one of them starts slowly,
    /// or zones are preferred, all of them are on a finer scale than in the file.
    pub weight: u32,
}

/// The backends that may be chosen now, with what the policies need precomputed.
#[derive(Debug, Default)]
pub struct EligibleSet {
    members: Vec<Member>,
    /// Sum of the weights up to and including each member.
    cumulative: Vec<u64>,
    even: bool,
    standing: Standing,
    epoch: u64,
}

impl EligibleSet {
    /// Builds the set from members; those with weight 0 are left out.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Self {
        let members: Vec<_> = members.into_iter().filter(|member| member.weight > 0).collect();
        let mut set = Self { members, ..Self::default() };
        set.sum_up();
        set
    }

    /// The backends of a pool that are eligible now.
    pub fn of(pool: &Pool) -> Self {
        let mut set = Self::default();
        set.rebuild(pool);
        set
    }

    /// Becomes [`EligibleSet::of`] the pool, in the room that it already has.
    pub fn rebuild(&mut self, pool: &Pool) {
        self.epoch = pool.status.epoch.load(Ordering::SeqCst);
        self.members.clear();
        self.standing = Standing::default();
        // Healthy primaries are the rule: they are noted while everybody is counted.
        for (index, backend) in pool.backends.iter().enumerate() {
            if let Some(weight) = self.standing.count(backend) {
                self.members.push(Member { backend: index, weight });
            }
        }
        self.standing.decide(pool.panic);
        if self.standing.tier != Tier::Primary {
            self.members.clear();
            let standing = &self.standing;
            let takes = pool.backends.iter().enumerate().filter_map(|(index, backend)| {
                standing.weight_of(backend).map(|weight| Member { backend: index, weight })
            });
            self.members.extend(takes);
        }
        self.start_slowly(pool);
        self.prefer_own_zone(pool);
        self.sum_up();
    }

    /// Takes into account who counts for a part of its weight only. Where all have just begun it changes nothing; in panic
    /// nobody knows who has.
    fn start_slowly(&mut self, pool: &Pool) {
        let share = |member: &Member| pool.share_of(&pool.backends[member.backend]);
        if self.standing.tier == Tier::Panic || pool.slow_start == Millis(0) {
            return;
        }
        let first = self.members.first().map_or(FULL_SHARE, share);
        if self.members.iter().all(|member| share(member) == first) {
            return;
        }
        for member in &mut self.members {
            // Another look may find another share, and no share is above the whole: weights are at most a million.
            member.weight = member.weight.saturating_mul(share(member)).max(1);
        }
    }

    /// Prefers weir's own zone. In panic nobody knows what any zone can carry.
    fn prefer_own_zone(&mut self, pool: &Pool) {
        let Some(zones) = &pool.zones else { return };
        if self.standing.tier == Tier::Panic || self.members.is_empty() {
            return;
        }
        match zones.spread(self.members.iter().map(|member| (member.backend, member.weight))) {
            Spread::Own => self.members.retain(|member| zones.is_own(member.backend)),
            Spread::Over(factors) => zone::scale(zones, &factors, &mut self.members),
        }
    }

    fn sum_up(&mut self) {
        let mut sum = 0;
        self.cumulative.clear();
        self.cumulative.extend(self.members.iter().map(|member| {
            sum += u64::from(member.weight);
            sum
        }));
        self.even = self.members.windows(2).all(|pair| pair[0].weight == pair[1].weight);
    }

    /// The members.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How the pool stood when the set was built.
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Where the epoch of the pool's status stood before the set was built.
    pub const fn epoch(&self) -> u64 {
        self.epoch
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
