//! What a file said, unchecked: every value with its place.
//!
//! All sources of configuration end here (files now; Kubernetes, xDS and overlays later) and take the same road:
//! [`crate::snapshot::compile`] is the only place that judges a draft. What stands here is therefore text wherever
//! judging the text can fail for a reason that other sources share (addresses, patterns, header names).

mod discover;
mod fill;
mod listener;
mod log;
mod origination;
mod pool;
mod route;
mod tls;

pub use discover::{DiscoverDraft, DockerDraft, SourceDraft};
pub(crate) use fill::filled;
pub use listener::{
    AcceptProxyDraft, ErrorPageDraft, ListenerDraft, ListenerLimitsDraft, NormalizeDraft, TcpDraft,
    TimeoutsDraft,
};
pub use log::{AccessLogDraft, LogsDraft};
pub use origination::OriginationDraft;
pub use pool::{
    BackendDraft, BalanceDraft, HealthDraft, HttpProbeDraft, KeepaliveDraft, OutlierDraft, PoolDraft,
    PoolLimitsDraft, ProbeDraft, SameSite, SendProxyDraft, StickyDraft, UdpProbeDraft,
};
pub use route::{
    ActionDraft, ArmDraft, ClientCertDraft, ConditionDraft, EditsDraft, GrpcDraft, NamedTexts, PathEditDraft,
    RedirectDraft, RespondDraft, RetryDraft, RetryMethodsDraft, RewriteDraft, RouteDraft, SharedRouteDraft,
    TextDraft,
};

pub use tls::{
    AcmeDraft, AuthoritiesDraft, CertificateDraft, CertificateFiles, ClientAuthDraft, TerminationDraft,
};

use std::net::IpAddr;

use crate::{
    problem::{Located, Span},
    snapshot::Secret,
    time::Millis,
};

/// A text with its place.
pub type Text = Located<String>;

/// A key and its value, marked as a whole; absent if the file does not say.
pub type Setting<T> = Option<Located<T>>;

/// An unchecked configuration.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// In the order of the files.
    pub listeners: Vec<ListenerDraft>,
    /// In the order of the files.
    pub pools: Vec<PoolDraft>,
    /// Routes that stand beside the listeners, in the order of the files.
    pub routes: Vec<SharedRouteDraft>,
    /// What fills keys that are absent.
    pub defaults: DefaultsDraft,
    /// Settings of the process.
    pub process: ProcessDraft,
    /// True if a listener may be missing because it could not be read.
    pub listeners_incomplete: bool,
    /// True if a pool may be missing because it could not be read.
    pub pools_incomplete: bool,
    /// True if a shared route may be missing because it could not be read.
    pub routes_incomplete: bool,
    /// What this machine grants; from no file.
    pub machine: Machine,
}

/// What fills keys that are absent: a map key by key, everything else as a whole. A default that means nothing where it
/// would be filled in is left out there; only what somebody wrote in that place can be a mistake.
#[derive(Clone, Debug, Default)]
pub struct DefaultsDraft {
    /// For every listener.
    pub listener: Setting<Box<ListenerDraft>>,
    /// For every route.
    pub route: Setting<Box<RouteDraft>>,
    /// For every pool.
    pub pool: Setting<Box<PoolDraft>>,
}

/// What the machine grants to the process, and what is known of it.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// How many files it may have open; none if there is no limit, or none is known.
    pub files: Option<u64>,
    /// Says if an address is one of its own; none if nobody knows.
    pub here: Option<fn(&IpAddr) -> bool>,
}

/// A number of connections as a file says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionsDraft {
    /// As many as the file limit allows.
    Auto,
    /// No limit.
    None,
    /// So many.
    Count(u32),
}

/// Settings of the process.
#[derive(Clone, Debug, Default)]
pub struct ProcessDraft {
    /// Data-path threads; inner none is one per core.
    pub workers: Setting<Option<u32>>,
    /// Whether each worker stays on its core.
    pub pin: Setting<bool>,
    /// Where weir itself stands.
    pub zone: Option<Text>,
    /// Where operators are answered.
    pub admin: Option<Text>,
    /// An `admin` that does not say where.
    pub admin_without_bind: Option<Span>,
    /// What `admin.token_file` holds, without space around it.
    pub admin_token: Setting<Secret>,
    /// There is an `admin.token_file` that could not be read: that has been said.
    pub admin_token_unread: bool,
    /// Client connections at once over all listeners.
    pub connections: Setting<ConnectionsDraft>,
    /// See [`crate::snapshot::Process::shutdown_announce`].
    pub shutdown_announce: Setting<Millis>,
    /// See [`crate::snapshot::Process::shutdown_drain`].
    pub shutdown_drain: Setting<Millis>,
    /// See [`crate::snapshot::Process::upgrade_drain`].
    pub upgrade_drain: Setting<Millis>,
    /// What is logged.
    pub logs: LogsDraft,
}
