//! Connecting to a backend.

use weir_model::{
    listener::Address,
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

/// Connects to a backend of `pool` within its connect_timeout and not beyond `until`.
pub(crate) async fn connect(
    worker: &Worker,
    timer: &Timer,
    pool: &Pool,
    backend: &Backend,
    until: Moment,
) -> Result<Upstream, ProxyError> {
    let address = address(worker, backend)?;
    backend.status.shards.of(worker.index).connects.add(1);
    let length = pool.connect_timeout.min(until.since(clock::now()));
    let connected = timer.limit(length, Stream::connect(&address)).await;
    let stream = connected
        .map_err(|_| ProxyError::new(Cause::BackendConnectTimeout))?
        .map_err(|error| ProxyError::from_connect(&error))?;
    let now = clock::now();
    Ok(Upstream { stream, opened: now, idle_since: Moment(0), requests: 0 })
}

/// Where to connect: one of the addresses that a host name stands for, drawn anew each time.
fn address(worker: &Worker, backend: &Backend) -> Result<Address, ProxyError> {
    match &backend.endpoint {
        Endpoint::Address(address) => Ok(Address::Ip(*address)),
        Endpoint::Name(..) => {
            let addresses = backend.status.addresses.load();
            let draw = worker.draw() as usize % addresses.len().max(1);
            addresses.get(draw).copied().map(Address::Ip).ok_or(Cause::BackendUnresolved.into())
        }
        Endpoint::Unix(path) => Ok(Address::Unix(path.clone())),
    }
}
