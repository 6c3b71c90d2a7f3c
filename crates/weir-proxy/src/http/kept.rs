//! What is kept of a request beyond its head's usual end: for its line in the access log, and for values of it in its
//! response. Nothing is kept unless one of the two asks for it.

use std::net::IpAddr;

use weir_model::template::Escape;

use super::{exchange::Exchange, request::RequestHead, response::ResponseHead};
use crate::{
    clock,
    conn::Conn,
    error::ProxyError,
    telemetry::{Attempt, Fields, Heard, Record, is_plain_identity, write_line},
};

/// Heads with more room than this are not used again.
const MOST_KEPT: usize = 8 * 1024;
/// Attempts that are noted; more are only made in bad luck with stale connections.
const MOST_ATTEMPTS: usize = 16;

/// What is kept of one request. Used again and again: nothing of it is allocated anew for most requests.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The head as it came, or what had come of it.
    head: Vec<u8>,
    /// Spans into `head`, once it was decided on.
    pub(super) request: Box<RequestHead>,
    /// The head could be parsed.
    parsed: bool,
    /// The head was found sound.
    pub(super) sound: bool,
    /// The client's address, if it is not the peer's.
    client: String,
    request_id: Vec<u8>,
    /// When its first byte was there, in microseconds.
    begun: u64,
    pub(super) attempts: Vec<Attempt>,
    /// Bytes from the client after both sides agreed on another protocol.
    pub(super) tunnelled: u64,
    /// Bytes sent to the client, and how many of them were content.
    pub(super) sent: (u64, u64),
    answered: AnswerFields,
}

/// Fields of the response that the log shows.
#[derive(Debug, Default)]
struct AnswerFields {
    values: Vec<u8>,
    /// Where each of the wanted ones ends in `values`.
    ends: Vec<usize>,
}

impl Kept {
    /// Begins anew with this head.
    pub(super) fn begin(&mut self, head: &[u8], parsed: bool, begun: u64) {
        self.head.clear();
        self.head.extend_from_slice(head);
        (self.parsed, self.sound, self.begun) = (parsed, false, begun);
        self.client.clear();
        self.request_id.clear();
        self.attempts.clear();
        (self.tunnelled, self.sent) = (0, (0, 0));
        self.answered.values.clear();
        self.answered.ends.clear();
    }

    /// True if it is worth being used again.
    pub(super) fn is_small(&self) -> bool {
        self.head.capacity() <= MOST_KEPT && self.answered.values.capacity() <= MOST_KEPT
    }

    /// Notes who sent the request, after trust was applied, and gives it an identity if that is wanted: the one that a
    /// trusted proxy gave, or a new one.
    pub(super) fn identify(
        &mut self,
        conn: &Conn,
        request: &RequestHead,
        (source, trusted): (IpAddr, bool),
        wanted: bool,
    ) {
        if source != conn.peer.ip().to_canonical() {
            self.client = source.to_string();
        }
        if !wanted || !self.request_id.is_empty() {
            return;
        }
        let fields = HeadFields { request, head: &self.head };
        let given = fields.first("x-request-id");
        match given.filter(|given| trusted && is_plain_identity(given)) {
            Some(given) => self.request_id.extend_from_slice(given),
            None => conn.worker.identities.put_new(clock::wall_at(self.begun), &mut self.request_id),
        }
    }

    /// What the request is called; empty if nobody asks.
    pub(super) fn request_id(&self) -> &[u8] {
        &self.request_id
    }

    /// Notes an attempt, for which a backend was looked for since `begun`.
    pub(super) fn attempt(&mut self, backend: usize, begun: u64) {
        if self.attempts.len() < MOST_ATTEMPTS {
            self.attempts.push(Attempt { admitted: clock::micros(), ..Attempt::new(backend, begun) });
        }
    }

    /// Forgets all attempts but the last, whose backend is the only one of its pool that is still known.
    pub(super) fn only_last_attempt(&mut self) {
        self.attempts.drain(..self.attempts.len().saturating_sub(1));
        self.attempts.iter_mut().for_each(|attempt| attempt.backend = 0);
    }

    /// Notes the fields of the response that the log shows.
    pub(super) fn note_answer(&mut self, names: &[Box<str>], response: &ResponseHead, head: &[u8]) {
        let fields = ResponseFields { response, head };
        for name in names {
            self.answered.values.extend_from_slice(fields.first(name).unwrap_or_default());
            self.answered.ends.push(self.answered.values.len());
        }
    }
}

/// The head is that of a stream, whose text says HTTP/1.1 like any other's: for those who read it, it was not.
pub(super) fn say_http2(head: &mut [u8]) {
    let end = memchr::memchr(b'\r', head).unwrap_or(head.len());
    if let Some(version) = head[..end].strip_suffix(b"HTTP/1.1").map(<[u8]>::len) {
        head[version..end].copy_from_slice(b"HTTP/2.0");
    }
}

/// Fields of a request.
struct HeadFields<'a> {
    request: &'a RequestHead,
    head: &'a [u8],
}

impl Fields for HeadFields<'_> {
    fn first(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.request.lines.iter();
        let found = lines.find(|line| line.name.of(self.head).eq_ignore_ascii_case(name.as_bytes()));
        found.map(|line| line.value.of(self.head))
    }
}

/// Fields of a response.
pub(super) struct ResponseFields<'a> {
    pub(super) response: &'a ResponseHead,
    pub(super) head: &'a [u8],
}

impl Fields for ResponseFields<'_> {
    fn first(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.response.lines.iter();
        let found = lines.find(|line| line.name.of(self.head).eq_ignore_ascii_case(name.as_bytes()));
        found.map(|line| line.value.of(self.head))
    }
}

/// The noted fields of a response, by name.
struct NotedFields<'a> {
    names: &'a [Box<str>],
    noted: &'a AnswerFields,
}

impl Fields for NotedFields<'_> {
    fn first(&self, name: &str) -> Option<&[u8]> {
        let index = self.names.iter().position(|own| **own == *name)?;
        let end = *self.noted.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.noted.ends[before]);
        Some(&self.noted.values[start..end])
    }
}

impl Exchange<'_> {
    /// Keeps this head, or what has come of one.
    pub(super) fn keep(&mut self, head: &[u8], parsed: bool, begun: u64) {
        let mut kept = self.conn.worker.room.kept.take();
        kept.begin(head, parsed, begun);
        if self.client.is_stream() {
            say_http2(&mut kept.head);
        }
        self.kept = Some(kept);
    }

    /// Keeps this head because the route writes values of it, now or in the response.
    #[cold]
    pub(super) fn keep_for_values(
        &mut self,
        head: &[u8],
        request: &RequestHead,
        source: (IpAddr, bool),
        begun: u64,
    ) {
        if self.kept.is_none() {
            self.keep(head, true, begun);
        }
        if let Some(kept) = &mut self.kept {
            kept.sound = true;
            kept.identify(self.conn, request, source, true);
        }
    }

    /// Calls `with` with what is known of the exchange so far. `request` is what the kept head was parsed to.
    pub(super) fn known<R>(
        &self,
        kept: &Kept,
        request: &RequestHead,
        with: impl FnOnce(Record<'_>) -> R,
    ) -> R {
        let head = kept.head.as_slice();
        let fields = HeadFields { request, head };
        let line = memchr::memchr2(b'\r', b'\n', head).unwrap_or(head.len());
        let sound = kept.sound;
        let heard = Heard {
            line: &head[..line],
            host: if sound { &request.host } else { b"" },
            path: if sound { request.path.of(head) } else { b"" },
            query: request.query.filter(|_| sound).map_or(b"", |query| query.of(head)),
            fields: if kept.parsed { Some(&fields) } else { None },
        };
        let (conn, listener) = (self.conn, &self.listener);
        let peer = conn.address_text();
        let open = conn.counters(listener).open();
        let micros = clock::micros();
        with(Record {
            began: clock::wall_at(kept.begun),
            listener: &listener.name,
            client: if kept.client.is_empty() { peer } else { &kept.client },
            peer,
            peer_port: conn.peer.port(),
            tls: conn.tls(),
            request: Some(heard),
            request_id: &kept.request_id,
            route: self.route().map_or("", |route| &route.name),
            pool: self.pool.as_ref().map(|state| &*state.pool),
            backend: self.backend,
            response: None,
            status: self.status,
            grpc_status: self.grpc_status,
            error: None,
            attempts: &kept.attempts,
            head_time: self.started.saturating_sub(kept.begun),
            duration: micros.saturating_sub(kept.begun),
            // A head that was refused may not have come whole.
            bytes_in: if self.came > 0 { self.came } else { head.len() as u64 } + kept.tunnelled,
            bytes_out: kept.sent.0,
            body_bytes_out: kept.sent.1,
            open: (open, conn.worker.open.get() as u64),
        })
    }

    /// Writes the line of this exchange. Whatever failed is logged, however small the sample.
    #[inline(never)]
    pub(super) fn log(&self, kept: &mut Kept, error: Option<&ProxyError>) {
        let worker = &self.conn.worker;
        let (Some(log), Some(lines)) = (&self.listener.access_log, &worker.access) else { return };
        let failed = error.is_some() || self.status >= 500;
        if !failed && !log.sample.is_all() && !log.sample.takes(worker.draw()) {
            return;
        }
        if let Some(attempt) = kept.attempts.last_mut().filter(|attempt| attempt.ended == 0) {
            attempt.ended = clock::micros();
        }
        let noted = NotedFields { names: &log.response_fields, noted: &kept.answered };
        self.known(kept, &kept.request, |record| {
            let record = Record { error, response: Some(&noted), ..record };
            lines.add(log, |out| write_line(&log.format, &record, out));
        });
    }

    /// The attempt under way, if attempts are noted.
    #[inline]
    pub(super) fn attempt(&mut self) -> Option<&mut Attempt> {
        self.kept.as_mut()?.attempts.last_mut()
    }

    /// Notes what was sent to the client, and how much of it was content.
    #[inline]
    pub(super) fn note_sent(&mut self, bytes: u64, content: u64) {
        if let Some(kept) = &mut self.kept {
            kept.sent.0 += bytes;
            kept.sent.1 += content;
        }
    }

    /// Says where the answer comes from, for whoever looks for a mistake (`debug_headers`).
    #[cold]
    pub(super) fn write_debug_fields(&self, out: &mut Vec<u8>) {
        let mut put = |name: &[u8], value: &str| {
            if !value.is_empty() {
                out.extend_from_slice(name);
                out.extend_from_slice(b": ");
                Escape::Header.put(value.as_bytes(), out);
                out.extend_from_slice(b"\r\n");
            }
        };
        put(b"weir-route", self.route().map_or("", |route| &route.name));
        if let Some(pool) = self.pool.as_ref().map(|state| &state.pool) {
            put(b"weir-pool", &pool.name);
            put(b"weir-backend", self.backend.map_or("", |backend| &pool.backends[backend].name));
        }
    }
}
