//! What a pool says about balancing: the policy, and for those that hash, the key and the bound.

use super::Key;

/// How a backend is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// In turn, in proportion to weight, spread smoothly.
    #[default]
    RoundRobin,
    /// The one with the fewest in flight per weight; exact to 32 backends, sampled above.
    LeastConn,
    /// Drawn in proportion to weight.
    Random,
    /// The less loaded of two drawn in proportion to weight.
    TwoChoices,
    /// The one of two drawn that is expected to answer sooner, by its recent latency and its load.
    Ewma,
    /// By a hash of the key that is scaled to the sum of the weights.
    SourceHash,
    /// By a hash of the key on a ring of points.
    RingHash,
    /// By a hash of the key in a Maglev table.
    Maglev,
    /// The first in the order of the file that is not full.
    First,
}

impl Policy {
    /// Every policy, in the order in which the reference lists them.
    pub const ALL: [Self; 9] = [
        Self::RoundRobin,
        Self::LeastConn,
        Self::Random,
        Self::TwoChoices,
        Self::Ewma,
        Self::SourceHash,
        Self::RingHash,
        Self::Maglev,
        Self::First,
    ];

    /// The word used in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastConn => "least_conn",
            Self::Random => "random",
            Self::TwoChoices => "two_choices",
            Self::Ewma => "ewma",
            Self::SourceHash => "source_hash",
            Self::RingHash => "ring_hash",
            Self::Maglev => "maglev",
            Self::First => "first",
        }
    }

    /// True if it places by a key, so that what has the same key comes to the same backend.
    pub const fn hashes(self) -> bool {
        matches!(self, Self::SourceHash | Self::RingHash | Self::Maglev)
    }
}

/// What a pool says about balancing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// How a backend is chosen.
    pub policy: Policy,
    /// What is hashed; there if and only if the policy hashes.
    pub key: Option<Key>,
    /// The most that a backend may have in flight, in percent of its share of all that is in flight; only with a policy
    /// that hashes.
    pub bounded_load: Option<u32>,
}

impl Balance {
    /// The word of the policy.
    pub const fn word(&self) -> &'static str {
        self.policy.word()
    }
}

/// A policy and nothing beside it: the key is the source if there is one.
impl From<Policy> for Balance {
    fn from(policy: Policy) -> Self {
        Self { policy, key: policy.hashes().then_some(Key::Source), bounded_load: None }
    }
}
