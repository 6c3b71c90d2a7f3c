//! What is to be logged, as a file says it.

use super::{Setting, Text};
use crate::log::{LogLevel, ProcessLogFormat};

/// Everything about logs.
#[derive(Clone, Debug, Default)]
pub struct LogsDraft {
    /// The access log; absent if there is none.
    pub access: Setting<AccessLogDraft>,
    /// See [`crate::log::ProcessLog`].
    pub level: Setting<LogLevel>,
    /// See [`crate::log::ProcessLog`].
    pub format: Setting<ProcessLogFormat>,
    /// Whether answers say which route and backend they come from, and why they failed.
    pub debug_headers: Setting<bool>,
}

/// An unchecked access log.
#[derive(Clone, Debug, Default)]
pub struct AccessLogDraft {
    /// True if the reader reported a problem in it.
    pub broken: bool,
    /// `none`: there is to be no access log.
    pub off: bool,
    /// A path, `-`, or `syslog:…`, as written.
    pub path: Option<Text>,
    /// A word, or a template.
    pub format: Option<Text>,
    /// Exchanges that are logged, in a million.
    pub sample: Setting<u32>,
}
