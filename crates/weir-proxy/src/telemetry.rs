//! What the path says about itself.

mod journal;
mod overhead;

pub(crate) use journal::{Failure, Journal};
pub use journal::{Level, LogLine, Voice, journal};
pub(crate) use overhead::{Overhead, Work};
