//! Where the backends of a pool are discovered: what is asked, not what is answered.
//!
//! What is answered becomes part of the pool's draft and takes the same road as the file's own backends.

use std::{fmt, net::SocketAddr, path::Path, sync::Arc};

use crate::time::Millis;

/// What is asked for the backends of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Addresses of a host name; each is a backend at this port.
    Dns {
        /// The name, in lower case.
        host: Arc<str>,
        /// The port of every backend.
        port: u16,
        /// How it is asked.
        asking: Asking,
    },
    /// Service records: each target is a backend with a port, a weight and a priority of its own.
    Srv {
        /// The name, in lower case: `_http._tcp.app.internal`.
        name: Arc<str>,
        /// How it is asked.
        asking: Asking,
    },
    /// A list of backends in a file of its own.
    File(Arc<Path>),
    /// Containers with a label, as a Docker engine knows them.
    Docker(Docker),
}

/// How names are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The longest time between two questions; a shorter time to live of an answer shortens it, down to a second.
    pub refresh: Millis,
    /// Who is asked; empty for those of the system.
    pub servers: Arc<[SocketAddr]>,
}

/// Which containers of which engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Docker {
    /// The unix socket of the engine's API.
    pub socket: Arc<Path>,
    /// The label that containers have to have: `KEY` or `KEY=VALUE`.
    pub label: Arc<str>,
    /// The port of those that name none in their label `weir.port`; none for the only one that a container exposes.
    pub port: Option<u16>,
    /// The network whose address is used; none for the first one by name.
    pub network: Option<Arc<str>>,
}

impl Source {
    /// The key of the language.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Dns { .. } => "dns",
            Self::Srv { .. } => "srv",
            Self::File(_) => "file",
            Self::Docker(_) => "docker",
        }
    }
}

/// For people: `dns app.internal:8080`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns { host, port, .. } => write!(f, "dns {host}:{port}"),
            Self::Srv { name, .. } => write!(f, "srv {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Docker(docker) => write!(f, "docker {} at {}", docker.label, docker.socket.display()),
        }
    }
}
