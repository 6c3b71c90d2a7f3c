//! Connections to backends: made, kept for reuse, and limited in number.

mod connect;
mod gate;
mod reuse;

use weir_model::time::Moment;

use crate::io::Stream;

pub(crate) use connect::connect;
pub(crate) use gate::{Gate, Hold, Permit, Tried, Wait, add_below};
pub(crate) use reuse::Idle;

/// A connection to a backend.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) stream: Stream,
    /// When it was made.
    pub(crate) opened: Moment,
    /// When it was last put aside.
    pub(crate) idle_since: Moment,
    /// Requests it has carried.
    pub(crate) requests: u64,
}
