//! The path: what carries requests and connections, module by module in the order of the traffic.
//!
//! A worker is one thread; everything in it is single-threaded and shared with nobody, except through the snapshot
//! (what to do) and the status objects (what is happening) of `weir-model`.

// 1. Connections arrive.
pub mod listener;

// 2. What a client connection is, and what comes before its protocol.
mod conn;
mod opening;
mod proxy_header;
pub mod tls;

// 3. What travels on it: bytes, or requests.
mod http;
mod http2;
mod l4;
pub use http::Rehearsal;

// 4. Which backend takes it.
mod choose;

// 5. Connections to backends.
mod upstream;

// 6. Whether backends answer: probe code, run by the control thread.
pub mod health;

// Beside the path: what it runs on, and what it says.
mod buffer;
pub mod clock;
mod duplex;
pub mod error;
mod io;
mod relay;
pub mod telemetry;
mod timer;
mod view;
pub mod worker;
