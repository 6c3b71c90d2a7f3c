//! A listener: bound addresses, a protocol, its time-outs and limits, and the routes it serves.

mod access;
mod address;
mod answer;
mod names;
mod normalize;

use std::sync::Arc;

pub use access::{Access, Networks};
pub use address::Address;
pub use answer::ErrorPage;
pub use names::NameTable;
pub use normalize::{DotSegments, DoubleSlash, EncodedSlash, Normalize};

use crate::{
    acme::Acme,
    route::{HostMatch, RouteTable},
    status::ListenerStatus,
    time::Millis,
    tls::Termination,
};

/// One compiled listener.
#[derive(Debug)]
pub struct Listener {
    /// The name from the file.
    pub name: Arc<str>,
    /// Every address it is bound to.
    pub binds: Vec<Bind>,
    /// What it speaks.
    pub protocol: Protocol,
    /// The names that clients ask for which it takes; empty for whatever no other listener of the address takes. Only where
    /// TLS is spoken.
    pub sni: Vec<HostMatch>,
    /// The TLS that ends here; always there for [`Protocol::Https`], never for [`Protocol::Http`] and [`Protocol::Tls`].
    pub tls: Option<Arc<Termination>>,
    /// The certificate that an authority issues for it, if one does.
    pub acme: Option<Arc<Acme>>,
    /// Every one of them is on by default.
    pub timeouts: Timeouts,
    /// What one client may ask of it.
    pub limits: ListenerLimits,
    /// Whether connections begin with a PROXY header, and whose is believed.
    pub accept_proxy: Option<AcceptProxy>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Networks,
    /// Which clients are served.
    pub access: Access,
    /// Client connections at once; `u32::MAX` is no limit. More of them wait in the accept queue. Never above
    /// [`crate::snapshot::Process::connections`] unless it is no limit.
    pub max_connections: u32,
    /// How the path of a request is tidied before it is matched and forwarded.
    pub normalize: Normalize,
    /// Options of the sockets.
    pub tcp: TcpOptions,
    /// Bodies of the answers that weir itself gives, in order of status.
    pub errors: Vec<ErrorPage>,
    /// Its routes in order of evaluation.
    pub routes: RouteTable,
    /// Its counters; survives reloads.
    pub status: Arc<ListenerStatus>,
}

impl Listener {
    /// The same listener with this route only: what a connection keeps of it that may outlive many snapshots.
    #[must_use]
    pub fn alone(&self, route: Option<usize>) -> Self {
        let route = route.and_then(|number| self.routes.routes().get(number)).cloned();
        self.with(self.tls.clone(), RouteTable::new(route.into_iter().collect()))
    }

    /// The same listener with another TLS.
    #[must_use]
    pub fn with_tls(&self, tls: Termination) -> Self {
        self.with(Some(Arc::new(tls)), RouteTable::new(self.routes.routes().to_vec()))
    }

    fn with(&self, tls: Option<Arc<Termination>>, routes: RouteTable) -> Self {
        Self {
            name: self.name.clone(),
            binds: self.binds.clone(),
            protocol: self.protocol,
            sni: self.sni.clone(),
            tls,
            acme: self.acme.clone(),
            timeouts: self.timeouts.clone(),
            limits: self.limits.clone(),
            accept_proxy: self.accept_proxy.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            access: self.access.clone(),
            max_connections: self.max_connections,
            normalize: self.normalize,
            tcp: self.tcp.clone(),
            errors: self.errors.clone(),
            routes,
            status: self.status.clone(),
        }
    }

    /// True if its clients begin with TLS, wherever that ends.
    pub const fn speaks_tls(&self) -> bool {
        self.tls.is_some() || matches!(self.protocol, Protocol::Tls)
    }

    /// True if something comes before its protocol: then it has a use for [`Timeouts::handshake`].
    pub const fn opens(&self) -> bool {
        self.speaks_tls() || self.accept_proxy.is_some()
    }

    /// True if connections of the one from before can be served by this one: both speak the same.
    pub fn goes_on_as(&self, before: &Self) -> bool {
        self.protocol == before.protocol && self.tls.is_some() == before.tls.is_some()
    }

    /// What to answer with this status, if the file gives a page for it.
    pub fn error_page(&self, status: u16) -> Option<&ErrorPage> {
        let index = self.errors.binary_search_by_key(&status, |page| page.status).ok()?;
        Some(&self.errors[index])
    }
}

/// One address to bind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bind {
    /// The address and port, or the unix socket.
    pub address: Address,
    /// True for one half of a bind written as `:PORT`: the IPv6 half may be missing on a host without IPv6.
    pub either_family: bool,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2 in clear text; upgrades tunnel.
    Http,
    /// The same behind TLS, which ends here.
    Https,
    /// Byte streams of any protocol; with [`Listener::tls`], TLS ends here.
    Tcp,
    /// TLS that is passed through: routed by what the ClientHello says, never decrypted.
    Tls,
}

impl Protocol {
    /// What the file calls it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// True if it carries requests; else it carries connections.
    pub const fn has_requests(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

/// PROXY headers in front of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptProxy {
    /// Who may send one.
    pub trust: Networks,
    /// Every connection has to begin with one, and comes from there; otherwise those of others begin without.
    pub required: bool,
}

/// A listener's time-outs; [`Millis::NONE`] switches one off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Whole request head.
    pub header: Millis,
    /// What comes before the protocol: a PROXY header, TLS.
    pub handshake: Millis,
    /// http: keep-alive between requests; tcp: no byte either way.
    pub idle: Millis,
    /// Request bytes are due, none comes, and no response head has come.
    pub body_idle: Millis,
    /// Least rate of a request body in bytes per second, averaged over 30 s; 0 is none.
    pub body_min_rate: u64,
    /// The client takes nothing of what waits for it.
    pub send_idle: Millis,
    /// Upgraded connections, and calls of gRPC: no byte either way.
    pub tunnel: Millis,
    /// The age at which an HTTP/2 connection is asked to go, so that its client comes back elsewhere.
    pub max_age: Millis,
}

impl Timeouts {
    /// The defaults for a protocol.
    pub const fn defaults(protocol: Protocol) -> Self {
        Self {
            header: Millis::secs(10),
            handshake: Millis::secs(10),
            idle: match protocol {
                Protocol::Http | Protocol::Https => Millis::secs(60),
                Protocol::Tcp | Protocol::Tls => Millis::secs(600),
            },
            body_idle: Millis::secs(30),
            body_min_rate: 100,
            send_idle: Millis::secs(30),
            tunnel: Millis::secs(3600),
            max_age: Millis::secs(3600),
        }
    }
}

/// What one client may ask of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Bytes of a whole request head (1 KiB to 1 MiB).
    pub header_bytes: usize,
    /// Header fields of a request (1 to 1000).
    pub headers: usize,
    /// Bytes of a request body; `u64::MAX` is no limit.
    pub body: u64,
    /// Requests that one HTTP/2 connection may have under way (1 to 10,000).
    pub streams: u32,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self { header_bytes: 32 * 1024, headers: 100, body: u64::MAX, streams: 128 }
    }
}

/// Options of a listener's TCP sockets; they mean nothing for a unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// A connection that is silent for this long is asked whether it is still there (1 s to 9 h, rounded up to whole
    /// seconds); [`Millis::NONE`] never asks.
    pub keepalive: Millis,
    /// Sent bytes that are not acknowledged for this long end the connection (1 s to 9 h); [`Millis::NONE`] leaves it to
    /// the system.
    pub user_timeout: Millis,
    /// Connections that may wait to be accepted, for each worker (1 to 65,535; the system may cut it short).
    pub backlog: u32,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self { keepalive: Millis::secs(60), user_timeout: Millis::secs(30), backlog: 4096 }
    }
}
