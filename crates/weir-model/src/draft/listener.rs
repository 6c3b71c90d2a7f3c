//! A listener as a file says it.

use super::{RouteDraft, Setting, Text};
use crate::{listener::Protocol, time::Millis};

/// An unchecked listener.
#[derive(Clone, Debug, Default)]
pub struct ListenerDraft {
    /// Its name.
    pub name: Text,
    /// True if the reader reported a problem in it: nothing is said about what may be missing because of that.
    pub broken: bool,
    /// Addresses to bind, as written.
    pub binds: Vec<Text>,
    /// What it speaks.
    pub protocol: Setting<Protocol>,
    /// Its time-outs.
    pub timeouts: TimeoutsDraft,
    /// What one client may ask of it.
    pub limits: ListenerLimitsDraft,
    /// Networks, as written.
    pub trusted_proxies: Setting<Vec<Text>>,
    /// In order of evaluation.
    pub routes: Vec<RouteDraft>,
    /// The short form of one route without a match.
    pub pool: Option<Text>,
}

/// Time-outs of a listener; see [`crate::listener::Timeouts`].
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named and documented as in the compiled listener")]
pub struct TimeoutsDraft {
    pub header: Setting<Millis>,
    pub idle: Setting<Millis>,
    pub body_idle: Setting<Millis>,
    /// Bytes per second; 0 is none.
    pub body_min_rate: Setting<u64>,
    pub send_idle: Setting<Millis>,
    pub tunnel: Setting<Millis>,
}

/// Limits of a listener; see [`crate::listener::ListenerLimits`].
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named and documented as in the compiled listener")]
pub struct ListenerLimitsDraft {
    pub header_bytes: Setting<u64>,
    pub headers: Setting<u32>,
    /// `u64::MAX` is no limit.
    pub body: Setting<u64>,
}
