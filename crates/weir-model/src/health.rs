//! Active health checks: what is asked, and the state machine that decides from the answers.

mod schedule;
mod state;

use std::sync::Arc;

pub use schedule::{first_probe, next_probe};
pub use state::{Change, Event, HealthState};

use crate::time::Millis;

/// How the backends of a pool are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Between two probes of one backend.
    pub interval: Millis,
    /// For one probe as a whole.
    pub timeout: Millis,
    /// Failures in a row until a backend is down.
    pub fall: u32,
    /// Successes in a row until it is up again.
    pub rise: u32,
    /// Asked instead of the backend's own port.
    pub port: Option<u16>,
    /// True if backends take traffic before the first probe.
    pub initially_up: bool,
}

/// What is asked of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It accepts a connection.
    Tcp,
    /// It answers a request as expected.
    Http(HttpProbe),
}

/// An HTTP probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// The path and query asked for.
    pub path: Arc<str>,
    /// The Host sent; the backend's address unless given.
    pub host: Option<Arc<str>>,
    /// The method.
    pub method: Arc<str>,
    /// Header fields sent.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// Status codes that are healthy, as inclusive ranges.
    pub expect: Vec<(u16, u16)>,
    /// Text that the body must contain within its first 64 KiB.
    pub body: Option<Arc<str>>,
}
