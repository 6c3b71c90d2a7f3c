//! Health: what backends are asked and what follows from the answers, what live traffic says about them, and the one view of
//! all that is known.

pub mod outlier;
mod schedule;
pub mod slow_start;
mod state;
mod view;

use std::sync::Arc;

pub use outlier::Outlier;
pub use schedule::{first_probe, next_probe};
pub use state::{Change, Event, HealthState};
pub use view::{Ejection, Fact, HealthView, Shift};

use crate::{
    pool::{Endpoint, Pool, SendProxy, UpstreamProtocol},
    time::Millis,
    tls::Origination,
};

/// How the backends of a pool are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Between two probes of one backend.
    pub interval: Millis,
    /// The same while it is down.
    pub interval_down: Millis,
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
    /// It goes without the TLS and the PROXY header of the pool.
    pub plain: bool,
}

/// How a probe comes to its backend: as what clients send does, unless the check is plain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What the backend is called in the file.
    pub endpoint: Endpoint,
    /// The TLS of the pool.
    pub tls: Option<Arc<Origination>>,
    /// What the pool speaks. A plain check of `http` goes by HTTP/1.1.
    pub protocol: UpstreamProtocol,
    /// The PROXY header of the pool. A probe has no client: it says that the connection is weir's own.
    pub send_proxy: Option<SendProxy>,
}

impl Way {
    /// The way to a backend of this pool.
    pub fn to(pool: &Pool, endpoint: &Endpoint) -> Self {
        let plain = pool.health.as_ref().is_some_and(|check| check.plain);
        Self {
            endpoint: endpoint.clone(),
            tls: pool.tls.clone().filter(|_| !plain),
            protocol: if plain { UpstreamProtocol::Http1 } else { pool.protocol },
            send_proxy: pool.send_proxy.clone().filter(|_| !plain),
        }
    }
}

/// What is asked of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It accepts a connection.
    Tcp,
    /// It finishes a TLS handshake, and its certificate is believed if the pool verifies it.
    Tls,
    /// It answers a request as expected.
    Http(HttpProbe),
    /// It says by gRPC that it serves.
    Grpc(GrpcProbe),
    /// It answers a datagram, or at least does not refuse it.
    Udp(UdpProbe),
}

/// A probe by the health checking protocol of gRPC, `grpc.health.v1.Health/Check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcProbe {
    /// The service that is asked about; empty for the server as a whole.
    pub service: Arc<str>,
}

/// A UDP probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpProbe {
    /// The datagram that is sent.
    pub send: Arc<[u8]>,
    /// What the answer has to hold. Without it no answer is needed: the probe passes unless the port is refused within the
    /// time-out.
    pub expect: Option<Arc<[u8]>>,
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
