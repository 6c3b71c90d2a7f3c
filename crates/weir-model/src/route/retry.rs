//! What is tried again when a backend fails a request.

use std::sync::Arc;

use crate::{grpc, time::Millis};

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
    /// A call of gRPC ends with one of these before anything else of its answer has come: a bit for each status.
    pub grpc: u32,
}

impl Default for RetryOn {
    fn default() -> Self {
        Self { connect: true, reset: true, timeout: false, statuses: Vec::new(), grpc: 0 }
    }
}

impl RetryOn {
    /// True if an answer with this status is tried again.
    pub fn status(&self, status: u16) -> bool {
        self.statuses.binary_search(&status).is_ok()
    }

    /// The statuses of gRPC that may be tried again: those that say nothing about the call itself.
    pub const GRPC: [u8; 5] = [
        grpc::CANCELLED,
        grpc::DEADLINE_EXCEEDED,
        grpc::INTERNAL,
        grpc::RESOURCE_EXHAUSTED,
        grpc::UNAVAILABLE,
    ];

    /// True if a call that ends with this status of gRPC is tried again.
    pub const fn grpc(&self, status: u8) -> bool {
        status < 32 && self.grpc & 1 << status != 0
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
