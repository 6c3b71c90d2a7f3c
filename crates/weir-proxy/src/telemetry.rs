//! What the path says about itself.

mod journal;

pub(crate) use journal::{Failure, Journal};
pub use journal::{Level, LogLine, Voice, journal};
