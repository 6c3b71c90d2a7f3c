//! What weir knows and decides: configuration after parsing, and every decision made from it.
//!
//! **Invariant:** nothing here opens a socket, reads a clock, draws a random number, or waits. `now` and
//! seeds are arguments, so that every rule can be simulated, fuzzed and explained without a socket.
#![forbid(unsafe_code)]

// What a file said, and what is wrong with it.
pub mod draft;
pub mod problem;

// What was compiled from it, and the one pointer it is published through.
pub mod snapshot;

// The four words: listener, route, pool, backend.
pub mod listener;
pub mod pool;
pub mod route;

// What is written: texts with variables, and where they go.
pub mod log;
pub mod template;

// Where backends come from that do not stand in the file.
pub mod acme;
pub mod discovery;

// Decisions made while traffic flows.
pub mod balance;
pub mod grpc;
pub mod health;
pub mod limit;
pub mod quic;

// What is happening: written by workers and checks, read by operators.
pub mod status;

pub mod secret;
pub mod simulate;
pub mod time;
pub mod tls;
