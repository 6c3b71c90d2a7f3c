//! What is asked of the machines.

use super::chance::{Service, exponential};
use crate::balance::Seed;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request {
    /// When it comes, in microseconds from the start.
    pub at: u64,
    /// How long a usual machine takes for it, in microseconds.
    pub work: f64,
    /// The hash of its key, for policies that hash.
    pub key: u64,
}

/// A workload that is made up: requests come independently of each other (Poisson).
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// How many requests.
    pub requests: usize,
    /// How many a second, on average.
    pub rate: f64,
    /// How their work is distributed…
    pub service: Service,
    /// …and how much it is on average, in microseconds.
    pub mean: f64,
    /// How many different keys they have, each as often as any other.
    pub keys: u64,
}

impl Workload {
    /// The requests, in the order in which they come.
    pub fn requests(&self, seed: u64) -> Vec<Request> {
        let mut seed = Seed::new(seed);
        let mut at = 0.0;
        let request = |_| {
            at += exponential(&mut seed) * 1e6 / self.rate;
            let work = self.service.draw(&mut seed) * self.mean;
            let key = Seed::new(seed.below(self.keys.max(1))).next();
            Request { at: at as u64, work, key }
        };
        (0..self.requests).map(request).collect()
    }
}
