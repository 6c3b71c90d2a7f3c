//! The listening sockets of the process: bound once, lent to the workers.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use weir_model::{listener::Address, snapshot::Snapshot};

/// One address of one listener, with a socket for each worker.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) listener: Arc<str>,
    /// The address with the port that was really bound.
    pub(super) address: SocketAddr,
    pub(super) sockets: Vec<TcpListener>,
}

/// Binds every address of every listener, or none.
pub(super) fn bind_all(snapshot: &Snapshot, workers: usize) -> Result<Vec<Bound>> {
    let mut all = Vec::new();
    for listener in &snapshot.listeners {
        for bind in &listener.binds {
            let sockets = weir_proxy::listener::bind(bind, workers).with_context(|| {
                format!(
                    "listener `{}` cannot be bound to {}{}",
                    listener.name,
                    bind.address,
                    remedy(&bind.address)
                )
            })?;
            let Some(sockets) = sockets else { continue };
            let address = sockets[0].local_addr().context("a bound socket has no address")?;
            all.push(Bound { listener: listener.name.clone(), address, sockets });
        }
    }
    Ok(all)
}

/// What usually helps.
fn remedy(address: &Address) -> String {
    let Some(port) = address.ip().map(|address| address.port()) else {
        return String::new();
    };
    let low = if (1..1024).contains(&port) { " (ports below 1024 need CAP_NET_BIND_SERVICE)" } else { "" };
    format!("{low}; `ss -ltnp 'sport = :{port}'` shows who holds the port")
}
