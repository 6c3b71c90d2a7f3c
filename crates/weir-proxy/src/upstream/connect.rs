//! Connecting to a backend.

use std::{
    cell::Cell,
    rc::{Rc, Weak},
};

use weir_model::{
    listener::Address,
    pool::{Backend, Endpoint, Pool, ProxyTlv},
    time::{Millis, Moment},
};

use super::{Upstream, addresses::share};
use crate::{
    clock,
    conn::{Conn, Mark},
    error::{Cause, ProxyError, Side},
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
    let address = match &backend.endpoint {
        Endpoint::Address(address) => Address::Ip(*address),
        Endpoint::Unix(path) => Address::Unix(path.clone()),
        Endpoint::Name(..) => return Box::pin(connect_any(errand, pool, backend, until)).await,
    };
    backend.status.shards.of(errand.worker.index).connects.add(1);
    let length = pool.connect_timeout.min(until.since(clock::now()));
    connect_to(errand, pool, backend, (&address, length)).await
}

/// The same to a host name, which stands for all its addresses: the backend has failed when the last of them has.
#[cold]
async fn connect_any(
    errand: &Errand<'_>,
    pool: &Pool,
    backend: &Backend,
    until: Moment,
) -> Result<Upstream, ProxyError> {
    let worker = errand.worker;
    let until = until.min(clock::now() + pool.connect_timeout);
    let draw = worker.draw() as usize;
    let order = worker.unreached.order(&backend.status.addresses.load(), draw, clock::now());
    let mut last = ProxyError::new(Cause::BackendUnresolved);
    for (place, address) in order.iter().enumerate() {
        if place == 0 {
            backend.status.shards.of(worker.index).connects.add(1);
        }
        let length = share(until.since(clock::now()), order.len() - place);
        match connect_to(errand, pool, backend, (&Address::Ip(*address), length)).await {
            Ok(upstream) => {
                worker.unreached.forget(address);
                return Ok(upstream);
            }
            // What we have not got is not to be had for another address either.
            Err(error) if error.cause.side() != Side::Backend => return Err(error),
            Err(error) => last = error,
        }
        worker.unreached.note(*address, clock::now());
    }
    Err(last)
}

/// Connects to one address of a backend within this time.
async fn connect_to(
    errand: &Errand<'_>,
    pool: &Pool,
    backend: &Backend,
    (address, length): (&Address, Millis),
) -> Result<Upstream, ProxyError> {
    let connected = Cell::new(false);
    let connecting = async {
        let mut stream = Stream::connect(address).await.map_err(|error| ProxyError::from_connect(&error))?;
        connected.set(true);
        if let Some(introduction) = &errand.introduction {
            let sent = stream.write_all(&introduction.header).await;
            sent.map_err(|error| ProxyError::from_connect(&error))?;
        }
        if let Some(origination) = &pool.tls {
            // Nothing is published that was not prepared.
            let unprepared = ProxyError::with(Cause::BackendTlsHandshake, "it was not prepared");
            let client = tls::client(origination).ok_or(unprepared)?;
            let to = (&backend.endpoint, address);
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
