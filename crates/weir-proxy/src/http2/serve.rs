//! One client connection that speaks HTTP/2: a task that drives it, and a task for each of its streams, which is an exchange
//! like any other.
//!
//! The connection is told to go in two phases (RFC 9113 section 6.8) when the process or its address is on the way out, and
//! when it has become old: what is under way is finished, what is already on its way here is served.

use std::{
    cell::Cell,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{Reason, server};
use weir_model::{
    listener::{Listener, ListenerLimits},
    time::{Millis, Moment},
};

use super::{Census, Outbox, Wire, attend::Job};
use crate::{
    buffer::Buffer,
    clock,
    conn::Conn,
    error::{Cause, ProxyError},
    l4,
};

/// What a stream may have sent that nobody has taken yet.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of a stream that wait to be sent.
const SEND_BUFFER: usize = 64 * 1024;
/// What DATA frames of a few bytes that nobody has taken yet may cost beyond their content: four streams of messages of gRPC whose
/// windows are full of the smallest.
const SMALL_FRAMES: usize = 8 * 1024 * 1024;
/// How long a client that was told to go, and has nothing under way, may take to do so.
const PARTING: Millis = Millis::secs(2);

/// A connection, and what its streams know of it.
struct Server {
    conn: Rc<Conn>,
    census: Rc<Census>,
    /// Streams under way.
    open: Cell<usize>,
    /// Since when there is none, or when it was told to go.
    quiet_since: Cell<Moment>,
}

/// How a connection ends.
enum End {
    Over,
    Broken(ProxyError),
}

/// Serves a connection to its end. `early` is what has been read of it.
pub(crate) async fn serve(conn: Conn, early: Buffer) {
    let conn = Rc::new(conn);
    let started = clock::micros();
    conn.counted().http2_began();
    let server = Rc::new(Server {
        conn: conn.clone(),
        census: Rc::new(Census::of_client(clock::now())),
        open: Cell::new(0),
        quiet_since: Cell::new(clock::now()),
    });
    let listener = conn.listener();
    let length = listener.timeouts.header;
    let out = Rc::new(Outbox::new(conn.clone(), conn.worker.spare.buffer()));
    let handshake = settings(&listener).handshake(Wire::new(out.clone(), early, server.census.clone()));
    let age = age(&listener, conn.worker.draw());
    drop(listener);
    let begun = conn.timer.limit(length, handshake).await;
    let mut connection = match begun {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            if let Some(error) = violation(&error) {
                l4::refuse(&conn, started, error, false);
                conn.linger(PARTING).await;
            }
            return;
        }
        Err(_) => return l4::refuse(&conn, started, Cause::ClientTimeoutHeader.into(), false),
    };
    let mut going = false;
    let end = poll_fn(|cx| {
        let end = server.poll_end(cx, &mut connection, age, &mut going);
        // Once for all that was said.
        match out.poll_flush(cx) {
            Poll::Ready(Err(_)) if end.is_pending() => Poll::Ready(End::Over),
            _ => end,
        }
    });
    if let End::Broken(error) = end.await {
        l4::refuse(&conn, started, error, false);
        // It is told why, if it listens.
        let closed = poll_fn(|cx| connection.poll_closed(cx));
        let _ = conn.timer.limit(PARTING, closed).await;
    }
    drop(connection);
    let _ = conn.timer.limit(PARTING, poll_fn(|cx| out.poll_flush(cx))).await;
    conn.linger(PARTING).await;
}

/// What is allowed to a client of this listener.
fn settings(listener: &Listener) -> server::Builder {
    let mut settings = server::Builder::new();
    settings
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(listener.limits.streams)
        .max_header_list_size(most_head(&listener.limits))
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAMES)
        // A client that leaves takes back all it has asked for: that many at once are none too many, and the budget of resets
        // bounds them over time.
        .max_pending_accept_reset_streams(2 * listener.limits.streams as usize)
        .enable_connect_protocol();
    settings
}

/// What the `h2` crate takes of a head. It answers by itself what has more, and nobody hears of that: so it gets twice of what may
/// be, and what is too large of that is refused like any other request. It counts 32 bytes more for each field (RFC 9113
/// section 6.5.2), of which a request has four that HTTP/1.1 has in its first line.
fn most_head(limits: &ListenerLimits) -> u32 {
    let most = limits.header_bytes.saturating_mul(2).saturating_add(32 * limits.headers.saturating_add(4));
    u32::try_from(most).unwrap_or(u32::MAX)
}

/// When a connection that begins now has become old: a little before its time, so that those that came together do not go
/// together.
fn age(listener: &Listener, draw: u64) -> Moment {
    let most = listener.timeouts.max_age;
    let early = most.0.min(u64::from(u32::MAX)) / 10;
    clock::now() + Millis(most.0 - if early == 0 { 0 } else { draw % early })
}

/// What the client has done that it must not, if that is why the connection ended.
fn violation(error: &h2::Error) -> Option<ProxyError> {
    let own = (error.is_library() || !error.is_remote()) && !error.is_io();
    let flood = error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
    let cause = if flood { Cause::ClientHttp2Flood } else { Cause::ClientHttp2 };
    own.then(|| ProxyError { cause, detail: error.to_string().into() })
}

impl Server {
    /// Has its streams served until it ends.
    fn poll_end(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        connection: &mut server::Connection<Wire<Rc<Conn>>, Bytes>,
        age: Moment,
        going: &mut bool,
    ) -> Poll<End> {
        let conn = &self.conn;
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.open.set(self.open.get() + 1);
                    let job = Job { open: Open(self.clone()), request, respond };
                    conn.worker.attendants.serve(&conn.worker, job);
                    continue;
                }
                Poll::Ready(None) => return Poll::Ready(End::Over),
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(violation(&error).map_or(End::Over, End::Broken));
                }
                Poll::Pending => {}
            }
            let now = clock::now();
            if let Some(fault) = self.census.fault() {
                connection.abrupt_shutdown(fault.reason());
                let error = ProxyError::with(Cause::ClientHttp2, fault.sentence());
                return Poll::Ready(End::Broken(error));
            }
            if let Some(error) = self.excess(now) {
                connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                return Poll::Ready(End::Broken(error));
            }
            let patience = if *going { PARTING } else { conn.idle_timeout() };
            let over = self.quiet_since.get() + patience;
            let idle = self.open.get() == 0 && now >= over;
            if idle && *going {
                connection.abrupt_shutdown(Reason::NO_ERROR);
                let _ = connection.poll_closed(cx);
                return Poll::Ready(End::Over);
            }
            if !*going && (idle || now >= age || conn.is_leaving()) {
                *going = true;
                self.quiet_since.set(now);
                connection.graceful_shutdown();
                continue;
            }
            let quiet = if self.open.get() == 0 { over } else { now + patience };
            let deadline = if *going { quiet } else { quiet.min(age) };
            let deadline = self.head_ends().map_or(deadline, |head| head.min(deadline));
            conn.timer.set(deadline);
            if !conn.timer.poll_elapsed(cx) {
                return Poll::Pending;
            }
        }
    }
}

impl Server {
    /// What the client has more of than it may: frames that carry nothing, or time for a head.
    fn excess(&self, now: Moment) -> Option<ProxyError> {
        if let Some(flood) = self.census.exceeded() {
            return Some(ProxyError { cause: Cause::ClientHttp2Flood, detail: flood.to_string().into() });
        }
        self.head_ends().filter(|end| now >= *end).map(|_| Cause::ClientTimeoutHeader.into())
    }

    /// When the head that is coming has to be complete, if one is.
    fn head_ends(&self) -> Option<Moment> {
        Some(self.census.head_since()? + self.conn.listener().timeouts.header)
    }
}

/// When the last stream is over, too.
impl Drop for Server {
    fn drop(&mut self) {
        self.conn.counted().http2_ended();
    }
}

/// A stream under way, counted as long as this lives.
pub(super) struct Open(Rc<Server>);

impl Open {
    /// The connection that it belongs to.
    pub(super) fn conn(&self) -> &Conn {
        &self.0.conn
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let server = &self.0;
        server.open.set(server.open.get() - 1);
        server.quiet_since.set(clock::now());
    }
}
