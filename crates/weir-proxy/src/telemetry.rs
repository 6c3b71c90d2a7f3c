//! What the path says about itself.

mod access;
mod journal;
mod overhead;
mod time;

pub(crate) use access::{
    AccessBuffer, Attempt, Fields, Heard, Identities, Outcome, Record, is_plain_identity, write_line,
};
pub use access::{AccessQueue, AccessReceiver, Batch, access_queue};
pub(crate) use journal::{Failure, Journal};
pub use journal::{Level, LogLine, Voice, journal};
pub(crate) use overhead::{Overhead, Work};
pub use time::timestamp;
