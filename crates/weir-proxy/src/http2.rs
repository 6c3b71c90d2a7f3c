//! HTTP/2 on both sides (RFC 9113): frames, flow control and HPACK are the `h2` crate's; what a request is, where it goes and
//! what becomes of it is the same code as for HTTP/1.
//!
//! ```text
//!  bytes ── Wire ── h2 ──┬── stream: a head as text, a Channel for its content ──> http::exchange
//!                        └── stream: ...
//! ```

mod asking;
mod attend;
mod block;
mod budget;
mod census;
mod channel;
pub(crate) mod head;
mod names;
mod outbox;
mod serve;
mod socket;
mod wire;

pub(crate) use attend::Attendants;
pub(crate) use census::Census;
pub(crate) use channel::{Channel, Sent};
pub(crate) use head::read_request;
pub(crate) use outbox::Outbox;
pub(crate) use serve::serve;
pub(crate) use socket::accept;
pub(crate) use wire::Wire;
