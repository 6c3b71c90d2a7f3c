//! What has become of certificates whose files changed.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// Of one listener or one pool. Written by one thread, read by operators.
#[derive(Debug, Default)]
pub struct RenewalStatus {
    taken: AtomicU64,
    refused: AtomicU64,
    problems: Mutex<Arc<[String]>>,
}

impl RenewalStatus {
    /// New files are used.
    pub fn took(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// New files cannot be used, and what was there before stays.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Why files are not used as they are now, a sentence each; none if all of them are used.
    pub fn tell(&self, problems: Vec<String>) {
        *self.problems.lock().unwrap_or_else(PoisonError::into_inner) = problems.into();
    }

    /// How often new files were taken.
    pub fn times_taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// How often new files were refused.
    pub fn times_refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// What [`RenewalStatus::tell`] was told last.
    pub fn problems(&self) -> Arc<[String]> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
