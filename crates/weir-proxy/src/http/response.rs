//! The head of a backend's response: parsed, and judged as strictly as a request.

use super::{
    lines::{Line, Lines, Span},
    names::{ConnectionOptions, Name, members},
    parse::{BadHead, fields, status_line},
    request::{BodyLength, parse_length},
};
use crate::error::{Cause, ProxyError};

/// Fields that a response may have.
const MOST_FIELDS: usize = 256;

/// A judged response head.
#[derive(Debug, Default)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    /// Its status line is as we would write it.
    pub(crate) plain: bool,
    pub(crate) reason: Span,
    pub(crate) lines: Lines,
    pub(crate) body: BodyLength,
    /// Whether the backend keeps the connection open after this message.
    pub(crate) keep_alive: bool,
    /// The protocol switched to (101).
    pub(crate) upgrade: Option<Span>,
    /// Whether Content-Length is passed on.
    pub(crate) length: Option<u64>,
    /// A length of zero is said that stands in no field.
    pub(crate) says_empty: bool,
    nominated: Vec<Span>,
}

impl ResponseHead {
    /// Parses and judges the head that `bytes` begin with; returns its length, or `None` if it is not complete.
    /// `to_head` says that the request's method was HEAD.
    pub(crate) fn judge(&mut self, bytes: &[u8], to_head: bool) -> Result<Option<usize>, ProxyError> {
        self.forget();
        let Some((length, http10)) = self.parse(bytes)? else { return Ok(None) };
        self.judge_fields(&bytes[..length], http10, to_head)?;
        Ok(Some(length))
    }

    /// Field by field, because making a new one and moving it here costs more. The lines are cleared by whoever reads new
    /// ones.
    fn forget(&mut self) {
        let Self {
            status,
            plain,
            reason,
            lines: _,
            body,
            keep_alive,
            upgrade,
            length,
            says_empty,
            nominated,
        } = self;
        (*status, *plain, *reason, *body) = (0, false, Span::default(), BodyLength::None);
        (*keep_alive, *upgrade, *length, *says_empty) = (false, None, None, false);
        nominated.clear();
    }

    /// Returns the length, and whether it is HTTP/1.0.
    fn parse(&mut self, bytes: &[u8]) -> Result<Option<(usize, bool)>, ProxyError> {
        let Some(line) = status_line(bytes).map_err(refusal)? else { return Ok(None) };
        (self.status, self.reason) = (line.status, line.reason);
        // Behind `HTTP/1.1 200 `; what ends with the status lacks a space.
        self.plain = !line.http10 && line.reason.start == 13;
        let end = fields(bytes, line.end, MOST_FIELDS, &mut self.lines).map_err(refusal)?;
        Ok(end.map(|end| (end, line.http10)))
    }

    fn judge_fields(&mut self, head: &[u8], http10: bool, to_head: bool) -> Result<(), ProxyError> {
        let bad = |detail| Err(ProxyError::with(Cause::BackendBadResponse, detail));
        let (mut chunked, mut options) = (false, ConnectionOptions::default());
        for line in self.lines.marked() {
            let value = line.value.of(head);
            match line.kind {
                Name::ContentLength => {
                    let Ok(length) = parse_length(value) else {
                        return bad("Content-Length is not a number");
                    };
                    if self.length.replace(length).is_some() {
                        return bad("more than one Content-Length");
                    }
                }
                Name::TransferEncoding => {
                    if chunked || http10 || !value.eq_ignore_ascii_case(b"chunked") {
                        return bad("Transfer-Encoding is not exactly `chunked`");
                    }
                    chunked = true;
                }
                Name::Connection => options.read(value, |name| self.nominated.push(Span::within(head, name))),
                Name::Upgrade => self.upgrade = Some(line.value),
                _ => {}
            }
        }
        if chunked && self.length.is_some() {
            return bad("Content-Length and Transfer-Encoding together");
        }
        // RFC 9112 section 6.3: what the status and the method say comes before what the fields say.
        let bodiless = to_head || self.status < 200 || self.status == 204 || self.status == 304;
        self.body = match self.length {
            _ if bodiless => BodyLength::None,
            _ if chunked => BodyLength::Chunked,
            Some(0) => BodyLength::None,
            Some(length) => BodyLength::Length(length),
            None => BodyLength::UntilClose,
        };
        if self.status < 200 || self.status == 204 {
            self.length = None;
        }
        self.keep_alive = options.keep_alive(http10) && self.body != BodyLength::UntilClose;
        if !options.upgrade {
            self.upgrade = None;
        }
        Ok(())
    }

    /// The same where it came by HTTP/2: `ended` says that nothing follows the head, which only a client of HTTP/1.1 has to be
    /// told in a field.
    pub(crate) fn body_of_stream(&mut self, ended: bool, to_stream: bool) {
        if ended && self.body != BodyLength::None {
            self.body = BodyLength::None;
            self.says_empty = self.length.is_none() && !to_stream;
        }
    }

    /// The same where a tunnel was asked for: whoever agrees says nothing about a length, even if it does (RFC 9110
    /// section 9.3.6).
    #[cold]
    pub(crate) fn answers_connect(&mut self) {
        if self.opens_tunnel() {
            (self.body, self.length) = (BodyLength::None, None);
        }
    }

    /// True if it agrees to a tunnel that was asked for.
    pub(crate) const fn opens_tunnel(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// True if Connection nominated any field.
    pub(crate) const fn nominates(&self) -> bool {
        !self.nominated.is_empty()
    }

    /// True if the field was nominated by Connection.
    pub(crate) fn is_nominated(&self, head: &[u8], line: &Line) -> bool {
        !self.nominated.is_empty()
            && self.nominated.iter().any(|name| name.of(head).eq_ignore_ascii_case(line.name.of(head)))
    }

    /// RFC 9110 section 15.2.2 and 7.8: a switch to something that was asked for, and said properly.
    pub(crate) fn is_switch_to(&self, head: &[u8], asked: Option<&[u8]>) -> bool {
        let (Some(asked), Some(switched)) = (asked, self.upgrade) else { return false };
        let mut protocols = members(switched.of(head)).peekable();
        protocols.peek().is_some()
            && protocols.all(|protocol| members(asked).any(|wish| wish.eq_ignore_ascii_case(protocol)))
    }
}

/// What the parser found, in our words.
fn refusal(bad: BadHead) -> ProxyError {
    let detail = match bad {
        BadHead::TooMany => {
            return ProxyError::with(Cause::BackendHeaderTooLarge, "more than 256 header fields");
        }
        BadHead::FirstLine | BadHead::Target | BadHead::Version => {
            "it does not begin with a status line of HTTP/1.x"
        }
        BadHead::Status => "a status that is not a number from 100 to 599",
        BadHead::Name => "a field name that is not a token",
        BadHead::Value => "a field value with a forbidden byte",
        BadHead::LineEnd => "a line that ends without CR LF",
    };
    ProxyError::with(Cause::BackendBadResponse, detail)
}
