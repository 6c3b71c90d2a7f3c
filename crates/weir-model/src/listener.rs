//! A listener: bound addresses, a protocol, its time-outs and limits, and the routes it serves.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;

use crate::{route::RouteTable, status::ListenerStatus, time::Millis};

/// One compiled listener.
#[derive(Debug)]
pub struct Listener {
    /// The name from the file.
    pub name: Arc<str>,
    /// Every address it is bound to.
    pub binds: Vec<Bind>,
    /// What it speaks.
    pub protocol: Protocol,
    /// Every one of them is on by default.
    pub timeouts: Timeouts,
    /// What one client may ask of it.
    pub limits: ListenerLimits,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Networks,
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
        Self {
            name: self.name.clone(),
            binds: self.binds.clone(),
            protocol: self.protocol,
            timeouts: self.timeouts.clone(),
            limits: self.limits.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            routes: RouteTable::new(route.into_iter().collect()),
            status: self.status.clone(),
        }
    }
}

/// One address to bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bind {
    /// The address and port.
    pub address: SocketAddr,
    /// True for one half of a bind written as `:PORT`: the IPv6 half may be missing on a host without IPv6.
    pub either_family: bool,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 in clear text; upgrades tunnel.
    Http,
    /// Byte streams of any protocol.
    Tcp,
}

/// A listener's time-outs; [`Millis::NONE`] switches one off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Whole request head.
    pub header: Millis,
    /// http: keep-alive between requests; tcp: no byte either way.
    pub idle: Millis,
    /// Request bytes are due, none comes, and no response head has come.
    pub body_idle: Millis,
    /// Least rate of a request body in bytes per second, averaged over 30 s; 0 is none.
    pub body_min_rate: u64,
    /// The client takes nothing of what waits for it.
    pub send_idle: Millis,
    /// Upgraded connections: no byte either way.
    pub tunnel: Millis,
}

impl Timeouts {
    /// The defaults for a protocol.
    pub const fn defaults(protocol: Protocol) -> Self {
        Self {
            header: Millis::secs(10),
            idle: match protocol {
                Protocol::Http => Millis::secs(60),
                Protocol::Tcp => Millis::secs(600),
            },
            body_idle: Millis::secs(30),
            body_min_rate: 100,
            send_idle: Millis::secs(30),
            tunnel: Millis::secs(3600),
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
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self { header_bytes: 32 * 1024, headers: 100, body: u64::MAX }
    }
}

/// A set of networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<IpNet>);

impl Networks {
    /// True if one of them holds the address. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// True if there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
