//! Connecting to a backend.

use std::{
    cell::Cell,
    rc::{Rc, Weak},
};

use weir_model::{
    listener::Address,
    pool::{Backend, Endpoint, Pool, ProxyTlv},
    time::Moment,
};

use super::Upstream;
use crate::{
    clock,
    conn::{Conn, Mark},
    error::{Cause, ProxyError},
    io::Stream,
    proxy_header::{self, Told},
    timer::Timer,
    tls::{self, Carries},
    worker::Worker,
};

/// For whom a connection is made, and what for.
pub(crate) struct Errand<'c> {
    pub(crate) worker: &'c Worker,
    pub(crate) timer: &'c Timer,
    pub(crate) carries: Carries,
    /// What the backend is told of whose connection it is, if it is told.
    pub(crate) introduction: Option<Introduction>,
}

/// What a backend is told of whose connection it is, and whose it is.
pub(crate) struct Introduction {
    header: Vec<u8>,
    owner: Weak<Mark>,
}

/// Connects to a backend of `pool` within its connect_timeout and not beyond `until`.
pub(crate) async fn connect(
    errand: &Errand<'_>,
    pool: &Pool,
    backend: &Backend,
    until: Moment,
) -> Result<Upstream, ProxyError> {
    let worker = errand.worker;
    let address = address(worker, backend)?;
    backend.status.shards.of(worker.index).connects.add(1);
    let length = pool.connect_timeout.min(until.since(clock::now()));
    let connected = Cell::new(false);
    let connecting = async {
        let mut stream = Stream::connect(&address).await.map_err(|error| ProxyError::from_connect(&error))?;
        connected.set(true);
        if let Some(introduction) = &errand.introduction {
            let sent = stream.write_all(&introduction.header).await;
            sent.map_err(|error| ProxyError::from_connect(&error))?;
        }
        if let Some(origination) = &pool.tls {
            // Nothing is published that was not prepared.
            let unprepared = ProxyError::with(Cause::BackendTlsHandshake, "it was not prepared");
            let client = tls::client(origination).ok_or(unprepared)?;
            let to = (&backend.endpoint, &address);
            Box::pin(client.secure(&mut stream, to, errand.carries)).await?;
        }
        Ok::<_, ProxyError>(stream)
    };
    let stream = errand.timer.limit(length, connecting).await.map_err(|_| {
        let detail = if connected.get() && pool.tls.is_some() { "in the TLS handshake" } else { "" };
        ProxyError::with(Cause::BackendConnectTimeout, detail)
    })??;
    let now = clock::now();
    let owner = errand.introduction.as_ref().map(|introduction| introduction.owner.clone());
    Ok(Upstream { stream, opened: now, idle_since: Moment(0), requests: 0, owner })
}

/// What the backends of a pool are told of a connection for this client, if they are; `request` is what the request is called
/// that it is made for, empty if it has no name.
pub(crate) fn introduction(conn: &Conn, pool: &Pool, request: &[u8]) -> Option<Introduction> {
    let sent = pool.send_proxy.as_ref()?;
    let unique_id = sent.tells(ProxyTlv::UniqueId).then(|| match request {
        b"" => conn.identity(),
        request => conn.given_identity().unwrap_or(request),
    });
    // What we have seen ourselves counts before what we were told.
    let passed = conn.proxied.as_ref().map(|proxied| &proxied.passed);
    let facts = conn.stream.facts();
    let hello = conn.hello.as_ref().and_then(|hello| hello.server_name.as_deref());
    let authority = facts.and_then(|facts| facts.server_name.as_deref()).or(hello);
    let flow = conn.flow();
    let told = Told {
        ends: flow.destination.map(|destination| (flow.source, destination)),
        alpn: facts
            .and_then(|facts| facts.alpn.as_deref())
            .or(passed.and_then(|passed| passed.alpn.as_deref())),
        authority: authority.map(str::as_bytes).or(passed.and_then(|passed| passed.authority.as_deref())),
        unique_id,
    };
    let mut header = Vec::new();
    proxy_header::write(sent, &told, &mut header);
    Some(Introduction { header, owner: Rc::downgrade(conn.mark()) })
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
