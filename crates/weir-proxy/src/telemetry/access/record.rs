//! What is known of an exchange or a connection when it is over.

use std::sync::Arc;

use weir_model::pool::{Backend, Pool};

use crate::{
    error::{Cause, ProxyError},
    tls::Known,
};

/// One exchange or connection. Times are in microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    /// When it began, since 1970.
    pub(crate) began: u64,
    pub(crate) listener: &'a str,
    /// The address of the client after trust was applied.
    pub(crate) client: &'a str,
    /// The address that connected, and its port.
    pub(crate) peer: &'a str,
    pub(crate) peer_port: u16,
    /// The TLS of the connection.
    pub(crate) tls: Known<'a>,
    /// The request; none for a connection of a tcp listener.
    pub(crate) request: Option<Heard<'a>>,
    pub(crate) request_id: &'a [u8],
    pub(crate) route: &'a str,
    pub(crate) pool: Option<&'a Pool>,
    /// The backend tried last.
    pub(crate) backend: Option<usize>,
    /// Fields of the response, if it came from a backend.
    pub(crate) response: Option<&'a dyn Fields>,
    /// What the client was told; 0 for nothing.
    pub(crate) status: u16,
    /// The status that a call of gRPC ended with; none if it was no such call.
    pub(crate) grpc_status: Option<u8>,
    pub(crate) error: Option<&'a ProxyError>,
    pub(crate) attempts: &'a [Attempt],
    /// From the first byte of the request to the end of its head.
    pub(crate) head_time: u64,
    /// From the first byte to the last.
    pub(crate) duration: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// The same without the head.
    pub(crate) body_bytes_out: u64,
    /// Connections that are open at this worker: of this listener, and of all.
    pub(crate) open: (u64, u64),
}

/// Header fields by name.
pub(crate) trait Fields {
    /// The first field of this name, which is in lower case.
    fn first(&self, name: &str) -> Option<&[u8]>;
}

/// A request as it came.
#[derive(Clone, Copy)]
pub(crate) struct Heard<'a> {
    /// Its first line, whatever that is.
    pub(crate) line: &'a [u8],
    /// In lower case and without port.
    pub(crate) host: &'a [u8],
    pub(crate) path: &'a [u8],
    pub(crate) query: &'a [u8],
    /// None if the head could not be read.
    pub(crate) fields: Option<&'a dyn Fields>,
}

impl<'a> Heard<'a> {
    /// Method, target and protocol. A line that is no request line is all target.
    pub(crate) fn parts(&self) -> (&'a [u8], &'a [u8], &'a [u8]) {
        let line = self.line;
        let first = memchr::memchr(b' ', line);
        let last = memchr::memrchr(b' ', line);
        match (first, last) {
            (Some(first), Some(last)) if first < last && line[last + 1..].starts_with(b"HTTP/") => {
                (&line[..first], &line[first + 1..last], &line[last + 1..])
            }
            _ => (b"", line, b""),
        }
    }

    pub(crate) fn field(&self, name: &str) -> &'a [u8] {
        self.fields.and_then(|fields| fields.first(name)).unwrap_or_default()
    }
}

/// One try at one backend. Times are in microseconds since the start of the process; 0 is never.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) backend: usize,
    /// What it was called, if a reload has taken it away since.
    pub(crate) gone: Option<Arc<str>>,
    /// When a backend was looked for.
    pub(crate) began: u64,
    /// When it was found.
    pub(crate) admitted: u64,
    /// When the connection was there.
    pub(crate) connected: u64,
    /// The connection had been used before.
    pub(crate) reused: bool,
    /// When the head of the answer was there.
    pub(crate) answered: u64,
    /// When it was over.
    pub(crate) ended: u64,
    pub(crate) outcome: Outcome,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing yet: the exchange ended first, for a reason of its own.
    None,
    /// An answer with this status; 0 for a connection.
    Answered(u16),
    Failed(Cause),
}

impl Attempt {
    pub(crate) const fn new(backend: usize, now: u64) -> Self {
        Self {
            backend,
            gone: None,
            began: now,
            admitted: 0,
            connected: 0,
            reused: false,
            answered: 0,
            ended: 0,
            outcome: Outcome::None,
        }
    }

    /// A reload has changed the pool: this is where its backends stand now.
    #[cold]
    pub(crate) fn moved(&mut self, before: &Pool, places: &[Option<usize>]) {
        if self.gone.is_some() {
            return;
        }
        let now = places.get(self.backend).copied().flatten();
        if now.is_none() {
            self.gone = before.backends.get(self.backend).map(|backend| backend.name.clone());
        }
        self.backend = now.unwrap_or(usize::MAX);
    }

    /// How long it waited for a connection to be free, if it got that far.
    pub(crate) fn queue_time(&self) -> Option<u64> {
        (self.admitted > 0).then(|| self.admitted.saturating_sub(self.began))
    }

    /// How long it took to connect; 0 for a connection that was kept.
    pub(crate) fn connect_time(&self) -> Option<u64> {
        (self.connected > 0).then(|| self.connected.saturating_sub(self.admitted))
    }

    /// From the connection to the head of the answer.
    pub(crate) fn response_time(&self) -> Option<u64> {
        (self.answered > 0).then(|| self.answered.saturating_sub(self.connected))
    }
}

/// How far an exchange got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The request was being read.
    Request,
    /// A backend was waited for.
    Queue,
    /// A connection was being made.
    Connect,
    /// The head of the answer was waited for.
    Head,
    /// The head of the answer was there.
    Data,
}

impl<'a> Record<'a> {
    /// True if the client is who connected.
    pub(crate) fn is_direct(&self) -> bool {
        self.client == self.peer
    }

    pub(crate) fn last_attempt(&self) -> Option<&'a Attempt> {
        self.attempts.last()
    }

    pub(crate) fn retries(&self) -> usize {
        self.attempts.len().saturating_sub(1)
    }

    pub(crate) fn backend(&self) -> Option<&'a Backend> {
        self.pool.zip(self.backend).and_then(|(pool, index)| pool.backends.get(index))
    }

    pub(crate) fn backend_name(&self) -> &'a str {
        self.backend().map_or("", |backend| &backend.name)
    }

    pub(crate) fn pool_name(&self) -> &'a str {
        self.pool.map_or("", |pool| &pool.name)
    }

    /// How far it got.
    pub(crate) fn phase(&self) -> Phase {
        match self.last_attempt() {
            None if self.pool.is_some() => Phase::Queue,
            None => Phase::Request,
            Some(attempt) if attempt.answered > 0 => Phase::Data,
            Some(attempt) if attempt.connected > 0 => Phase::Head,
            Some(attempt) if attempt.admitted > 0 => Phase::Connect,
            Some(_) => Phase::Queue,
        }
    }
}
