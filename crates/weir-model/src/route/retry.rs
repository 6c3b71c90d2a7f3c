//! What is tried again when a backend fails a request.

use std::sync::Arc;

use crate::time::Millis;

/// How a route tries again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Further attempts after the first one (0 to 10); 0 is none.
    pub retries: u32,
    /// What is tried again.
    pub on: RetryOn,
    /// For one attempt, until its response head; an attempt that takes longer is given up and tried again.
    pub per_try: Millis,
    /// Retries may be this share of the pool's requests, in millionths (0 to 1,000,000); `None` is no limit.
    pub budget: Option<u32>,
    /// Requests that may be sent a second time. Whatever it is, a request that no backend has seen (the connect
    /// failed) may be.
    pub methods: RetryMethods,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            retries: 1,
            on: RetryOn::default(),
            per_try: Millis::NONE,
            budget: Some(200_000),
            methods: RetryMethods::Idempotent,
        }
    }
}

/// Failures that are tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryOn {
    /// The backend cannot be connected.
    pub connect: bool,
    /// The connection breaks before anything of an answer has come.
    pub reset: bool,
    /// No response head comes within the pool's response_timeout.
    pub timeout: bool,
    /// The backend answers with one of these (400 to 599); ascending.
    pub statuses: Vec<u16>,
}

impl Default for RetryOn {
    fn default() -> Self {
        Self { connect: true, reset: true, timeout: false, statuses: Vec::new() }
    }
}

impl RetryOn {
    /// True if an answer with this status is tried again.
    pub fn status(&self, status: u16) -> bool {
        self.statuses.binary_search(&status).is_ok()
    }
}

/// Which requests may be sent twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryMethods {
    /// Those that change nothing more when they come twice (RFC 9110 section 9.2.2).
    Idempotent,
    /// Every one.
    All,
    /// Those with one of these methods.
    These(Vec<Arc<str>>),
}
