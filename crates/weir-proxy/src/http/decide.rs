//! What is to be done with a request: its head is judged, and what has come of the body, and its route found. Nothing has been
//! sent to anybody before that.

use std::{net::IpAddr, rc::Rc, sync::Arc};

use weir_model::{
    listener::Listener,
    route::{Action, RetryMethods, Route},
};

use super::{
    chunked::{BadChunk, ChunkDecoder},
    exchange::{Asked, Exchange, first_line},
    grpc,
    lines::Span,
    names::{Name, members},
    reply,
    request::{BodyLength, Facts, RequestHead},
    write::{Client, write_request},
};
use crate::{
    choose::PoolState,
    clock,
    conn::Conn,
    error::{Cause, ProxyError},
    telemetry::Record,
    view::View,
};

/// What is to be done with a judged request.
pub(super) enum Plan {
    /// Forward it to a backend of this pool.
    Forward(Rc<PoolState>),
    /// Answer it here, as its route says.
    Answer,
    /// An authority that issues certificates asks for a proof: this is it.
    Prove(Arc<str>),
    /// It may be passed on no more: say that it has come so far.
    Last,
}

/// Where a request belongs, and whose it is.
struct Found {
    /// Of the route in the listener's table.
    number: usize,
    /// The client's address after trust was applied.
    source: IpAddr,
    /// The peer is a trusted proxy.
    trusted: bool,
}

impl Exchange<'_> {
    /// Decides on a head, behind which this has come already.
    #[inline]
    pub(super) fn take_head(
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
        self.asked = Asked::of(request, head);
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
        let found = self.find_route((head, body), request);
        let Found { number, source, trusted } =
            found.inspect_err(|_| self.request_line = first_line(head))?;
        let plan = self.plan(view, number, (head, request));
        if let Plan::Forward(pool) = &plan {
            self.request_line.clear();
            self.place(pool, &Facts { head: request, bytes: head, source, tls: self.conn.tls() });
        } else {
            self.request_line = first_line(head);
        }
        let route = &*self.listener.routes.routes()[number];
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

    /// The route that takes the request, if it may come in at all.
    #[inline]
    fn find_route(
        &mut self,
        (head, body): (&[u8], &[u8]),
        request: &mut RequestHead,
    ) -> Result<Found, ProxyError> {
        judge_body(request, body, self.listener.limits.body)?;
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
        let number = self.listener.routes.position(&facts).ok_or(ProxyError::new(Cause::NoRoute))?;
        if request.is_refused_by(&self.listener.routes.routes()[number]) {
            return Err(Cause::ClientMethodRefused.into());
        }
        Ok(Found { number, source, trusted })
    }

    /// What the route of this number has done with the request.
    #[inline]
    fn plan(&mut self, view: &View, number: usize, (head, request): (&[u8], &RequestHead)) -> Plan {
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
        match &route.action {
            Action::Pool(_) | Action::Split(_) if request.is_last() => Plan::Last,
            Action::Pool(pool) => Plan::Forward(view.pools[*pool].clone()),
            Action::Split(split) => {
                self.arm = split.pick(self.conn.worker.draw());
                Plan::Forward(view.pools[split.arms[self.arm].0].clone())
            }
            Action::Redirect(_) | Action::Respond(_) => Plan::Answer,
        }
    }

    /// What the pool places the request by: its key, and what its client is bound to.
    #[inline]
    fn place(&mut self, pool: &Rc<PoolState>, facts: &Facts<'_>) {
        self.pool = Some(pool.clone());
        if let Some(key) = &pool.pool.balance.key {
            self.hash = key.of_request(facts, || self.conn.flow()).hash;
        }
        if let Some(sticky) = &pool.pool.sticky {
            self.bond = sticky.bond(facts);
        }
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

/// Judges what has come of the body together with the head: a request that will have to be refused must not reach a
/// backend at all.
fn judge_body(request: &RequestHead, body: &[u8], limit: u64) -> Result<(), ProxyError> {
    if request.body != BodyLength::Chunked || body.is_empty() {
        return Ok(());
    }
    match ChunkDecoder::default().check(body) {
        Ok(content) if content > limit => Err(Cause::ClientBodyTooLarge.into()),
        Ok(_) => Ok(()),
        Err(BadChunk(how)) => Err(ProxyError::with(Cause::ClientBadChunk, how)),
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
