//! Connecting to a backend.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use weir_model::{
    pool::{Backend, Endpoint, Pool},
    time::Moment,
};

use super::Upstream;
use crate::{
    clock,
    error::{Cause, ProxyError},
    io::Stream,
    timer::Timer,
    worker::Worker,
};

/// Connects to a backend of `pool` within its connect_timeout.
pub(crate) async fn connect(
    worker: &Worker,
    timer: &Timer,
    pool: &Pool,
    backend: &Backend,
) -> Result<Upstream, ProxyError> {
    let address = address(worker, backend)?;
    backend.status.shards.of(worker.index).connects.add(1);
    let connected = timer.limit(pool.connect_timeout, TcpStream::connect(address)).await;
    let tcp = connected
        .map_err(|_| ProxyError::new(Cause::BackendConnectTimeout))?
        .map_err(|error| ProxyError::from_connect(&error))?;
    let now = clock::now();
    Ok(Upstream { stream: Stream::tcp(tcp), opened: now, idle_since: Moment(0), requests: 0 })
}

/// Where to connect: one of the addresses that a host name stands for, drawn anew each time.
fn address(worker: &Worker, backend: &Backend) -> Result<SocketAddr, ProxyError> {
    match &backend.endpoint {
        Endpoint::Address(address) => Ok(*address),
        Endpoint::Name(..) => {
            let addresses = backend.status.addresses.load();
            let draw = worker.draw() as usize % addresses.len().max(1);
            addresses.get(draw).copied().ok_or(Cause::BackendUnresolved.into())
        }
        // Compiling refuses it until it can be connected here.
        Endpoint::Unix(_) => Err(Cause::BackendUnresolved.into()),
    }
}
