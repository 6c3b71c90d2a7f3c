//! Hostile HTTP/1 messages, with the backend's log as the oracle: 120 requests and 33 answers of backends.
//!
//! The bytes are in `data/http1-cases.json`. What each must lead to stands beside its id in `requests.rs` and
//! `answers.rs`, so that a reader sees the judgement without running anything.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail where a test would")]

mod admin;
mod answers;
mod cases;
mod mutations;
mod requests;
mod strict;
#[path = "../support/app.rs"]
mod support;
