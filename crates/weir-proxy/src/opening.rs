//! What comes before the protocol of a connection, for listeners that need to know more than where it comes from.
//!
//! ```text
//!  accept ── PROXY header ──┬── ClientHello read ── its listener found ──┬─> passed through, the hello first: l4
//!                           │                                            └─> handshake ──> http, l4
//!                           └─> clear text: http, l4
//! ```
//!
//! All of it has to be there within `timeouts.handshake`. Listeners of clear text without PROXY headers never come here.

use std::{future::poll_fn, rc::Rc, sync::Arc, task::Poll};

use weir_model::{
    listener::Protocol,
    status::Proofs,
    time::{Millis, Moment},
    tls::Certificate,
};

use crate::{
    buffer::{Buffer, LARGE},
    clock,
    conn::Conn,
    error::{Cause, ProxyError},
    http::{self, After, Served},
    http2, l4,
    listener::{Group, Sender, reached},
    proxy_header::{self, Progress as Told},
    tls::{
        self,
        hello::{Alert, Progress, Reader},
    },
    view::Held,
};

/// How long a client that is told why it is turned away may take to hear it.
const PARTING: Millis = Millis::secs(1);

/// Why a connection does not come to its protocol.
enum Stop {
    /// It ended before it said anything, as connections do that only see whether somebody is there.
    Silent,
    /// It cannot be served.
    Refused(ProxyError, Parting),
}

/// What the client is told.
enum Parting {
    /// Its connection breaks.
    Reset,
    /// Its connection ends.
    End,
    /// A fatal alert of TLS.
    Alert(Alert),
}

/// Serves a connection from its first byte on.
pub(crate) async fn serve(conn: Conn, group: Rc<Group>) {
    // In a box, so that what follows has no need of the room for it.
    let Some((conn, protocol, received)) = Box::pin(open(conn, group)).await else { return };
    // A task of its own is as large as the protocol needs it, which is not much between requests.
    match protocol {
        Protocol::Http | Protocol::Https => {
            let (mut served, mut received) = (Served::default(), received);
            let after = match received.is_empty() {
                true => After::Keep,
                false => Box::pin(http::begin(&conn, &mut served, &mut received)).await,
            };
            match after {
                After::Keep => drop(tokio::task::spawn_local(http::serve(conn, served))),
                After::Multiplex => drop(tokio::task::spawn_local(http2::serve(conn, received))),
                After::Close | After::Linger | After::Reset => {}
            }
        }
        Protocol::Tcp | Protocol::Tls => drop(tokio::task::spawn_local(l4::serve(conn, received))),
    }
}

/// Finds out what the connection is; none if it has ended with that.
async fn open(mut conn: Conn, group: Rc<Group>) -> Option<(Conn, Protocol, Buffer)> {
    let started = clock::micros();
    let mut received = conn.worker.spare.buffer();
    let opened = find_out(&mut conn, &mut received, group).await;
    match opened {
        Ok(protocol) => Some((conn, protocol, received)),
        Err(Stop::Silent) => None,
        Err(Stop::Refused(error, parting)) => {
            drop(received);
            if let Parting::Alert(alert) = &parting {
                // Nothing has been sent to it yet: there is room for these few bytes, or the connection is gone.
                let _ = conn.timer.limit(PARTING, conn.stream.write_all(&alert.record())).await;
            }
            let breaks = matches!(parting, Parting::Reset);
            l4::refuse(&conn, started, error, breaks);
            if !breaks {
                conn.linger(PARTING).await;
            }
            None
        }
    }
}

/// Reads what comes before the protocol; what has been read beyond it stays in `received`.
async fn find_out(conn: &mut Conn, received: &mut Buffer, group: Rc<Group>) -> Result<Protocol, Stop> {
    let begun = clock::now();
    let deadline = begun + group.handshake_timeout();
    if let Some(sender) = group.sender(conn.peer.ip()) {
        read_proxy_header(conn, received, deadline, sender).await?;
    }
    if !group.speaks_tls() {
        return Ok(conn.protocol());
    }
    read_hello(conn, received, deadline).await?;
    find_listener(conn, group)?;
    begin(conn, received, begun).await
}

/// Reads who the client is from whoever is trusted to say so, and takes that away.
async fn read_proxy_header(
    conn: &mut Conn,
    received: &mut Buffer,
    deadline: Moment,
    sender: Sender,
) -> Result<(), Stop> {
    let refuse = |why| {
        let error = ProxyError::with(Cause::ClientProxyHeader, why);
        Err(Stop::Refused(error, Parting::Reset))
    };
    if sender.required && !sender.trusted {
        return refuse("it comes from nobody in `trust`");
    }
    loop {
        match proxy_header::read(received.filled()) {
            Told::Whole(..) if !sender.trusted => return refuse("it comes from nobody in `trust`"),
            Told::Whole(header, length) => {
                received.consume(length);
                conn.believe(header);
                return Ok(());
            }
            Told::Absent if sender.required => return refuse("there is none"),
            Told::Absent => return Ok(()),
            Told::Bad(bad) => return refuse(bad.sentence()),
            Told::NeedMore => {}
        }
        fill(conn, received, deadline).await?;
    }
}

/// What follows the ClientHello: a handshake where TLS ends here, and else the question whether anybody takes it.
async fn begin(conn: &mut Conn, received: &mut Buffer, begun: Moment) -> Result<Protocol, Stop> {
    let listener = conn.listener();
    let Some(termination) = &listener.tls else { return is_wanted(conn).map(|()| listener.protocol) };
    if listener.proofs.are_any()
        && let Some(proof) = proof(conn, &listener)
    {
        let deadline = begun + listener.timeouts.handshake;
        drop(listener);
        return prove(conn, received, &proof, deadline).await;
    }
    // Nothing is published that was not prepared.
    let context = tls::context(termination).ok_or(Stop::Silent)?;
    let (early, protocol) = (std::mem::replace(received, conn.worker.spare.buffer()), listener.protocol);
    let deadline = begun + listener.timeouts.handshake;
    drop(listener);
    match tls::accept(&mut conn.stream, &context, early, &conn.timer, deadline).await {
        Ok(()) => {
            conn.has_begun_tls();
            Ok(protocol)
        }
        Err(error) => Err(Stop::Refused(error, Parting::End)),
    }
}

/// What an authority is to be shown that issues certificates, if that is who this is.
#[cold]
fn proof(conn: &Conn, listener: &Held) -> Option<Arc<Certificate>> {
    let hello = conn.hello.as_ref()?;
    let asks = hello.alpn().any(|protocol| protocol == Proofs::ALPN);
    listener.proofs.for_name(hello.server_name.as_deref().filter(|_| asks)?)
}

/// Shows it. Nothing follows the handshake (RFC 8737 section 3).
#[cold]
async fn prove(
    conn: &mut Conn,
    received: &mut Buffer,
    proof: &Certificate,
    deadline: Moment,
) -> Result<Protocol, Stop> {
    let context = tls::proof_context(proof).ok_or(Stop::Silent)?;
    let early = std::mem::replace(received, conn.worker.spare.buffer());
    let shown = Box::pin(tls::accept(&mut conn.stream, &context, early, &conn.timer, deadline)).await;
    shown.map_err(|error| Stop::Refused(error, Parting::End))?;
    conn.finish(PARTING).await;
    Err(Stop::Silent)
}

/// Reads until the ClientHello is whole, and leaves it where it is.
async fn read_hello(conn: &mut Conn, received: &mut Buffer, deadline: Moment) -> Result<(), Stop> {
    let mut reader = Reader::default();
    loop {
        match reader.read(received.filled()) {
            Progress::Whole(hello) => {
                conn.hello = Some(Box::new(hello));
                return Ok(());
            }
            Progress::NeedMore => {}
            Progress::NotTls => return Err(Stop::Refused(Cause::ClientNotTls.into(), Parting::End)),
            Progress::Bad(bad) => {
                let error = ProxyError::with(Cause::ClientTlsHandshake, bad.sentence());
                return Err(Stop::Refused(error, Parting::Alert(bad.alert())));
            }
        }
        fill(conn, received, deadline).await?;
    }
}

/// Reads more of what comes before the protocol.
async fn fill(conn: &Conn, received: &mut Buffer, deadline: Moment) -> Result<(), Stop> {
    if !received.has_space() {
        received.grow(LARGE);
    }
    conn.timer.set(deadline);
    let read = poll_fn(|cx| match conn.stream.poll_fill(cx, received) {
        Poll::Pending if let Some(cause) = conn.cut() => Poll::Ready(Err(cause.into())),
        Poll::Pending if conn.timer.poll_elapsed(cx) => {
            Poll::Ready(Err(Cause::ClientTimeoutHandshake.into()))
        }
        other => other.map_err(|error| ProxyError::from_client(&error)),
    });
    match read.await {
        Ok(0) | Err(ProxyError { cause: Cause::ClientAborted, .. }) if received.is_empty() => {
            Err(Stop::Silent)
        }
        Ok(0) => {
            let error = ProxyError::with(Cause::ClientAborted, "before its first message was whole");
            Err(Stop::Refused(error, Parting::End))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(Stop::Refused(error, Parting::Reset)),
    }
}

/// Gives the connection to the listener of its address that takes the name in the hello.
fn find_listener(conn: &mut Conn, group: Rc<Group>) -> Result<(), Stop> {
    // What is configured now is what counts.
    conn.worker.keep_up();
    let hello = conn.hello.as_deref();
    let name = hello.and_then(|hello| hello.server_name.as_deref());
    let Some(entrance) = group.find(name) else {
        let alert = if name.is_some() { Alert::UNRECOGNIZED_NAME } else { Alert::MISSING_EXTENSION };
        let detail = hello.map(ToString::to_string).unwrap_or_default();
        let error = ProxyError { cause: Cause::ClientSniUnknown, detail: detail.into() };
        return Err(Stop::Refused(error, Parting::Alert(alert)));
    };
    if group.is_shared() && reached(&entrance.listener()).is_some() {
        return Err(Stop::Refused(Cause::ListenerFull.into(), Parting::Reset));
    }
    conn.settle(entrance, group);
    Ok(())
}

/// Whether anybody takes what is passed through. A client that is not admitted is not even told that nobody does.
fn is_wanted(conn: &Conn) -> Result<(), Stop> {
    let listener = conn.listener();
    if !listener.access.is_open() && !listener.access.admits(conn.peer.ip()) {
        return Err(Stop::Refused(Cause::ClientDenied.into(), Parting::Reset));
    }
    if listener.routes.find_connection(&conn.facts()).is_none() {
        let detail = conn.hello.as_ref().map(|hello| hello.to_string()).unwrap_or_default();
        let error = ProxyError { cause: Cause::NoRoute, detail: detail.into() };
        return Err(Stop::Refused(error, Parting::Alert(Alert::UNRECOGNIZED_NAME)));
    }
    Ok(())
}
