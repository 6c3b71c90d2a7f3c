//! What came of one run.

use super::machine::Machine;
use crate::balance::Policy;

/// What clients and machines had of one policy.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The policy.
    pub policy: Policy,
    /// How long each request took that was answered without an error, in microseconds, from the shortest to the longest.
    pub latencies: Vec<u64>,
    /// Requests that were answered with an error, or by nobody.
    pub errors: u64,
    /// How many requests each machine was given, in the order of the pool.
    pub requests: Vec<u64>,
    weights: Vec<u32>,
}

impl Outcome {
    pub(super) fn new(policy: Policy, machines: &[Machine]) -> Self {
        let weights: Vec<_> = machines.iter().map(|machine| machine.weight).collect();
        Self { policy, latencies: Vec::new(), errors: 0, requests: vec![0; weights.len()], weights }
    }

    pub(super) fn chosen(&mut self, machine: usize) {
        self.requests[machine] += 1;
    }

    pub(super) fn ended(&mut self, took: u64, failed: bool) {
        if failed {
            self.errors += 1;
        } else {
            self.latencies.push(took);
        }
    }

    /// The end of the run; so many requests were never taken by anybody.
    pub(super) fn finish(&mut self, waiting: usize) {
        self.errors += waiting as u64;
        self.latencies.sort_unstable();
    }

    /// The latency in milliseconds that this part of the answers stays within, from 0 to 1; 0 if there was no answer.
    pub fn quantile_ms(&self, part: f64) -> f64 {
        let rank = (part * self.latencies.len() as f64).ceil() as usize;
        let last = self.latencies.len().saturating_sub(1);
        let latency = self.latencies.get(rank.saturating_sub(1).min(last)).copied().unwrap_or(0);
        latency as f64 / 1000.0
    }

    /// How unevenly machines were given requests: the standard deviation of requests per weight, as a part of their mean;
    /// 0 if every machine was given its fair share.
    pub fn spread(&self) -> f64 {
        let shares = self.requests.iter().zip(&self.weights);
        let shares: Vec<f64> =
            shares.map(|(count, weight)| *count as f64 / f64::from((*weight).max(1))).collect();
        let mean = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
        if mean == 0.0 {
            return 0.0;
        }
        let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / shares.len() as f64;
        variance.sqrt() / mean
    }
}
