//! A backend as the simulation has it.

use std::{collections::VecDeque, sync::Arc};

use crate::{status::LatencyEstimate, time::Moment};

/// An error comes so fast, in microseconds.
const ERROR_TAKES: u64 = 1000;
/// A machine that has just started takes so many times as long…
const COLD_FACTOR: f64 = 10.0;
/// …for its first request, and after so many requests e times less far from usual.
const COLD_REQUESTS: f64 = 300.0;

/// One backend.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its name.
    pub name: Arc<str>,
    /// Its weight, at least 1.
    pub weight: u32,
    /// How many requests it works on at once; others wait at the machine. `usize::MAX` is no limit.
    pub concurrency: usize,
    /// How many requests it is given at once; others wait at the balancer. `u32::MAX` is no limit.
    pub max_connections: u32,
    /// How many times as long as usual it takes.
    pub slowness: f64,
    /// What is wrong with it.
    pub trouble: Trouble,
}

/// What is wrong with a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// From this time on, in microseconds, it answers everything with an error, at once.
    FailsFrom(u64),
    /// It is there from this time on, in microseconds, and slow until it has warmed up.
    StartsAt(u64),
}

/// What a machine is doing.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Requests that it works on.
    pub(super) busy: usize,
    /// Requests that wait.
    pub(super) queue: VecDeque<usize>,
    /// Requests that it was given, and has begun.
    begun: u64,
    pub(super) latency: LatencyEstimate,
}

impl Work {
    /// Begins a request of this much work; returns how long it will take and whether it fails.
    pub(super) fn begin(&mut self, machine: &Machine, work: f64, now: u64) -> (u64, bool) {
        self.busy += 1;
        let cold = match machine.trouble {
            Trouble::FailsFrom(from) if now >= from => return (ERROR_TAKES, true),
            Trouble::StartsAt(_) => 1.0 + (COLD_FACTOR - 1.0) * (-(self.begun as f64) / COLD_REQUESTS).exp(),
            Trouble::None | Trouble::FailsFrom(_) => 1.0,
        };
        self.begun += 1;
        ((work * machine.slowness * cold).max(1.0) as u64, false)
    }

    /// Tells the policies that learn.
    pub(super) fn learn(&self, took: u64, failed: bool, now: u64) {
        let now = Moment(now / 1000);
        if failed {
            self.latency.failed(took, now);
        } else {
            self.latency.answered(took, now);
        }
    }
}
