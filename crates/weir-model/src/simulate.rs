//! The balancing policies side by side on one workload, without sockets and without a clock.
//!
//! Requests arrive at given times, each with an amount of work; machines work on a few of them at once and keep the others
//! waiting, first come, first served. Who gets what is decided by the very [`crate::balance::Balancer`] that serves
//! traffic. All policies are given the same requests, and the same seed gives the same figures to the last bit.
//!
//! Left out are the network, the balancer's own time, retries, health checks and time-outs: what differs between two
//! policies here differs because of what they choose.

mod chance;
mod machine;
mod moved;
mod outcome;
mod run;
mod workload;

pub use chance::Service;
pub use machine::{Machine, Trouble};
pub use moved::Moved;
pub use outcome::Outcome;
pub use run::{Model, run};
pub use workload::{Request, Workload};

#[cfg(test)]
mod tests;
