//! The whole balancer in process: real sockets on port 0, backends and clients of the test kit.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail where a test would")]

#[path = "../support/app.rs"]
mod support;

mod abort;
mod accept_proxy;
mod balance;
mod certificates;
mod crowd;
mod discovery;
mod doorway;
mod drain;
mod explain;
mod forwarding;
mod framing;
mod health;
mod http2;
mod http2_attacks;
mod http2_backend;
mod interim;
mod limits;
mod names;
mod operate;
mod outlier;
mod passthrough;
mod patience;
mod pressure;
mod queue;
mod reload;
mod retry;
mod reuse;
mod routes;
mod send_proxy;
mod sharing;
mod shutdown;
mod start;
mod sticky;
mod tcp;
mod termination;
mod tiers;
mod timeouts;
mod tls_backend;
mod unix;
mod upgrade;
