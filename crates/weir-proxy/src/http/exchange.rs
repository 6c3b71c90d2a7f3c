//! One request and its answer, from the first byte to the one record that it leaves.

use std::{net::IpAddr, rc::Rc, sync::Arc};

use weir_model::{
    listener::Listener,
    pool::Bond,
    route::{Action, RetryMethods, Route},
    time::Moment,
};

use super::{
    chunked::ChunkDecoder,
    grpc::{self, Call},
    kept::Kept,
    lines::Span,
    names::{Name, members},
    reply,
    request::{BodyLength, Facts, RequestHead, is_alien},
    serve::{After, NoHead, read_head},
    tunnel::Tunnel,
    write::{Client, write_request},
};
use crate::{
    buffer::Buffer,
    choose::PoolState,
    clock,
    conn::Conn,
    duplex::Duplex,
    error::{Cause, ProxyError},
    http2::Channel,
    telemetry::{Record, Work},
    timer::Timer,
    upstream::Hold,
    view::{Held, View},
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

/// What is to be done with a judged request.
enum Plan {
    /// Forward it to a backend of this pool.
    Forward(Rc<PoolState>),
    /// Answer it here, as its route says.
    Answer,
    /// An authority that issues certificates asks for a proof: this is it.
    Prove(Arc<str>),
    /// It may be passed on no more: say that it has come so far.
    Last,
}

/// What looks like a request, and begins HTTP/2 (RFC 9113 section 3.4). The rest of it is judged with the frames.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// Serves one exchange: reads the head, decides, forwards or answers, records.
pub(crate) async fn exchange(conn: &Conn, input: &mut Buffer, first: bool) -> After {
    let (mut view, mut listener) = conn.scene();
    let room = &conn.worker.room;
    let begun = clock::micros();
    let mut request = room.requests.take();
    let mut head = read_head(conn, &listener, input, &mut request, first).await;
    if matches!(head, Err(NoHead::Closed)) {
        room.requests.give(request);
        return After::Close;
    }
    if first && let Err(NoHead::Bad(error)) = &mut head {
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
            Err(error)
        }
        Err(NoHead::Closed) => Err(Cause::ClientAborted.into()),
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
    let most = exchange.listener.limits.headers;
    let parsed = written.and_then(|()| request.parse_stream(&text, most, channel.has_content()));
    if exchange.listener.access_log.is_some() {
        exchange.keep(&text, parsed.is_ok(), begun);
    }
    let plan = match parsed {
        Ok(()) => exchange.take_head(&view, (&text, b""), &mut request, begun),
        Err(error) => {
            exchange.request_line = first_line(&text);
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

    /// Decides on a head, behind which this has come already.
    #[inline]
    fn take_head(
        &mut self,
        view: &View,
        (head, early): (&[u8], &[u8]),
        request: &mut Box<RequestHead>,
        begun: u64,
    ) -> Result<Plan, ProxyError> {
        let plan = self.decide(view, head, early, request, begun);
        self.came = head.len() as u64;
        if let Some(kept) = &mut self.kept {
            std::mem::swap(&mut kept.request, request);
        }
        plan
    }

    /// Says why there will be nothing else.
    async fn turn_away(&mut self, error: ProxyError, input: &mut Buffer) -> Ended {
        // A well-formed request that nobody wants leaves the connection as it was.
        let wanted = !is_unwanted(error.cause);
        let after = if wanted { After::Linger } else { self.after_own_answer(input) };
        self.refuse(error, after).await
    }

    /// Judges the head and what has already come of the body, and finds the route. Nothing has been sent to anybody
    /// before this has said yes. Leaves what the backend will get, or the fields of our own answer, in `text`.
    fn decide(
        &mut self,
        view: &View,
        head: &[u8],
        body: &[u8],
        request: &mut RequestHead,
        begun: u64,
    ) -> Result<Plan, ProxyError> {
        let judged = request.judge(head, &self.listener);
        self.asked = Asked {
            head: request.method.of(head) == b"HEAD",
            http10: request.http10,
            keep_alive: request.keep_alive,
            repeatable: request.idempotent,
            expects_continue: request.expects_continue,
            body: request.body,
            upgrade: request.upgrade.map(|asked| asked.of(head).to_vec()),
            connect: request.connect,
            call: None,
        };
        judged.inspect_err(|_| self.request_line = first_line(head))?;
        if self.client.is_stream()
            && let Some(call) = grpc::call(request, head)
        {
            self.begin_call(call);
        }
        if self.listener.proofs.are_any()
            && let Some(proof) = self.proof(head, request)
        {
            return Ok(Plan::Prove(proof));
        }
        let decision = judge_body(request, body, self.listener.limits.body).and_then(|()| {
            let (source, trusted) = source(&self.listener, request, head, self.conn.peer.ip());
            if let Some(kept) = &mut self.kept {
                let wanted = self.listener.access_log.as_ref().is_some_and(|log| log.shows_request_id);
                kept.sound = true;
                kept.identify(self.conn, request, (source, trusted), wanted);
            }
            if !self.listener.access.is_open() && !self.listener.access.admits(source) {
                return Err(Cause::ClientDenied.into());
            }
            // The host at the end of a tunnel is none that this listener proves to be.
            if !request.connect && self.conn.is_misdirected(&request.host) {
                return Err(Cause::ClientMisdirectedHost.into());
            }
            let facts = Facts { head: request, bytes: head, source, tls: self.conn.tls() };
            let route = self.listener.routes.position(&facts).ok_or(ProxyError::new(Cause::NoRoute))?;
            if request.is_refused_by(&self.listener.routes.routes()[route]) {
                return Err(Cause::ClientMethodRefused.into());
            }
            Ok((route, source, trusted))
        });
        let (number, source, trusted) = decision.inspect_err(|_| self.request_line = first_line(head))?;
        self.route = Some(number);
        let route = &*self.listener.routes.routes()[number];
        self.asked.repeatable = match &route.retry.methods {
            RetryMethods::Idempotent => request.idempotent,
            RetryMethods::All => true,
            RetryMethods::These(methods) => {
                methods.iter().any(|name| name.as_bytes() == request.method.of(head))
            }
        };
        self.deadline = self.deadline.min(clock::now() + route.timeout);
        let plan = match &route.action {
            Action::Pool(_) | Action::Split(_) if request.hops == Some(0) => Plan::Last,
            Action::Pool(pool) => Plan::Forward(view.pools[*pool].clone()),
            Action::Split(split) => {
                self.arm = split.pick(self.conn.worker.draw());
                Plan::Forward(view.pools[split.arms[self.arm].0].clone())
            }
            Action::Redirect(_) | Action::Respond(_) => Plan::Answer,
        };
        if let Plan::Forward(pool) = &plan {
            self.request_line.clear();
            self.pool = Some(pool.clone());
            if let Some(key) = &pool.pool.balance.key {
                let facts = Facts { head: request, bytes: head, source, tls: self.conn.tls() };
                self.hash = key.of_request(&facts, || self.conn.flow()).hash;
            }
            if let Some(sticky) = &pool.pool.sticky {
                self.bond = sticky.bond(&Facts { head: request, bytes: head, source, tls: self.conn.tls() });
            }
        } else {
            self.request_line = first_line(head);
        }
        let (expect, bridges) = (request.expects_continue && body.is_empty(), route.grpc_web);
        if route.has_variables {
            self.keep_for_values(head, request, (source, trusted), begun);
            self.write_with_values(&plan, (head, request), (trusted, expect));
        } else {
            self.text.clear();
            write(&mut self.text, self.conn, &plan, (head, request), route, (trusted, expect), None);
        }
        if bridges {
            self.bridge();
        }
        Ok(plan)
    }

    /// What an authority that issues certificates asks for, before any route and whoever it is: it has to be known to be asked
    /// for.
    #[cold]
    fn proof(&mut self, head: &[u8], request: &RequestHead) -> Option<Arc<str>> {
        let asks = matches!(request.method.of(head), b"GET" | b"HEAD") && self.listener.tls.is_none();
        let path = request.path.of(head);
        let proof = self.listener.proofs.at_path(path).filter(|_| asks)?;
        self.request_line = first_line(head);
        Some(proof)
    }

    /// Writes what names facts of the exchange.
    #[cold]
    fn write_with_values(
        &mut self,
        plan: &Plan,
        message: (&[u8], &RequestHead),
        (trusted, expect): (bool, bool),
    ) {
        let (Some(kept), Some(route)) = (&self.kept, self.route()) else { return };
        let mut text = Vec::new();
        self.known(kept, message.1, |known| {
            write(&mut text, self.conn, plan, message, route, (trusted, expect), Some(&known));
        });
        self.text = text;
    }

    /// The route that took the request.
    pub(crate) fn route(&self) -> Option<&Route> {
        self.route.map(|number| &*self.listener.routes.routes()[number])
    }
}

/// Writes what the backend will get, or the fields of our own answer.
#[inline]
fn write(
    out: &mut Vec<u8>,
    conn: &Conn,
    plan: &Plan,
    (head, request): (&[u8], &RequestHead),
    route: &Route,
    (trusted, expect): (bool, bool),
    known: Option<&Record<'_>>,
) {
    let local = if request.authority == Span::default() { local(conn) } else { String::new() };
    if let Plan::Answer = plan {
        let secure = conn.is_secure();
        return reply::write_answer(out, head, request, route, (secure, local.as_bytes(), known));
    }
    let client = Client {
        forwarded_for: conn.forwarded_for().as_bytes(),
        local: local.as_bytes(),
        secure: conn.is_secure(),
        trusted,
        known,
    };
    write_request(out, head, request, route, client, expect);
}

/// The address that the client connected to.
fn local(conn: &Conn) -> String {
    conn.stream.local_address().map(|address| address.to_string()).unwrap_or_default()
}

/// The first line of a head.
pub(super) fn first_line(head: &[u8]) -> Vec<u8> {
    head[..memchr::memchr(b'\r', head).unwrap_or(head.len())].to_vec()
}

/// Judges what has come of the body together with the head: a request that will have to be refused must not reach a
/// backend at all.
fn judge_body(request: &RequestHead, body: &[u8], limit: u64) -> Result<(), ProxyError> {
    if request.body != BodyLength::Chunked || body.is_empty() {
        return Ok(());
    }
    match ChunkDecoder::default().check(body) {
        Ok(content) if content > limit => Err(Cause::ClientBodyTooLarge.into()),
        Ok(_) => Ok(()),
        Err(_) => Err(Cause::ClientBadChunk.into()),
    }
}

/// The client's address after trust was applied, and whether the peer is trusted. Only what trusted proxies wrote is
/// believed: X-Forwarded-For is read from its end, up to the first address that is not one of theirs.
pub(super) fn source(
    listener: &Listener,
    request: &RequestHead,
    head: &[u8],
    peer: IpAddr,
) -> (IpAddr, bool) {
    let trusted = &listener.trusted_proxies;
    let peer = peer.to_canonical();
    if trusted.is_empty() || !trusted.contains(peer) {
        return (peer, false);
    }
    let mut source = peer;
    let fields = request.lines.of_kind(Name::ForwardedFor).rev();
    for field in fields {
        let said: Vec<_> = members(field.value.of(head)).collect();
        for member in said.into_iter().rev() {
            let Some(address) = parse_address(member) else { return (source, true) };
            source = address;
            if !trusted.contains(address) {
                return (source, true);
            }
        }
    }
    (source, true)
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    bare.or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}
