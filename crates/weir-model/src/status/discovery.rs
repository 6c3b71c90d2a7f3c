//! How the discovery of a pool's backends goes.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// How the discovery of a pool's backends goes; says nothing for a pool whose backends stand in the file.
#[derive(Debug, Default)]
pub struct DiscoveryStatus {
    /// Something came of the first question, whatever it was.
    decided: AtomicBool,
    /// The pool is gone: nothing comes of it any more.
    over: AtomicBool,
    /// How often it was forgotten.
    forgotten: AtomicU64,
    /// Backends that were found last.
    found: AtomicU64,
    /// When an answer could be used last, in seconds since 1970; 0 if none could yet.
    succeeded: AtomicU64,
    failures: AtomicU64,
    error: Mutex<Option<Arc<str>>>,
    left_out: Mutex<Arc<[String]>>,
}

impl DiscoveryStatus {
    /// An answer came that can be used, at this time in seconds since 1970.
    pub fn succeeded(&self, wall: u64) {
        self.succeeded.store(wall, Ordering::Relaxed);
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// An answer did not come, or was of no use: why, in one sentence. What was found before stays.
    pub fn failed(&self, sentence: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(sentence.into());
    }

    /// So many backends are used now. `left_out` says of the others why they are not, a sentence each.
    pub fn used(&self, found: usize, left_out: Vec<String>) {
        self.found.store(found as u64, Ordering::Relaxed);
        *self.left_out.lock().unwrap_or_else(PoisonError::into_inner) = left_out.into();
    }

    /// Nothing is discovered any more: whoever begins again begins afresh.
    pub fn forget(&self) {
        self.used(0, Vec::new());
        self.succeeded.store(0, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.decided.store(false, Ordering::Release);
        self.forgotten.fetch_add(1, Ordering::Release);
    }

    /// Moves whenever all is forgotten: whoever asked before has to ask from the beginning.
    pub fn times_forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Acquire)
    }

    /// Lets those go on who wait for what comes of the first question. What they shall find has to be published.
    pub fn decide(&self) {
        self.decided.store(true, Ordering::Release);
    }

    /// The pool is gone, and nobody asks any more: lets those go on who wait for what comes of the first question.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.decide();
    }

    /// True once the pool is gone.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// True once something came of the first question.
    pub fn is_decided(&self) -> bool {
        self.decided.load(Ordering::Acquire)
    }

    /// Backends that were found last and are used.
    pub fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// When an answer could be used last, in seconds since 1970; none if none could yet.
    pub fn last_success(&self) -> Option<u64> {
        Some(self.succeeded.load(Ordering::Relaxed)).filter(|wall| *wall > 0)
    }

    /// Answers that did not come or were of no use.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Why the last question was of no use; none if it was.
    pub fn last_error(&self) -> Option<Arc<str>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was found and is not used, and why, a sentence each.
    pub fn left_out(&self) -> Arc<[String]> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
