//! How one worker tells another that something it waits for may be there.
//!
//! A bell carries nothing, and who rings it does not wait: it only wakes the other thread. It is rung where a slot of a full
//! backend comes free while requests of another worker wait for one, and never on the way of a request that did not have to
//! wait.

use std::sync::Arc;

use tokio::sync::Notify;

/// A bell for each worker.
#[derive(Debug)]
pub struct Bells(Box<[Notify]>);

impl Bells {
    /// Bells for so many workers.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Notify::new()).collect())
    }

    /// Rings for a worker; one that has not yet heard the last ring hears one.
    pub(crate) fn ring(&self, worker: usize) {
        if let Some(bell) = self.0.get(worker) {
            bell.notify_one();
        }
    }

    /// Waits until the bell of a worker is rung.
    pub(crate) async fn heard(&self, worker: usize) {
        match self.0.get(worker) {
            Some(bell) => bell.notified().await,
            None => std::future::pending().await,
        }
    }
}

/// One worker among the others.
#[derive(Debug)]
pub(crate) struct Post {
    /// Which one it is, from 0.
    pub(crate) index: usize,
    /// How many there are.
    pub(crate) count: usize,
    /// To call the others.
    pub(crate) bells: Arc<Bells>,
}
