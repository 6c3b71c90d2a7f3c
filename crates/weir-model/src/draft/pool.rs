//! A pool as a file says it.

use super::{DiscoverDraft, OriginationDraft, Setting, Text};
use crate::{
    balance::Policy,
    pool::{ProxyTlv, ProxyVersion, UpstreamProtocol},
    problem::{Located, Span},
    status::State,
    time::Millis,
};

/// An unchecked pool.
#[derive(Clone, Debug, Default)]
pub struct PoolDraft {
    /// Its name.
    pub name: Text,
    /// True if the reader reported a problem in it: nothing is said about what may be missing because of that.
    pub broken: bool,
    /// How a backend is chosen.
    pub balance: Setting<BalanceDraft>,
    /// In the order of the file.
    pub backends: Vec<BackendDraft>,
    /// What is spoken to them.
    pub protocol: Setting<UpstreamProtocol>,
    /// How more of them are discovered.
    pub discover: Option<DiscoverDraft>,
    /// Those that were discovered last. What is wrong with one of them is a warning, and it is left out.
    pub found: Vec<BackendDraft>,
    /// How they are checked.
    pub health: Option<HealthDraft>,
    /// When live traffic takes them out.
    pub outlier: Setting<OutlierDraft>,
    /// See [`crate::pool::Pool::slow_start`].
    pub slow_start: Setting<Millis>,
    /// See [`crate::pool::Pool::panic`].
    pub panic: Setting<u32>,
    /// True for `prefer`, false for `off`.
    pub zone_aware: Setting<bool>,
    /// How sessions stay at one backend.
    pub sticky: Option<StickyDraft>,
    /// See [`crate::pool::Pool::connect_timeout`].
    pub connect_timeout: Setting<Millis>,
    /// See [`crate::pool::Pool::response_timeout`].
    pub response_timeout: Setting<Millis>,
    /// See [`crate::pool::Pool::stream_idle`].
    pub stream_idle: Setting<Millis>,
    /// See [`crate::pool::Pool::drain`].
    pub drain: Setting<Millis>,
    /// Reuse of connections.
    pub keepalive: Setting<KeepaliveDraft>,
    /// TLS to the backends.
    pub tls: Setting<OriginationDraft>,
    /// The PROXY header; inner none is `none`, which keeps a default away.
    pub send_proxy: Setting<Option<SendProxyDraft>>,
    /// What the pool as a whole may carry.
    pub limits: PoolLimitsDraft,
}

/// How a backend is chosen, unchecked.
#[derive(Clone, Debug, Default)]
pub struct BalanceDraft {
    /// The policy.
    pub policy: Policy,
    /// What is hashed, as written.
    pub key: Option<Text>,
    /// In percent.
    pub bounded_load: Setting<u32>,
}

/// An unchecked backend.
#[derive(Clone, Debug, Default)]
pub struct BackendDraft {
    /// Where it is, as written: `ADDRESS:PORT` or `NAME:PORT`.
    pub address: Text,
    /// Its name, if it has one of its own.
    pub name: Option<Text>,
    /// Its share relative to the others.
    pub weight: Setting<u32>,
    /// Its id in connection ids of QUIC, as hexadecimal digits.
    pub server_id: Option<Text>,
    /// Where it stands.
    pub zone: Option<Text>,
    /// See [`crate::pool::Backend::backup`].
    pub backup: Setting<bool>,
    /// See [`crate::pool::Backend::max_connections`].
    pub max_connections: Setting<u32>,
    /// See [`crate::pool::Backend::state`].
    pub state: Setting<State>,
}

/// Unchecked sticky sessions; the attributes are those of a cookie (RFC 6265).
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named as the attributes")]
pub struct StickyDraft {
    /// The key `sticky`.
    pub span: Span,
    /// The name of the cookie.
    pub cookie: Option<Text>,
    /// `Max-Age`.
    pub ttl: Setting<Millis>,
    pub path: Option<Text>,
    pub domain: Option<Text>,
    pub secure: Setting<bool>,
    pub http_only: Setting<bool>,
    pub same_site: Setting<SameSite>,
}

/// When a browser sends a cookie with requests that another site caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// When the user follows a link.
    Lax,
    /// Never.
    Strict,
    /// Always.
    None,
}

impl SameSite {
    /// The word used in the cookie.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::Strict => "Strict",
            Self::None => "None",
        }
    }
}

/// Unchecked health checks.
#[derive(Clone, Debug, Default)]
pub struct HealthDraft {
    /// The key `health`.
    pub span: Span,
    /// True for `none`, which keeps a default away.
    pub off: bool,
    /// What is asked; more than one is a mistake.
    pub probes: Vec<Located<ProbeDraft>>,
    /// Between two probes of one backend.
    pub interval: Setting<Millis>,
    /// The same while it is down.
    pub interval_down: Setting<Millis>,
    /// For one probe as a whole.
    pub timeout: Setting<Millis>,
    /// Failures in a row until a backend is down.
    pub fall: Setting<u32>,
    /// Successes in a row until it is up again.
    pub rise: Setting<u32>,
    /// Asked instead of the backend's own port.
    pub port: Setting<u32>,
    /// True for `up`, false for `unknown`.
    pub initially_up: Setting<bool>,
    /// See [`crate::health::HealthCheck::plain`].
    pub plain: Setting<bool>,
}

/// What is asked of a backend.
#[derive(Clone, Debug)]
pub enum ProbeDraft {
    /// It accepts a connection.
    Tcp,
    /// It answers a request as expected.
    Http(Box<HttpProbeDraft>),
    /// It finishes a TLS handshake.
    Tls,
    /// It says by gRPC that this service is well; none for the server as a whole.
    Grpc(Option<Text>),
    /// It answers a datagram.
    Udp(UdpProbeDraft),
}

/// An unchecked UDP probe; see [`crate::health::UdpProbe`].
#[derive(Clone, Debug, Default)]
pub struct UdpProbeDraft {
    /// The key `udp`.
    pub span: Span,
    /// What is sent, with escapes as written.
    pub send: Option<Text>,
    /// What the answer has to hold, with escapes as written.
    pub expect: Option<Text>,
}

/// An unchecked PROXY header; see [`crate::pool::SendProxy`].
#[derive(Clone, Debug)]
pub struct SendProxyDraft {
    /// Its form.
    pub version: ProxyVersion,
    /// What it says beyond addresses.
    pub tlvs: Vec<Located<ProxyTlv>>,
}

/// Unchecked outlier detection; see [`crate::health::Outlier`]. The outer option is absence, the inner one `none`.
#[derive(Clone, Debug, Default)]
pub struct OutlierDraft {
    /// True for `none`, which keeps a default away.
    pub off: bool,
    /// True if the pool itself does not say any of it.
    pub by_default: bool,
    /// Errors in a row.
    pub consecutive_errors: Setting<Option<u32>>,
    /// Share of errors, in millionths.
    pub error_rate: Setting<Option<u32>>,
    /// What the share is taken over.
    pub window: Setting<Millis>,
    /// Length of a first ejection.
    pub eject: Setting<Millis>,
    /// Share of the backends that may be out, in millionths.
    pub max_ejected: Setting<u32>,
}

/// An unchecked HTTP probe; see [`crate::health::HttpProbe`].
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named and documented as in the compiled probe")]
pub struct HttpProbeDraft {
    /// Where it stands.
    pub span: Span,
    pub path: Option<Text>,
    pub host: Option<Text>,
    pub method: Option<Text>,
    pub headers: Vec<(Text, Text)>,
    /// Codes and ranges, as written.
    pub expect: Vec<Text>,
    pub body: Option<Text>,
}

/// See [`crate::pool::Keepalive`].
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named and documented as in the compiled pool")]
pub struct KeepaliveDraft {
    pub idle: Setting<Millis>,
    pub max_idle: Setting<u32>,
    /// `u64::MAX` is no limit.
    pub max_requests: Setting<u64>,
    pub max_age: Setting<Millis>,
}

/// See [`crate::pool::PoolLimits`]; `u32::MAX` is no limit.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named and documented as in the compiled pool")]
pub struct PoolLimitsDraft {
    pub connections: Setting<u32>,
    pub pending: Setting<u32>,
    pub requests: Setting<u32>,
    pub queue_timeout: Setting<Millis>,
}
