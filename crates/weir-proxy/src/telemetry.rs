//! What the path says about itself.

mod journal;

pub(crate) use journal::Failure;
pub use journal::{Journal, Level, LogLine, journal};
