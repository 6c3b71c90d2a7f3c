//! One request and its answer, from the first byte to the one record that it leaves.

use std::rc::Rc;

use weir_model::{listener::ListenerLimits, pool::Bond, route::Route, time::Moment};

use super::{
    decide::Plan,
    grpc::Call,
    kept::Kept,
    request::{BodyLength, RequestHead, is_alien},
    serve::{After, NoHead, Served, read_head, too_large},
    tunnel::Tunnel,
};
use crate::{
    buffer::Buffer,
    choose::PoolState,
    clock,
    conn::Conn,
    duplex::Duplex,
    error::{Cause, ProxyError},
    http2::Channel,
    telemetry::Work,
    timer::Timer,
    upstream::Hold,
    view::Held,
};

/// One exchange under way, and what is known of it for its record.
pub(crate) struct Exchange<'c> {
    pub(crate) conn: &'c Conn,
    /// Who asks: the connection, or a stream of it.
    pub(crate) client: Duplex<'c>,
    pub(crate) timer: &'c Timer,
    /// Of the snapshot it keeps this, its pool, and nothing else.
    pub(crate) listener: Held,
    /// Where its route stands in the listener's table.
    pub(crate) route: Option<usize>,
    /// What the backend gets, or the fields of our own answer.
    pub(crate) text: Vec<u8>,
    pub(crate) asked: Asked,
    /// When its head was there, in microseconds.
    pub(crate) started: u64,
    /// Bytes that the client sent: its head, and what was passed on of the body.
    pub(crate) came: u64,
    /// Those of them that the listener has counted.
    pub(super) counted: u64,
    /// How long it has been worked on.
    pub(crate) work: Work,
    /// Its method and target, for the record; empty if they stand in `text`, as they are sent to the backend.
    pub(super) request_line: Vec<u8>,
    pub(crate) pool: Option<Rc<PoolState>>,
    /// Of the key that the pool places it by; unused if it has none.
    pub(super) hash: u64,
    /// What its client is bound to by a cookie, if the pool has sticky sessions.
    pub(super) bond: Option<Bond>,
    /// The answer binds the client to the backend that it comes from.
    pub(super) binds: bool,
    /// Which arm of a split it goes to; 0 for every other action.
    pub(super) arm: usize,
    pub(crate) backend: Option<usize>,
    /// What it holds of the pool while a backend is asked; dropped after the backend's count went down.
    pub(super) hold: Option<Hold>,
    /// Both sides have agreed on another protocol: what is left to do is to carry bytes.
    pub(crate) tunnel: Option<Box<Tunnel>>,
    /// When it has to be complete; [`Moment::NEVER`] unless the route says so.
    pub(crate) deadline: Moment,
    /// When the current attempt has to have its answer, if that is sooner.
    pub(crate) until: Moment,
    /// The client has ended its direction and may still wait for the answer.
    pub(crate) half_closed: bool,
    /// What the client was told; 0 until then.
    pub(crate) status: u16,
    /// The status that it ended with as a call of gRPC; none until then, and for whatever is no such call.
    pub(crate) grpc_status: Option<u8>,
    /// What is kept of the request, if the log or values in the response ask for it.
    pub(super) kept: Option<Box<Kept>>,
}

/// What has to be known of a request after its head has been sent on.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Its method is HEAD.
    pub(crate) head: bool,
    /// The client speaks HTTP/1.0.
    pub(crate) http10: bool,
    pub(crate) keep_alive: bool,
    /// The route lets the same request be sent twice.
    pub(crate) repeatable: bool,
    pub(crate) expects_continue: bool,
    pub(crate) body: BodyLength,
    /// The protocol it asked to switch to.
    pub(crate) upgrade: Option<Vec<u8>>,
    /// It asked for a tunnel.
    pub(crate) connect: bool,
    /// The call of gRPC that it is.
    pub(crate) call: Option<Call>,
}

impl Asked {
    /// What a head asks for, which has been judged.
    #[inline]
    pub(super) fn of(request: &RequestHead, head: &[u8]) -> Self {
        Self {
            head: request.method.of(head) == b"HEAD",
            http10: request.http10,
            keep_alive: request.keep_alive,
            repeatable: request.idempotent,
            expects_continue: request.expects_continue,
            body: request.body,
            upgrade: request.upgrade.map(|asked| asked.of(head).to_vec()),
            connect: request.connect,
            call: None,
        }
    }
}

/// How an exchange ended.
pub(crate) struct Ended {
    pub(crate) after: After,
    pub(crate) error: Option<ProxyError>,
}

impl Ended {
    pub(crate) const fn well(after: After) -> Self {
        Self { after, error: None }
    }
}

/// What looks like a request, and begins HTTP/2 (RFC 9113 section 3.4). The rest of it is judged with the frames.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// Serves one exchange: reads the head, decides, forwards or answers, records.
pub(crate) async fn exchange(conn: &Conn, input: &mut Buffer, served: &mut Served) -> After {
    let (mut view, mut listener) = conn.scene();
    let room = &conn.worker.room;
    let begun = clock::micros();
    let mut request = room.requests.take();
    let mut head = read_head(conn, &listener, input, &mut request, served).await;
    if let Err(nothing @ (NoHead::Closed | NoHead::LineEnds)) = head {
        room.requests.give(request);
        return if let NoHead::Closed = nothing { After::Close } else { After::Keep };
    }
    if !std::mem::replace(served, Served::ASKED).any
        && let Err(NoHead::Bad(error)) = &mut head
    {
        if error.cause == Cause::ClientBadVersion && input.filled().starts_with(PREFACE) {
            room.requests.give(request);
            return After::Multiplex;
        }
        if error.cause == Cause::ClientBadRequestLine && is_alien(input.filled()) {
            *error = Cause::ClientNotHttp.into();
        }
    }
    // Somebody may connect long before they ask, and what was there then may be gone.
    if conn.worker.is_behind(&view) {
        (view, listener) = conn.scene();
    }
    let mut exchange = Exchange::new(conn, Duplex::Bytes(&conn.stream), &conn.timer, listener);
    if exchange.listener.access_log.is_some() {
        let bytes = head.as_ref().map_or(input.filled(), |length| input.part(0..*length));
        exchange.keep(bytes, head.is_ok(), begun);
    }
    let plan = match head {
        Ok(length) => {
            let plan = exchange.take_head(&view, input.filled().split_at(length), &mut request, begun);
            input.consume(length);
            plan
        }
        Err(NoHead::Bad(error)) => {
            exchange.request_line = first_line(input.filled());
            exchange.came = input.len() as u64;
            Err(error)
        }
        Err(NoHead::Closed | NoHead::LineEnds) => Err(Cause::ClientAborted.into()),
    };
    room.requests.give(request);
    drop(view);
    let ended = match plan {
        Ok(Plan::Forward(pool)) => exchange.forward(input, pool).await,
        Ok(Plan::Answer) => Box::pin(exchange.answer(input)).await,
        Ok(Plan::Prove(proof)) => Box::pin(exchange.prove(input, &proof)).await,
        Ok(Plan::Last) => Box::pin(exchange.answer_as_last(input)).await,
        Err(error) => Box::pin(exchange.turn_away(error, input)).await,
    };
    exchange.record(ended)
}

/// Serves one stream, whose head has been written as this text.
pub(crate) async fn exchange_stream(
    conn: &Conn,
    channel: &Channel,
    timer: &Timer,
    (text, written): (Vec<u8>, Result<(), ProxyError>),
) -> After {
    let (view, listener) = conn.scene();
    let room = &conn.worker.room;
    let begun = clock::micros();
    let mut request = room.requests.take();
    let mut exchange = Exchange::new(conn, Duplex::Frames(channel), timer, listener);
    let ListenerLimits { headers, header_bytes, .. } = exchange.listener.limits;
    let fits = if text.len() > header_bytes { Err(too_large(&text, header_bytes)) } else { Ok(()) };
    let parsed = written.and(fits);
    let parsed = parsed.and_then(|()| request.parse_stream(&text, headers, channel.has_content()));
    if exchange.listener.access_log.is_some() {
        exchange.keep(&text, parsed.is_ok(), begun);
    }
    let plan = match parsed {
        Ok(()) => exchange.take_head(&view, (&text, b""), &mut request, begun),
        Err(error) => {
            exchange.request_line = first_line(&text);
            exchange.came = text.len() as u64;
            Err(error)
        }
    };
    room.requests.give(request);
    room.give_text(text);
    drop(view);
    let mut input = conn.worker.spare.buffer();
    let ended = match plan {
        Ok(Plan::Forward(pool)) => exchange.forward(&mut input, pool).await,
        Ok(Plan::Answer) => Box::pin(exchange.answer(&mut input)).await,
        Ok(Plan::Prove(proof)) => Box::pin(exchange.prove(&mut input, &proof)).await,
        Ok(Plan::Last) => Box::pin(exchange.answer_as_last(&mut input)).await,
        Err(error) => Box::pin(exchange.turn_away(error, &mut input)).await,
    };
    exchange.record(ended)
}

/// True if there is nothing wrong with the request but that nobody serves it here.
const fn is_unwanted(cause: Cause) -> bool {
    matches!(cause, Cause::NoRoute | Cause::ClientDenied | Cause::ClientMisdirectedHost)
}

impl<'c> Exchange<'c> {
    /// One of which nothing is known yet.
    #[inline]
    fn new(conn: &'c Conn, client: Duplex<'c>, timer: &'c Timer, listener: Held) -> Self {
        Self {
            conn,
            client,
            timer,
            listener,
            route: None,
            text: conn.worker.room.texts.take(),
            asked: Asked::default(),
            started: clock::micros(),
            came: 0,
            counted: 0,
            work: conn.worker.overhead.begin(),
            request_line: Vec::new(),
            pool: None,
            hash: 0,
            bond: None,
            binds: false,
            arm: 0,
            backend: None,
            hold: None,
            tunnel: None,
            deadline: Moment::NEVER,
            until: Moment::NEVER,
            half_closed: false,
            status: 0,
            grpc_status: None,
            kept: None,
        }
    }

    /// Says why there will be nothing else.
    async fn turn_away(&mut self, error: ProxyError, input: &mut Buffer) -> Ended {
        // A well-formed request that nobody wants leaves the connection as it was.
        let wanted = !is_unwanted(error.cause);
        let after = if wanted { After::Linger } else { self.after_own_answer(input) };
        self.refuse(error, after).await
    }

    /// The route that took the request.
    pub(crate) fn route(&self) -> Option<&Route> {
        self.route.map(|number| &*self.listener.routes.routes()[number])
    }
}

/// The first line of a head.
pub(super) fn first_line(head: &[u8]) -> Vec<u8> {
    head[..memchr::memchr(b'\r', head).unwrap_or(head.len())].to_vec()
}
