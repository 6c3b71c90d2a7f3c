//! A listener as a file says it.

use std::sync::Arc;

use super::{ConnectionsDraft, RouteDraft, Setting, TerminationDraft, Text};
use crate::{
    listener::{DotSegments, DoubleSlash, EncodedSlash, Protocol},
    time::Millis,
};

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
    /// Names that clients ask for, as written.
    pub sni: Vec<Text>,
    /// The TLS that ends here.
    pub tls: Setting<TerminationDraft>,
    /// Its time-outs.
    pub timeouts: TimeoutsDraft,
    /// What one client may ask of it.
    pub limits: ListenerLimitsDraft,
    /// PROXY headers in front of connections.
    pub accept_proxy: Setting<AcceptProxyDraft>,
    /// Networks, as written.
    pub trusted_proxies: Setting<Vec<Text>>,
    /// Networks, as written.
    pub allow: Setting<Vec<Text>>,
    /// Networks, as written.
    pub deny: Setting<Vec<Text>>,
    /// Client connections at once.
    pub max_connections: Setting<ConnectionsDraft>,
    /// How paths are tidied.
    pub normalize: Setting<NormalizeDraft>,
    /// Options of the sockets.
    pub tcp: TcpDraft,
    /// Pages for weir's own answers.
    pub errors: Setting<Vec<ErrorPageDraft>>,
    /// In order of evaluation.
    pub routes: Vec<RouteDraft>,
    /// The short form of one route without a match.
    pub pool: Option<Text>,
}

/// Unchecked settings of PROXY headers; see [`crate::listener::AcceptProxy`].
#[derive(Clone, Debug, Default)]
pub struct AcceptProxyDraft {
    /// `none`: keeps a default away.
    pub off: bool,
    /// Networks, as written.
    pub trust: Setting<Vec<Text>>,
    /// True for `required`, false for `optional`.
    pub required: Setting<bool>,
}

/// Time-outs of a listener; see [`crate::listener::Timeouts`].
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named and documented as in the compiled listener")]
pub struct TimeoutsDraft {
    pub header: Setting<Millis>,
    pub handshake: Setting<Millis>,
    pub idle: Setting<Millis>,
    pub body_idle: Setting<Millis>,
    /// Bytes per second; 0 is none.
    pub body_min_rate: Setting<u64>,
    pub send_idle: Setting<Millis>,
    pub tunnel: Setting<Millis>,
    pub max_age: Setting<Millis>,
}

/// Limits of a listener; see [`crate::listener::ListenerLimits`].
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named and documented as in the compiled listener")]
pub struct ListenerLimitsDraft {
    pub header_bytes: Setting<u64>,
    pub headers: Setting<u32>,
    /// `u64::MAX` is no limit.
    pub body: Setting<u64>,
    pub streams: Setting<u32>,
}

/// How paths are tidied; see [`crate::listener::Normalize`].
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named and documented as in the compiled listener")]
pub struct NormalizeDraft {
    pub dot_segments: Setting<DotSegments>,
    pub encoded_slash: Setting<EncodedSlash>,
    pub double_slash: Setting<DoubleSlash>,
}

/// Options of sockets; see [`crate::listener::TcpOptions`].
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named and documented as in the compiled listener")]
pub struct TcpDraft {
    pub keepalive: Setting<Millis>,
    pub user_timeout: Setting<Millis>,
    pub backlog: Setting<u32>,
}

/// A page for one of weir's own answers; its file has been read.
#[derive(Clone, Debug)]
pub struct ErrorPageDraft {
    /// The status, as written.
    pub status: Text,
    /// The file, as written.
    pub file: Text,
    /// What is in it.
    pub body: Arc<[u8]>,
}
