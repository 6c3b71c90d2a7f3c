//! Makes snapshots and answers operators: the configuration language, health checks at work, the admin API.
//!
//! **Invariant:** nothing here touches client traffic, and nothing here names weir-proxy. Both meet in weir-model:
//! snapshots go down, status comes up.
#![forbid(unsafe_code)]

// From text to a snapshot.
pub mod config;

// How a changed configuration is asked for, and what comes of it.
pub mod reload;

// How certificates are renewed without any of that.
pub mod renewal;

// How the program is replaced in place, and what comes of it.
pub mod upgrade;

// Where backends come from that do not stand in a file.
pub mod discovery;

// What backends are found to be, from the first probe to the status that workers read.
pub mod health;

// Backends that are let go, to the end.
pub mod drain;

// What operators and probes are told.
pub mod admin;

// What is happening, as numbers.
pub mod metrics;

// What would become of a request.
pub mod explain;

// What an operator is told when something cannot be done.
pub mod trouble;
