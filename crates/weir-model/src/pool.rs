//! A pool: a named set of backends with one balancing, health and connection policy.

mod send_proxy;
mod servers;
mod sticky;

use std::{
    fmt,
    net::SocketAddr,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    balance::{Balance, HashTable, Zones},
    discovery::Source,
    health::{HealthCheck, Outlier},
    quic::ServerId,
    status::{BackendStatus, Health, Occupancy, Order, Orders, PoolStatus, State},
    time::{Millis, Moment},
    tls::Origination,
};

pub use send_proxy::{ProxyTlv, ProxyVersion, SendProxy};
pub use servers::{Owner, Servers};
pub use sticky::{Bond, Sticky};

/// Where a pool stands in its snapshot.
pub type PoolIndex = usize;

/// One compiled pool.
#[derive(Clone, Debug)]
pub struct Pool {
    /// The name from the file.
    pub name: Arc<str>,
    /// How a backend is chosen.
    pub balance: Balance,
    /// Which backends are known to be full, if any can be and there are enough of them, or the policy has to know.
    pub occupancy: Option<Arc<Occupancy>>,
    /// From keys to backends, if the policy hashes.
    pub hash_table: Option<Arc<HashTable>>,
    /// Which backend owns a QUIC connection; there if and only if the key is `quic_cid`.
    pub servers: Option<Arc<Servers>>,
    /// In the order of the file, and after them those that were discovered, in the order of the answer.
    pub backends: Vec<Backend>,
    /// What carries requests to its backends.
    pub protocol: UpstreamProtocol,
    /// How more of them are discovered.
    pub discover: Option<Arc<Source>>,
    /// Active checks; none by default, and then every backend counts as up.
    pub health: Option<HealthCheck>,
    /// When live traffic takes backends out; never by default.
    pub outlier: Option<Outlier>,
    /// How long the share of a backend grows that begins to take traffic; zero is not at all.
    pub slow_start: Millis,
    /// Below this share of healthy backends, in millionths, all of them are used; 0 is never. See [`crate::balance::Tier`].
    pub panic: u32,
    /// The zones of [`Pool::backends`], if those of weir's own zone are preferred.
    pub zones: Option<Zones>,
    /// How sessions stay at one backend, if they do.
    pub sticky: Option<Sticky>,
    /// Time to connect to a backend.
    pub connect_timeout: Millis,
    /// Time until the response head.
    pub response_timeout: Millis,
    /// How long a backend may be silent after its head.
    pub stream_idle: Millis,
    /// How long requests and connections of a backend that is let go may take to finish.
    pub drain: Millis,
    /// Reuse of connections to backends.
    pub keepalive: Keepalive,
    /// TLS to its backends, if it is spoken to them.
    pub tls: Option<Arc<Origination>>,
    /// What connections to its backends begin with, before anything else, TLS included.
    pub send_proxy: Option<SendProxy>,
    /// What the pool as a whole may carry.
    pub limits: PoolLimits,
    /// What is happening in it; survives reloads.
    pub status: Arc<PoolStatus>,
}

impl Pool {
    /// The same pool with this backend only: what a connection keeps of it that may outlive many snapshots.
    #[must_use]
    pub fn alone(&self, backend: usize) -> Self {
        let backends = self.backends.get(backend).cloned().into_iter().collect();
        Self {
            backends,
            occupancy: None,
            hash_table: None,
            servers: None,
            zones: None,
            sticky: None,
            ..self.clone()
        }
    }

    /// From now on, releases of slots are told to this pool, and not to the one before it.
    pub(crate) fn seat(&self) {
        for (place, backend) in self.backends.iter().enumerate() {
            backend.status.sit(self.occupancy.as_ref(), place, backend.max_connections);
        }
    }

    /// Takes what was prepared for the pool that it follows, where it is the same: connections can then still be resumed.
    pub(crate) fn keep_prepared(&mut self, before: &Self) {
        if self.tls == before.tls {
            self.tls.clone_from(&before.tls);
        }
    }

    /// True if clients or their connections may be bound to one of its backends, and are sent there while it drains.
    pub fn binds(&self) -> bool {
        self.sticky.is_some() || self.servers.is_some()
    }

    /// True if its connections, or those of one of its backends, are limited in number, so that some may have to wait.
    pub fn has_queue(&self) -> bool {
        self.limits.connections != u32::MAX
            || self.backends.iter().any(|backend| backend.max_connections != u32::MAX)
    }
}

/// One backend of a pool.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Identifies it in metrics, API and CLI; the address unless named.
    pub name: Arc<str>,
    /// Where it is.
    pub endpoint: Endpoint,
    /// Share of the traffic relative to the others as the file says; 0 takes none.
    pub weight: u32,
    /// Whether it may be given work, as the file says.
    pub state: State,
    /// It takes traffic only while none of the others can.
    pub backup: bool,
    /// Requests and connections that it may have in flight; `u32::MAX` is no limit.
    pub max_connections: u32,
    /// Its id in connection ids of QUIC; there if the key is `quic_cid`.
    pub server_id: Option<ServerId>,
    /// Where it stands, if the file says so.
    pub zone: Option<Arc<str>>,
    /// What is happening to it; survives reloads.
    pub status: Arc<BackendStatus>,
}

impl Backend {
    /// Whether it may be given work: what operators set, else what the file says.
    pub fn state_now(&self) -> State {
        Order::beside(self.status.operator.orders().state, self.state)
    }

    /// Its share of the traffic: what operators set, else what the file says.
    pub fn weight_now(&self) -> u32 {
        Order::beside(self.status.operator.orders().weight, self.weight)
    }

    /// True if it is healthy, and the file and operators let it have new requests and connections. Which of those that
    /// are get some is for [`crate::balance::EligibleSet::of`] to say.
    pub fn is_eligible(&self) -> bool {
        self.status.health() == Health::Up && self.state_now() == State::Active
    }

    /// True if it may still have what is bound to it: it is healthy, and active or draining, whatever its weight and tier.
    pub fn keeps(&self, now: Moment) -> bool {
        let stays = match self.state_now() {
            State::Active => true,
            State::Draining => now < self.status.drain.ends(),
            State::Disabled => false,
        };
        stays && self.status.health() == Health::Up
    }

    /// True if it has as much in flight as it may have.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.max_connections != u32::MAX && self.status.active.load(Ordering::SeqCst) >= self.max_connections
    }

    /// True if there is no address to send anything to: its name has not been found.
    pub fn is_nowhere(&self) -> bool {
        matches!(self.endpoint, Endpoint::Name(..)) && self.status.addresses.load().is_empty()
    }

    /// Sets its state, its weight, or both, until the file says something else of them.
    pub fn order(&self, state: Option<State>, weight: Option<u32>, now: Moment) {
        self.status.operator.update(|orders| Orders {
            state: state.map(|value| Order { value, file: self.state }).or(orders.state),
            weight: weight.map(|value| Order { value, file: self.weight }).or(orders.weight),
            since: now,
        });
    }

    /// Forgets what was set beside another value of the file, so that an order does not come back when the file does.
    pub(crate) fn settle_orders(&self) {
        let set = self.status.operator.orders();
        if set.state.is_none() && set.weight.is_none() {
            return;
        }
        self.status.operator.update(|orders| Orders {
            state: orders.state.filter(|order| order.file == self.state),
            weight: orders.weight.filter(|order| order.file == self.weight),
            ..orders
        });
    }
}

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A literal address.
    Address(SocketAddr),
    /// A host name and port; its addresses are looked up and kept in [`BackendStatus`].
    Name(Arc<str>, u16),
    /// The path of a unix socket on this machine.
    Unix(Arc<Path>),
}

/// As files write it: `10.0.0.1:80`, `shop.internal:80`, `unix:/run/app.sock`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What carries requests to backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// Over TLS whichever of the two the backend prefers by ALPN. In clear text HTTP/1.1, but HTTP/2 for calls of gRPC, which
    /// know nothing else.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2; in clear text with prior knowledge (RFC 9113 section 3.3).
    H2,
}

impl UpstreamProtocol {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Http1, Self::H2];

    /// What the file calls it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Http1 => "http1",
            Self::H2 => "h2",
        }
    }
}

/// How connections to backends are reused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// An unused connection is closed after this.
    pub idle: Millis,
    /// Unused connections kept per backend, over all workers.
    pub max_idle: usize,
    /// Requests one connection may carry; `u64::MAX` is no limit.
    pub max_requests: u64,
    /// A connection older than this is not used again.
    pub max_age: Millis,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { idle: Millis::secs(60), max_idle: 256, max_requests: u64::MAX, max_age: Millis::secs(300) }
    }
}

/// What a pool as a whole may carry at once; `u32::MAX` is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Connections in use.
    pub connections: u32,
    /// Exchanges and connections that wait for one of those.
    pub pending: u32,
    /// Requests in flight; beyond it, 503 at once.
    pub requests: u32,
    /// How long one may wait.
    pub queue_timeout: Millis,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { connections: u32::MAX, pending: 1024, requests: u32::MAX, queue_timeout: Millis::secs(1) }
    }
}
