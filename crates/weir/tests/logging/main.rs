//! Logs of the whole balancer in process: what stands in them, and that traffic never waits for them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail where a test would")]

mod bytes;
mod causes;
mod ends;
mod formats;
mod load;
mod signals;
mod support;
mod targets;
mod values;
