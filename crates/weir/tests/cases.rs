//! What weir is for: the well-known configurations of other balancers, and the situations that a balancer exists for.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail where a test would")]

#[path = "cases/examples.rs"]
mod examples;
#[path = "cases/situations.rs"]
mod situations;
#[path = "support/app.rs"]
mod support;
