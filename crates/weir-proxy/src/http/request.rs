//! The head of a request: parsed, and judged for everything that could be read in two ways.

mod judge;

use std::net::IpAddr;

use weir_model::{
    route::{RequestFacts, Route},
    tls::Identity,
};

use super::{
    lines::{Line, Lines, Span},
    names::Name,
    parse::{BadHead, fields, request_line},
};
use crate::{
    error::{Cause, ProxyError},
    tls::Known,
};

/// How long a body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// There is none.
    #[default]
    None,
    /// So many bytes.
    Length(u64),
    /// It says itself when it ends.
    Chunked,
    /// It ends with the connection (responses only).
    UntilClose,
}

/// Text that stands in the head, or was made from it.
#[derive(Debug)]
pub(crate) enum Text {
    Head(Span),
    Own(Vec<u8>),
}

impl Text {
    pub(crate) fn of<'a>(&'a self, head: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Head(span) => span.of(head),
            Self::Own(text) => text,
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::Head(Span::default())
    }
}

/// A judged request head. Spans point into the bytes of the head.
#[derive(Debug, Default)]
pub(crate) struct RequestHead {
    pub(crate) method: Span,
    target: Span,
    pub(crate) path: Text,
    pub(crate) query: Option<Span>,
    /// What the client named as the host, as it wrote it; empty if it named none (HTTP/1.0).
    pub(crate) authority: Span,
    /// The same in lower case and without port.
    pub(crate) host: Vec<u8>,
    /// The authority that `host` was made of: most requests name the host that the last one named.
    known: Vec<u8>,
    pub(crate) lines: Lines,
    pub(crate) http10: bool,
    pub(crate) keep_alive: bool,
    pub(crate) body: BodyLength,
    pub(crate) expects_continue: bool,
    /// The same request may be sent twice (RFC 9110 section 9.2.2).
    pub(crate) idempotent: bool,
    /// The protocol asked for, if an upgrade was asked for in a valid way.
    pub(crate) upgrade: Option<Span>,
    /// It asks for a tunnel to its authority (RFC 9110 section 9.3.6).
    pub(crate) connect: bool,
    /// How often an OPTIONS may be passed on, if it says so (RFC 9110 section 7.6.2).
    pub(crate) hops: Option<u64>,
    /// Fields nominated by Connection.
    pub(crate) nominated: Vec<Span>,
    /// It came on a stream; true if content follows.
    streamed: Option<bool>,
}

impl RequestHead {
    /// Parses the head that `bytes` begin with; returns its length, or `None` if it is not complete. What was in here
    /// before is gone.
    pub(crate) fn parse(&mut self, bytes: &[u8], most: usize) -> Result<Option<usize>, ProxyError> {
        self.forget();
        let Some(line) = request_line(bytes).map_err(|bad| refusal(bad, bytes))? else { return Ok(None) };
        self.method = line.method;
        self.target = line.target;
        self.http10 = line.http10;
        fields(bytes, line.end, most, &mut self.lines).map_err(|bad| refusal(bad, bytes))
    }

    /// The same with the head of a stream, which is whole; `open` says that content follows.
    pub(crate) fn parse_stream(&mut self, text: &[u8], most: usize, open: bool) -> Result<(), ProxyError> {
        let length = self.parse(text, most)?;
        self.streamed = Some(open);
        // What it is made of has no line ends: it is whole, and nothing stands behind it.
        if length == Some(text.len()) { Ok(()) } else { Err(Cause::ClientBadHeader.into()) }
    }

    /// Field by field, because making a new one and moving it here costs as much as parsing a short head. The lines are
    /// cleared by whoever reads new ones; the host holds from one request to the next.
    fn forget(&mut self) {
        let Self {
            method,
            target,
            path,
            query,
            authority,
            host: _,
            known: _,
            lines: _,
            http10,
            keep_alive,
            body,
            expects_continue,
            idempotent,
            upgrade,
            connect,
            hops,
            nominated,
            streamed,
        } = self;
        *streamed = None;
        (*method, *target, *authority) = Default::default();
        *path = Text::default();
        (*query, *upgrade, *body) = (None, None, BodyLength::None);
        (*http10, *keep_alive, *expects_continue, *idempotent) = (false, false, false, false);
        (*connect, *hops) = (false, None);
        nominated.clear();
    }

    /// True if it may be passed on no more: whoever would ask a backend answers it.
    #[inline]
    pub(crate) fn is_last(&self) -> bool {
        self.hops == Some(0)
    }

    /// True if the route takes it without having been written for it.
    #[inline]
    pub(crate) fn is_refused_by(&self, route: &Route) -> bool {
        self.connect && !route.names_connect()
    }

    /// True if its first line is as we would write it.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        let Text::Head(path) = &self.path else { return false };
        let end = self.query.map_or(path.end, |query| query.end);
        !self.http10 && path.start == self.target.start && end == self.target.end
    }

    /// True if the field was nominated by Connection. What says where a message ends and where it goes cannot be
    /// nominated away.
    pub(crate) fn is_nominated(&self, head: &[u8], line: &Line) -> bool {
        !self.nominated.is_empty()
            && line.kind != Name::Host
            && line.kind != Name::ContentLength
            && self.nominated.iter().any(|name| name.of(head).eq_ignore_ascii_case(line.name.of(head)))
    }
}

/// RFC 9110 section 8.6: digits and nothing else.
pub(crate) fn parse_length(value: &[u8]) -> Result<u64, ProxyError> {
    let number = |sum: u64, byte: &u8| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { sum.checked_mul(10)?.checked_add(u64::from(digit)) }
    };
    let length = value.iter().try_fold(0, number).filter(|_| !value.is_empty());
    length.ok_or(Cause::ClientBadLength.into())
}

/// What the parser found, in our words.
pub(crate) fn refusal(bad: BadHead, bytes: &[u8]) -> ProxyError {
    match bad {
        BadHead::TooMany => Cause::ClientTooManyHeaders.into(),
        BadHead::Name => ProxyError::with(Cause::ClientBadHeader, "a name that is not a token"),
        BadHead::Value => ProxyError::with(Cause::ClientBadHeader, "a value with a forbidden byte"),
        BadHead::LineEnd => Cause::ClientBadLineEnd.into(),
        BadHead::Version => Cause::ClientBadVersion.into(),
        BadHead::Target => ProxyError::with(Cause::ClientBadTarget, "a byte that has to be percent-encoded"),
        BadHead::FirstLine if bytes.first() == Some(&0x16) => {
            ProxyError::with(Cause::ClientBadRequestLine, "it looks like TLS")
        }
        BadHead::FirstLine | BadHead::Status => Cause::ClientBadRequestLine.into(),
    }
}

/// True if the first line is that of another protocol: an answer in HTTP/1.1 would mean nothing to who sent it, or the wrong
/// thing. A PROXY header is answered, so that whoever forgot to expect one sees why.
pub(super) fn is_alien(bytes: &[u8]) -> bool {
    let Some(end) = memchr::memchr(b'\n', bytes) else { return false };
    let names_http = |part: &[u8]| part.eq_ignore_ascii_case(b"HTTP/");
    !bytes[..end].windows(5).any(names_http) && !bytes.starts_with(b"PROXY ")
}

/// What routes may ask about a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) bytes: &'a [u8],
    pub(crate) source: IpAddr,
    pub(crate) tls: Known<'a>,
}

impl RequestFacts for Facts<'_> {
    fn method(&self) -> &[u8] {
        self.head.method.of(self.bytes)
    }

    fn host(&self) -> &[u8] {
        &self.head.host
    }

    fn path(&self) -> &[u8] {
        self.head.path.of(self.bytes)
    }

    fn query(&self) -> Option<&[u8]> {
        self.head.query.map(|query| query.of(self.bytes))
    }

    fn any_header(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut lines = self.head.lines.iter();
        lines.any(|line| {
            line.name.of(self.bytes).eq_ignore_ascii_case(name.as_bytes()) && each(line.value.of(self.bytes))
        })
    }

    fn source(&self) -> IpAddr {
        self.source
    }

    fn server_name(&self) -> Option<&str> {
        self.tls.server_name()
    }

    fn any_protocol(&self, each: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.tls.protocols().any(each)
    }

    fn identity(&self) -> Option<&Identity> {
        self.tls.identity()
    }
}
