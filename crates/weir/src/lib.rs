//! The binary as a library: wires the rooms together and decides nothing. Tests start it in process.

pub mod app;
pub mod cli;
pub mod rehearse;

mod demo;
mod file_limit;
mod log;
mod manager;
mod signals;
mod terminal;
mod upgrade;
