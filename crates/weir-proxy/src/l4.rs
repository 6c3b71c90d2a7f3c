//! TCP connections of any protocol: a backend is chosen once, and bytes go both ways until both ends have finished.

use std::{rc::Rc, sync::Arc};

use weir_model::{
    log::AccessLog,
    pool::{Pool, PoolIndex},
    route::{Action, Route},
    status::BackendStatus,
    time::{Millis, Moment},
};

use crate::{
    buffer::Buffer,
    choose::{Found, InFlight, PoolState, Search},
    clock,
    conn::Conn,
    duplex::Duplex,
    error::{Cause, ProxyError},
    relay::{Carried, relay},
    telemetry::{Attempt, Failure, Outcome, Record, write_line},
    tls::Carries,
    upstream::{Errand, Hold, Permit, Upstream, connect, introduction},
    view::{Held, View},
};

/// Backends tried until one accepts a connection.
const MOST_ATTEMPTS: usize = 3;

/// What the record of a connection names. A connection may outlive many snapshots: it keeps no more of them than this.
struct Passed {
    listener: Arc<str>,
    route: Option<Arc<Route>>,
    /// Which arm of a split it goes to; 0 for every other action.
    arm: usize,
    pool: Option<Arc<str>>,
    backend: Option<Arc<str>>,
    /// It ended early, but without losing anything.
    orderly: bool,
    /// For the access log, if there is one.
    noted: Option<Box<Noted>>,
}

impl Passed {
    fn new(listener: &Held) -> Self {
        Self {
            listener: listener.name.clone(),
            route: None,
            arm: 0,
            pool: None,
            backend: None,
            orderly: false,
            noted: listener.access_log.clone().map(Noted::new),
        }
    }

    /// Notes what came of the last attempt.
    fn note(&mut self, connected: &Result<Upstream, ProxyError>) {
        let Some(attempt) = self.noted.as_mut().and_then(|noted| noted.attempts.last_mut()) else { return };
        let now = clock::micros();
        match connected {
            Ok(_) => (attempt.connected, attempt.outcome) = (now, Outcome::Answered(0)),
            Err(error) => (attempt.ended, attempt.outcome) = (now, Outcome::Failed(error.cause)),
        }
    }
}

/// What the access log shows of a connection beyond that.
struct Noted {
    log: Arc<AccessLog>,
    pool: Option<Arc<Pool>>,
    attempts: Vec<Attempt>,
    bytes_in: u64,
    bytes_out: u64,
}

impl Noted {
    fn new(log: Arc<AccessLog>) -> Box<Self> {
        Box::new(Self { log, pool: None, attempts: Vec::new(), bytes_in: 0, bytes_out: 0 })
    }
}

/// A connection to a backend, counted as long as this lives. It does not hold on to the snapshot it was made under.
struct Joined {
    upstream: Upstream,
    in_flight: InFlight<Arc<BackendStatus>>,
    /// Let go last, when the backend counts this no more.
    _hold: Option<Hold>,
    _carried: Permit,
}

/// Serves one connection to its end. What has already been read of it is what the backend gets first.
pub(crate) async fn serve(conn: Conn, early: Buffer) {
    let started = clock::micros();
    let (view, listener) = conn.scene();
    let (idle, send_idle) = (listener.timeouts.idle, listener.timeouts.send_idle);
    let mut passed = Passed::new(&listener);
    let joined = Box::pin(join(&conn, view, listener, &mut passed)).await;
    let end = match joined {
        Ok(joined) => carry(&conn, (idle, send_idle), joined, early, &mut passed).await,
        Err(error) => Err(error),
    };
    settle(&conn, passed, started, end);
}

/// Records a connection that does not come to its protocol; if it `breaks`, the client will see a reset.
pub(crate) fn refuse(conn: &Conn, started: u64, error: ProxyError, breaks: bool) {
    let mut passed = Passed::new(&conn.scene().1);
    passed.orderly = !breaks;
    settle(conn, passed, started, Err(error));
}

/// Records what became of a connection.
fn settle(conn: &Conn, mut passed: Passed, started: u64, end: Result<(), ProxyError>) {
    if let Some(route) = &passed.route {
        let counters = route.status[passed.arm].shards.of(conn.worker.index);
        counters.codes.count(0);
        counters.duration.record(clock::micros().saturating_sub(started));
        if let Err(error) = &end {
            counters.failures.count(error.cause as usize);
        }
    } else if let Err(error) = &end {
        let counters = conn.own_counters();
        counters.codes.count(0);
        counters.rejected.count(error.cause as usize);
    }
    if passed.noted.is_some() {
        log(conn, &mut passed, started, end.as_ref().err());
    }
    let Err(error) = end else { return };
    // The client sees a reset, not an orderly end that never was one.
    if !passed.orderly {
        conn.stream.abort();
    }
    conn.worker.journal.fail(Failure {
        error: &error,
        client: conn.peer,
        listener: &passed.listener,
        route: passed.route.as_ref().map_or("", |route| &route.name),
        pool: passed.pool.as_deref().unwrap_or(""),
        backend: passed.backend.as_deref().unwrap_or(""),
        request: b"",
        status: 0,
    });
}

/// Writes the line of this connection. Whatever failed is logged, however small the sample.
#[inline(never)]
fn log(conn: &Conn, passed: &mut Passed, started: u64, error: Option<&ProxyError>) {
    let (Some(noted), Some(lines)) = (&mut passed.noted, &conn.worker.access) else { return };
    let log = noted.log.clone();
    if error.is_none() && !log.sample.is_all() && !log.sample.takes(conn.worker.draw()) {
        return;
    }
    let now = clock::micros();
    if let Some(attempt) = noted.attempts.last_mut().filter(|attempt| attempt.ended == 0) {
        attempt.ended = now;
    }
    let peer = conn.address_text();
    let record = Record {
        began: clock::wall_at(started),
        listener: &passed.listener,
        client: peer,
        peer,
        peer_port: conn.peer.port(),
        tls: conn.tls(),
        request: None,
        request_id: conn.known_identity(),
        route: passed.route.as_ref().map_or("", |route| &route.name),
        pool: noted.pool.as_deref(),
        backend: noted.attempts.last().map(|attempt| attempt.backend),
        response: None,
        status: 0,
        grpc_status: None,
        error,
        attempts: &noted.attempts,
        head_time: 0,
        duration: now.saturating_sub(started),
        bytes_in: noted.bytes_in,
        bytes_out: noted.bytes_out,
        body_bytes_out: noted.bytes_out,
        open: (conn.own_counters().open(), conn.worker.open.get() as u64),
    };
    lines.add(&log, |out| write_line(&log.format, &record, out));
}

/// Finds the route, and connects to a backend of its pool; to another one if the first cannot be connected.
async fn join(
    conn: &Conn,
    view: Rc<View>,
    listener: Held,
    passed: &mut Passed,
) -> Result<Joined, ProxyError> {
    if !listener.access.is_open() && !listener.access.admits(conn.peer.ip()) {
        return Err(Cause::ClientDenied.into());
    }
    let route = listener.routes.find_connection(&conn.facts());
    let route = route.ok_or(ProxyError::new(Cause::NoRoute))?;
    passed.route = Some(route.clone());
    let index: PoolIndex = match &route.action {
        Action::Pool(pool) => *pool,
        Action::Split(split) => {
            passed.arm = split.pick(conn.worker.draw());
            split.arms[passed.arm].0
        }
        Action::Redirect(_) | Action::Respond(_) => return Err(Cause::NoRoute.into()),
    };
    let mut pool: Rc<PoolState> = view.pools[index].clone();
    drop((view, listener));
    passed.pool = Some(pool.pool.name.clone());
    if let Some(noted) = &mut passed.noted {
        noted.pool = Some(pool.pool.clone());
    }
    let key = pool.pool.balance.key.as_ref();
    let hash = key.map_or(0, |key| key.of_connection(conn.peer.ip(), || conn.flow()).hash);
    let carried = Permit::carried(&pool.pool.status);
    let mut tried = Vec::new();
    let mut last: Option<ProxyError> = None;
    while tried.len() < MOST_ATTEMPTS {
        let begun = clock::micros();
        let choice = if pool.queued { None } else { pool.choose(&conn.worker, hash, &tried) };
        let found = match choice {
            Some(backend) => Found { moved: None, backend, counted: false, hold: None },
            None => match find(conn, &pool, hash, &tried).await {
                Ok(found) => found,
                Err(error) => return Err(error.behind(last)),
            },
        };
        let Found { moved, backend, counted, hold } = found;
        if let Some(moved) = moved {
            let places = pool.places_in(&moved);
            tried = tried.into_iter().filter_map(|backend: usize| places[backend]).collect();
            if let Some(noted) = &mut passed.noted {
                noted.attempts.iter_mut().for_each(|attempt| attempt.moved(&pool.pool, &places));
                noted.pool = Some(moved.pool.clone());
            }
            pool = moved;
        }
        let chosen = &pool.pool.backends[backend];
        passed.backend = Some(chosen.name.clone());
        if let Some(last) = &last {
            pool.pool.status.retries.of(conn.worker.index).causes.count(last.cause as usize);
        }
        let in_flight = InFlight::found(chosen.status.clone(), pool.total(), counted);
        let asked = clock::micros();
        if let Some(noted) = &mut passed.noted {
            noted.attempts.push(Attempt { admitted: asked, ..Attempt::new(backend, begun) });
        }
        let introduction = introduction(conn, &pool.pool, b"");
        let errand =
            Errand { worker: &conn.worker, timer: &conn.timer, carries: Carries::Bytes, introduction };
        let connecting = connect(&errand, &pool.pool, chosen, Moment::NEVER);
        let connected = conn.unless_cut(connecting).await;
        passed.note(&connected);
        match connected {
            Ok(upstream) => {
                pool.answered(&conn.worker, backend, 0, clock::micros().saturating_sub(asked));
                pool.ended(&conn.worker, backend, 0, None);
                return Ok(Joined { upstream, in_flight, _hold: hold, _carried: carried });
            }
            Err(error) if error.ends_all() => return Err(error),
            Err(error) => {
                pool.failed(&conn.worker, backend, &error, clock::micros().saturating_sub(asked));
                tried.push(backend);
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or_else(|| pool.nobody()))
}

/// A backend that has to be waited for.
async fn find(conn: &Conn, pool: &Rc<PoolState>, hash: u64, tried: &[usize]) -> Result<Found, ProxyError> {
    let search = Search {
        conn,
        timer: &conn.timer,
        client: Duplex::Bytes(&conn.stream),
        hash,
        bound: None,
        tried,
        again: None,
        until: Moment::NEVER,
    };
    Box::pin(pool.find(search)).await
}

async fn carry(
    conn: &Conn,
    (idle, send_idle): (Millis, Millis),
    joined: Joined,
    early: Buffer,
    passed: &mut Passed,
) -> Result<(), ProxyError> {
    let backend = &joined.upstream.stream;
    let drained = (Duplex::Bytes(backend), &joined.in_flight.drain, conn.own_counters());
    let client = (conn, Duplex::Bytes(&conn.stream), &conn.timer);
    let Carried { to_backend, to_client, end, orderly } =
        relay(client, drained, idle, send_idle, early, conn.worker.spare.buffer()).await;
    if let Some(noted) = &mut passed.noted {
        (noted.bytes_in, noted.bytes_out) = (to_backend, to_client);
    }
    passed.orderly = orderly;
    if end.is_err() && !orderly {
        backend.abort();
    }
    end
}
