//! One HTTP/2 connection to a backend, which carries the requests of many clients at once, and the lanes on it.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{
    Reason,
    client::{Builder, Connection, ResponseFuture, SendRequest},
};
use http::{Request, Response};
use weir_model::{pool::Keepalive, time::Moment};

use super::Upstream;
use crate::{
    clock,
    conn::Mark,
    error::{Cause, ProxyError},
    http2::{Census, Channel, Outbox, Wire, head},
    io::Stream,
    worker::Worker,
};

/// What a backend may send of one answer before somebody has taken it, in bytes.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for all answers on one connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of the head of an answer, as HTTP/2 counts them.
const MOST_HEAD: u32 = 64 * 1024;
/// Bytes of a request that wait to be sent.
const SEND_BUFFER: usize = 64 * 1024;
/// Requests at once on one connection, whatever the backend allows: beyond, a second one serves better.
pub(super) const MOST_LANES: usize = 256;
/// Requests that one connection carries at most: its streams have numbers, and those end.
const MOST_REQUESTS: u64 = 1 << 30;

/// A connection of the `h2` crate to a backend.
type Driven = Connection<Wire<Stream>, Bytes>;

/// One HTTP/2 connection to a backend.
pub(crate) struct Trunk {
    /// None once it takes no more requests: when everything on it has ended, it does.
    send: RefCell<Option<SendRequest<Bytes>>>,
    census: Rc<Census>,
    lanes: Cell<usize>,
    opened: Moment,
    idle_since: Cell<Moment>,
    /// Requests it has carried.
    requests: Cell<u64>,
    /// The client connection that it is for: the backend was told whose it is. None if it may carry anybody's requests.
    owner: Option<Weak<Mark>>,
}

impl fmt::Debug for Trunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trunk")
            .field("lanes", &self.lanes)
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

/// The head of a request, and what comes with it.
pub(crate) struct Asked {
    pub(crate) request: Request<()>,
    /// No content follows.
    pub(crate) last: bool,
    /// It asks for a WebSocket, and this is what answers the key that the client has sent.
    pub(crate) socket: Option<String>,
}

/// What a trunk has to say to a request.
pub(super) enum Boarding {
    /// The request is on its way.
    Taken(Box<Lane>),
    /// It takes no more requests; this one has not been sent.
    Full,
    /// The request cannot be said in HTTP/2.
    Refused(ProxyError),
}

impl Trunk {
    /// Begins HTTP/2 on a connection, and waits until the backend has said what it allows: whoever does not speak HTTP/2 is
    /// found out by that, and nobody sends more than is taken. A task of its own drives it from then on.
    ///
    /// # Errors
    /// If the backend does not speak HTTP/2, or the connection breaks.
    pub(super) async fn begin(upstream: Upstream, worker: &Worker) -> Result<Rc<Self>, ProxyError> {
        let Upstream { stream, opened, owner, .. } = upstream;
        let census = Rc::new(Census::of_backend(clock::now()));
        let out = Rc::new(Outbox::new(stream, worker.spare.buffer()));
        let wire = Wire::new(out.clone(), worker.spare.buffer(), census.clone());
        let (send, mut connection) =
            settings().handshake(wire).await.map_err(|error| unspoken(error, &census))?;
        poll_fn(|cx| {
            let ended = Pin::new(&mut connection).poll(cx);
            if let Poll::Ready(Err(error)) = out.poll_flush(cx) {
                return Poll::Ready(Err(ProxyError::from_backend(&error)));
            }
            match ended {
                Poll::Ready(Ok(())) => Poll::Ready(Err(Cause::BackendClosed.into())),
                Poll::Ready(Err(error)) => Poll::Ready(Err(unspoken(error, &census))),
                Poll::Pending if census.is_settled() => Poll::Ready(Ok::<_, ProxyError>(())),
                Poll::Pending => Poll::Pending,
            }
        })
        .await?;
        let trunk = Rc::new(Self {
            send: RefCell::new(Some(send)),
            census,
            lanes: Cell::new(0),
            opened,
            idle_since: Cell::new(clock::now()),
            requests: Cell::new(0),
            owner,
        });
        drop(tokio::task::spawn_local(trunk.clone().drive(connection, out)));
        Ok(trunk)
    }

    /// Drives it to its end.
    async fn drive(self: Rc<Self>, mut connection: Driven, out: Rc<Outbox<Stream>>) {
        poll_fn(|cx| {
            let ended = Pin::new(&mut connection).poll(cx);
            // Once for all that was said.
            let broken = matches!(out.poll_flush(cx), Poll::Ready(Err(_)));
            // A backend that does nothing but talk about the connection is not listened to any longer.
            if ended.is_ready() || broken || self.census.exceeded().is_some() || self.census.fault().is_some()
            {
                return Poll::Ready(());
            }
            if self.census.is_told_to_go() {
                self.retire();
            }
            Poll::Pending
        })
        .await;
        self.retire();
    }

    /// Takes no more requests from now on. What is under way goes on to its end, and then the connection is closed.
    pub(super) fn retire(&self) {
        drop(self.send.borrow_mut().take());
    }

    /// True if it takes no more requests.
    pub(super) fn is_retired(&self) -> bool {
        self.send.borrow().is_none()
    }

    /// True if nothing is under way on it.
    pub(super) fn is_idle(&self) -> bool {
        self.lanes.get() == 0
    }

    /// How many requests it may have under way at once.
    pub(super) fn most(&self) -> usize {
        let send = self.send.borrow();
        send.as_ref().map_or(0, |send| send.current_max_send_streams().min(MOST_LANES))
    }

    /// True if it can take a request now.
    pub(super) fn has_room(&self) -> bool {
        self.lanes.get() < self.most()
    }

    /// True if it has served as long or as much as it may, or has been idle for too long.
    pub(super) fn is_worn(&self, keepalive: &Keepalive, now: Moment) -> bool {
        now.since(self.opened) >= keepalive.max_age
            || self.requests.get() >= keepalive.max_requests.min(MOST_REQUESTS)
            || self.is_idle() && now.since(self.idle_since.get()) >= keepalive.idle
    }

    /// True if it may carry requests of this client connection; `None` is anybody.
    pub(super) fn serves(&self, owner: Option<&Rc<Mark>>) -> bool {
        match (&self.owner, owner) {
            (None, None) => true,
            (Some(own), Some(owner)) => own.as_ptr() == Rc::as_ptr(owner),
            _ => false,
        }
    }

    /// True if the client connection that it is for has ended.
    pub(super) fn is_orphaned(&self) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.strong_count() == 0)
    }

    /// Sends the head of a request.
    pub(super) fn board(self: &Rc<Self>, asked: Asked) -> Boarding {
        let Asked { request, last, socket } = asked;
        // One of its own for each request: the crate makes each wait for the one before it otherwise.
        let Some(mut send) = self.send.borrow().clone() else { return Boarding::Full };
        match send.send_request(request, last) {
            Ok((answer, content)) => {
                self.lanes.set(self.lanes.get() + 1);
                let reused = self.requests.get() > 0;
                self.requests.set(self.requests.get() + 1);
                let channel = Channel::default();
                channel.open_outgoing(content);
                let answer = RefCell::new(Some(answer));
                if !last {
                    channel.keep_sent();
                }
                Boarding::Taken(Box::new(Lane { channel, answer, trunk: self.clone(), reused, socket }))
            }
            Err(error) if error.is_go_away() || error.is_io() || error.get_io().is_some() => {
                self.retire();
                Boarding::Full
            }
            Err(error) => {
                let detail = format!("the request cannot be said in HTTP/2: {error}").into();
                Boarding::Refused(ProxyError { cause: Cause::BackendNoH2, detail })
            }
        }
    }

    /// True if the backend takes WebSockets by RFC 8441.
    pub(crate) fn takes_sockets(&self) -> bool {
        self.send.borrow().as_ref().is_some_and(SendRequest::is_extended_connect_protocol_enabled)
    }
}

/// What is said to a backend.
fn settings() -> Builder {
    let mut settings = Builder::new();
    settings
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MOST_HEAD)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAMES)
        .enable_push(false);
    settings
}

/// What DATA frames of a few bytes that nobody has taken yet may cost beyond their content: messages of gRPC are often that small,
/// and as many of them as the window of the connection holds are nobody's fault.
const SMALL_FRAMES: usize = 32 * 1024 * 1024;

/// Why no HTTP/2 came about.
fn unspoken(error: h2::Error, census: &Census) -> ProxyError {
    if census.is_settled() {
        return BrokenOff::from(error).error;
    }
    match error.get_io() {
        Some(io) if io.kind() != io::ErrorKind::UnexpectedEof => ProxyError::from_backend(io),
        _ => {
            let detail = format!("it was spoken to in HTTP/2, and its answer is none: {error}").into();
            ProxyError { cause: Cause::BackendNoH2, detail }
        }
    }
}

/// One request on a trunk, and its answer.
pub(crate) struct Lane {
    /// Where its content goes to and comes from; first, so that it is let go of before the lane is free.
    pub(crate) channel: Channel,
    answer: RefCell<Option<ResponseFuture>>,
    trunk: Rc<Trunk>,
    /// The trunk had carried requests before.
    pub(crate) reused: bool,
    /// What answers the key of a WebSocket, if one was asked for.
    socket: Option<String>,
}

impl Drop for Lane {
    fn drop(&mut self) {
        let trunk = &self.trunk;
        trunk.lanes.set(trunk.lanes.get() - 1);
        trunk.idle_since.set(clock::now());
    }
}

impl Lane {
    /// The next head of an answer, an interim one or the final one, written as the text of an HTTP/1.1 head. With the final
    /// one, the content can be taken from the channel.
    pub(crate) fn poll_head(&self, cx: &mut Context<'_>, text: &mut Vec<u8>) -> Poll<Result<(), BrokenOff>> {
        let mut slot = self.answer.borrow_mut();
        let Some(answer) = &mut *slot else {
            return Poll::Ready(Err(BrokenOff { error: Cause::BackendClosed.into(), unprocessed: false }));
        };
        match answer.poll_informational(cx) {
            Poll::Ready(Some(Ok(interim))) => {
                head::write_response(&interim, None, text);
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(self.broken_off(error))),
            Poll::Ready(None) | Poll::Pending => {}
        }
        match ready!(Pin::new(answer).poll(cx)) {
            Ok(response) => {
                *slot = None;
                let (parts, content) = response.into_parts();
                self.channel.open_incoming(content);
                head::write_response(&Response::from_parts(parts, ()), self.socket.as_deref(), text);
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                *slot = None;
                Poll::Ready(Err(self.broken_off(error)))
            }
        }
    }

    /// Why there will be no answer.
    fn broken_off(&self, error: h2::Error) -> BrokenOff {
        match self.trunk.census.exceeded() {
            Some(flood) => {
                let detail = format!("{flood}: the connection was ended").into();
                let error = ProxyError { cause: Cause::BackendBadResponse, detail };
                BrokenOff { error, unprocessed: false }
            }
            None => error.into(),
        }
    }
}

/// Why there is no answer on a lane.
#[derive(Debug)]
pub(crate) struct BrokenOff {
    pub(crate) error: ProxyError,
    /// The backend has said that it has not looked at the request, which can be sent elsewhere whatever it is (RFC 9113
    /// section 8.7).
    pub(crate) unprocessed: bool,
}

impl From<h2::Error> for BrokenOff {
    fn from(error: h2::Error) -> Self {
        // Of a connection that the backend ends, only those streams learn it that the backend will not look at.
        let told = error.is_remote() && error.is_go_away();
        let refused = error.is_remote() && error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        if let Some(io) = error.get_io() {
            // The end of the connection is told as if we had ended it.
            let closed = matches!(io.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof);
            let error = if closed { Cause::BackendClosed.into() } else { ProxyError::from_backend(io) };
            return Self { error, unprocessed: false };
        }
        let reason = error.reason();
        let name = reason.map_or_else(|| error.to_string(), |reason| format!("{reason:?}"));
        let (cause, detail) = match (error.is_remote(), error.is_go_away()) {
            (true, true) => (Cause::BackendReset, format!("the connection is on its way out, with {name}")),
            (true, false) => (Cause::BackendReset, format!("the stream was reset with {name}")),
            (false, _) => (Cause::BackendBadResponse, format!("it breaks the rules of HTTP/2: {name}")),
        };
        Self { error: ProxyError { cause, detail: detail.into() }, unprocessed: told || refused }
    }
}
