//! Upgrades in place of the real program, and what a service manager is told and gives.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

mod failing;
mod load;
mod manager;
mod state;
mod world;
