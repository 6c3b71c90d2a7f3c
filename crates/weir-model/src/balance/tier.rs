//! Which group of a pool's backends carries its traffic: the primaries, the backups, or in panic all of them.
//!
//! A backend is *willing* if it is active and has a weight above 0; who is not willing is given nothing whatever
//! happens, and counts for nothing here.

use std::sync::atomic::Ordering;

use crate::{
    pool::{Backend, Pool},
    status::{Health, Order, State},
};

/// The whole of a share that is counted in millionths.
const WHOLE: u64 = 1_000_000;

/// Which backends of a pool carry its traffic now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// The healthy primaries: the backends that are not `backup`.
    Primary,
    /// The healthy backups, all of them together: no primary is healthy.
    Backup,
    /// The healthy primaries, which are too few by `panic`, and with them the healthy backups.
    Both,
    /// All willing primaries, healthy or not: too few are healthy by `panic`, and no backup is. Where no primary is willing,
    /// all willing backups.
    Panic,
    /// None.
    #[default]
    Nobody,
}

impl Tier {
    /// The word used in status.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Backup => "backup",
            Self::Both => "both",
            Self::Panic => "panic",
            Self::Nobody => "none",
        }
    }
}

/// How many backends of one kind are willing, and how many of those are healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headcount {
    /// Active, with a weight above 0.
    pub willing: u32,
    /// Of those, the ones that are up.
    pub up: u32,
    /// Of those, the ones that no check has judged yet. They take no traffic, and are no reason for panic either.
    pub unknown: u32,
    /// Of those, the ones that there is an address for.
    pub somewhere: u32,
}

impl Headcount {
    /// Counts one willing backend.
    fn add(&mut self, health: Health, backend: &Backend) {
        self.willing += 1;
        self.somewhere += u32::from(!backend.is_nowhere());
        match health {
            Health::Up => self.up += 1,
            Health::Unknown => self.unknown += 1,
            Health::Down | Health::Ejected => {}
        }
    }

    /// True if the share that may be healthy is below this one (in millionths): exactly that share is not below it.
    const fn is_below(self, share: u32) -> bool {
        let fine = self.up as u64 + self.unknown as u64;
        fine * WHOLE < self.willing as u64 * share as u64
    }
}

/// The backends of a pool, counted, and what follows from that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The backends that are not `backup`.
    pub primaries: Headcount,
    /// Those that are.
    pub backups: Headcount,
    /// Which of them carry the traffic.
    pub tier: Tier,
}

impl Standing {
    /// How a pool stands now.
    pub fn of(pool: &Pool) -> Self {
        let mut standing = Self::default();
        for backend in &pool.backends {
            let _ = standing.count(backend);
        }
        standing.decide(pool.panic);
        standing
    }

    /// Counts a backend; its weight if it is a healthy primary.
    #[inline]
    pub(super) fn count(&mut self, backend: &Backend) -> Option<u32> {
        let weight = willing(backend)?;
        let health = backend.status.health();
        if backend.backup {
            self.backups.add(health, backend);
            return None;
        }
        self.primaries.add(health, backend);
        (health == Health::Up).then_some(weight)
    }

    /// Decides from what was counted.
    pub(super) const fn decide(&mut self, panic: u32) {
        let Self { primaries, backups, .. } = *self;
        let too_few = primaries.is_below(panic);
        // Where no primary is willing, the backups are all there is.
        let too_few_left = primaries.willing == 0 && backups.is_below(panic);
        let anywhere = if primaries.willing > 0 { primaries.somewhere } else { backups.somewhere } > 0;
        self.tier = if primaries.up > 0 && !too_few {
            Tier::Primary
        } else if backups.up > 0 && !too_few_left {
            if primaries.up > 0 { Tier::Both } else { Tier::Backup }
        } else if (too_few && backups.unknown == 0 || too_few_left) && anywhere {
            Tier::Panic
        } else if primaries.up > 0 {
            Tier::Primary
        } else {
            Tier::Nobody
        };
    }

    /// The weight of this backend, if it is one of those that carry the traffic.
    pub(super) fn weight_of(&self, backend: &Backend) -> Option<u32> {
        let is_up = || backend.status.health() == Health::Up;
        let chosen = match self.tier {
            Tier::Primary => !backend.backup && is_up(),
            Tier::Backup => backend.backup && is_up(),
            Tier::Both => is_up(),
            // Who has no address cannot be tried even in panic.
            Tier::Panic => backend.backup == (self.primaries.willing == 0) && !backend.is_nowhere(),
            Tier::Nobody => false,
        };
        if chosen { willing(backend) } else { None }
    }

    /// What there is to say of the pool as a whole; nothing while its healthy primaries carry it.
    pub fn sentence(&self, panic: u32) -> Option<String> {
        let Self { primaries, backups, tier } = self;
        let percent = f64::from(panic) / 10_000.0;
        let below = |count: &Headcount, kind: &str| {
            let Headcount { willing, up, .. } = count;
            format!("{up} of {willing} {kind} healthy, which is below {percent} %")
        };
        Some(match tier {
            Tier::Primary => return None,
            Tier::Backup => "no primary is healthy: the backups carry the traffic".into(),
            Tier::Both => {
                format!("{}: the backups help to carry the traffic", below(primaries, "primaries are"))
            }
            Tier::Panic if primaries.willing == 0 => {
                format!("panic: {}: all backups are used", below(backups, "backups are"))
            }
            Tier::Panic if backups.willing == 0 => {
                format!("panic: {}: all of them are used", below(primaries, "backends are"))
            }
            Tier::Panic => {
                format!(
                    "panic: {} and no backup is: all primaries are used",
                    below(primaries, "primaries are")
                )
            }
            Tier::Nobody => format!("no backend takes traffic: {}", self.nobody()),
        })
    }

    /// Why there is nobody to carry the traffic, if that is so.
    pub fn nobody(&self) -> String {
        let willing = self.primaries.willing + self.backups.willing;
        let unknown = self.primaries.unknown + self.backups.unknown;
        match (willing, unknown) {
            (0, _) => "there is none, or all are draining, disabled or of weight 0".into(),
            (_, 0) => format!("none of {willing} is healthy"),
            (_, _) => format!("{unknown} of {willing} wait for their first check, and no other is healthy"),
        }
    }
}

/// The weight of a backend that may be given work whenever it is healthy.
#[inline]
fn willing(backend: &Backend) -> Option<u32> {
    let orders = backend.status.operator.orders();
    let state = Order::beside(orders.state, backend.state);
    let weight = Order::beside(orders.weight, backend.weight);
    // One that is gone may still be part of what a request holds that came before.
    let gone = backend.status.gone.load(Ordering::Acquire);
    (state == State::Active && weight > 0 && !gone).then_some(weight)
}

#[cfg(test)]
pub(super) mod tests;
