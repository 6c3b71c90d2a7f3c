//! Writes the heads that we send: each in one piece, neighbours that pass unchanged in one copy.

use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use weir_model::{
    route::{HeaderEdits, Route},
    template::{Escape, Template},
};

use super::{
    lines::{Line, Span},
    names::Name,
    request::{BodyLength, RequestHead},
    response::ResponseHead,
};
use crate::{clock, conn::FORWARDED_FOR, telemetry::Record};

/// Who sent a request, and whether it may say so itself.
#[derive(Clone, Copy)]
pub(crate) struct Client<'a> {
    /// The line that tells the address that connected.
    pub(crate) forwarded_for: &'a [u8],
    /// The address it connected to, for requests that name no host.
    pub(crate) local: &'a [u8],
    /// Whether it came through TLS.
    pub(crate) secure: bool,
    /// Whether its X-Forwarded fields are believed.
    pub(crate) trusted: bool,
    /// What values of the exchange are taken from; none if none is written.
    pub(crate) known: Option<&'a Record<'a>>,
}

pub(crate) fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes the request that the backend gets.
pub(crate) fn write_request(
    out: &mut Vec<u8>,
    head: &[u8],
    request: &RequestHead,
    route: &Route,
    client: Client<'_>,
    expect: bool,
) {
    let edits = &route.request_headers;
    if route.rewrite.is_none() && request.is_plain() {
        out.extend_from_slice(&head[..request.lines.first_at()]);
    } else {
        write_request_line(out, head, request, route);
    }
    let host = match request.authority {
        none if none == Span::default() => client.local,
        authority => authority.of(head),
    };
    let rewritten = route.rewrite.as_ref().and_then(|rewrite| rewrite.host.as_deref());
    out.extend_from_slice(b"Host: ");
    out.extend_from_slice(rewritten.map_or(host, str::as_bytes));
    out.extend_from_slice(b"\r\n");
    let every = !edits.is_empty() || !request.nominated.is_empty();
    request.lines.copy(out, head, (request.lines.first_at(), every), |line| {
        passes(line, (head, request), edits, client.trusted) && !request.is_nominated(head, line)
    });
    if let Some(hops) = request.hops {
        write_hops(out, head, request, edits, hops);
    }
    write_forwarded(out, head, request, host, client, edits);
    match request.body {
        BodyLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        BodyLength::Length(length) => write_length(out, length),
        // A length of zero was said and is said again: backends may insist on it.
        _ if request.lines.of_kind(Name::ContentLength).next().is_some() => write_length(out, 0),
        _ => {}
    }
    if expect {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    if let Some(upgrade) = request.upgrade {
        out.extend_from_slice(b"Connection: Upgrade\r\n");
        field(out, b"Upgrade", upgrade.of(head));
    }
    write_fields(out, edits.set.iter().chain(&edits.add), client.known);
    out.extend_from_slice(b"\r\n");
}

/// The first line, where it is not as the client wrote it.
fn write_request_line(out: &mut Vec<u8>, head: &[u8], request: &RequestHead, route: &Route) {
    out.extend_from_slice(request.method.of(head));
    out.push(b' ');
    let path = request.path.of(head);
    match &route.rewrite {
        rewrite if request.connect => {
            let host = rewrite.as_ref().and_then(|rewrite| rewrite.host.as_deref());
            out.extend_from_slice(host.map_or(request.authority.of(head), str::as_bytes));
        }
        Some(rewrite) if path != b"*" => out.extend_from_slice(&rewrite.path.apply(path)),
        _ => out.extend_from_slice(path),
    }
    if let Some(query) = request.query {
        out.push(b'?');
        out.extend_from_slice(query.of(head));
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// True for a field line of a request that goes on as it is.
fn passes(line: &Line, (head, request): (&[u8], &RequestHead), edits: &HeaderEdits, trusted: bool) -> bool {
    let passes = match line.kind {
        Name::Other | Name::Date => true,
        Name::MaxForwards => request.hops.is_none(),
        Name::ForwardedProto | Name::ForwardedHost | Name::OtherForwarded => trusted,
        _ => false,
    };
    passes && (edits.is_empty() || !edits.drops(line.name.of(head)))
}

/// Max-Forwards with one less (RFC 9110 section 7.6.2).
#[cold]
fn write_hops(out: &mut Vec<u8>, head: &[u8], request: &RequestHead, edits: &HeaderEdits, hops: u64) {
    let goes_on = |line: &Line| !request.is_nominated(head, line);
    if !edits.drops(b"Max-Forwards") && request.lines.of_kind(Name::MaxForwards).any(goes_on) {
        field(out, b"Max-Forwards", itoa::Buffer::new().format(hops.saturating_sub(1)).as_bytes());
    }
}

/// X-Forwarded-For, -Proto and -Host: appended to what a trusted proxy said, written anew otherwise.
fn write_forwarded(
    out: &mut Vec<u8>,
    head: &[u8],
    request: &RequestHead,
    host: &[u8],
    client: Client<'_>,
    edits: &HeaderEdits,
) {
    let wanted = |name: &str| edits.is_empty() || !edits.drops(name.as_bytes());
    let goes_on = |line: &Line| !request.is_nominated(head, line);
    let said = |kind: Name| client.trusted && request.lines.of_kind(kind).any(goes_on);
    if wanted("x-forwarded-for") {
        if said(Name::ForwardedFor) {
            let (name, address) = client.forwarded_for.split_at(FORWARDED_FOR.len());
            out.extend_from_slice(name);
            let values = request.lines.of_kind(Name::ForwardedFor).map(|line| line.value.of(head));
            for value in values.filter(|value| !value.is_empty()) {
                out.extend_from_slice(value);
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(address);
        } else {
            out.extend_from_slice(client.forwarded_for);
        }
    }
    if wanted("x-forwarded-proto") && !said(Name::ForwardedProto) {
        let line: &[u8] =
            if client.secure { b"X-Forwarded-Proto: https\r\n" } else { b"X-Forwarded-Proto: http\r\n" };
        out.extend_from_slice(line);
    }
    if wanted("x-forwarded-host") && !said(Name::ForwardedHost) {
        out.extend_from_slice(b"X-Forwarded-Host: ");
        out.extend_from_slice(host);
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes fields whose values may name facts of the exchange. One whose value is empty then is left out.
pub(crate) fn write_fields<'e>(
    out: &mut Vec<u8>,
    fields: impl Iterator<Item = &'e (Arc<str>, Template)>,
    known: Option<&Record<'_>>,
) {
    for (name, value) in fields {
        match (value.as_literal(), known) {
            (Some(text), _) => field(out, name.as_bytes(), text.as_bytes()),
            (None, Some(known)) => write_value(out, name, value, known),
            // Whatever has a variable is written with what is known.
            (None, None) => {}
        }
    }
}

#[cold]
fn write_value(out: &mut Vec<u8>, name: &str, value: &Template, known: &Record<'_>) {
    let begin = out.len();
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let start = out.len();
    value.render(known, Escape::Header, "", out);
    let length = out[start..].trim_ascii_end().len();
    if out[start..].trim_ascii().is_empty() {
        out.truncate(begin);
    } else {
        out.truncate(start + length);
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes `Content-Length`.
pub(crate) fn write_length(out: &mut Vec<u8>, length: u64) {
    field(out, b"Content-Length", itoa::Buffer::new().format(length).as_bytes());
}

thread_local! {
    /// The second that the text was made for, and the text.
    static DATE: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

/// Writes the Date field (RFC 9110 section 6.6.1); its text is made once a second.
pub(crate) fn write_date(out: &mut Vec<u8>) {
    DATE.with_borrow_mut(|(second, text)| {
        let now = clock::now().0 / 1000;
        if *second != now {
            *second = now;
            *text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(clock::wall().0));
        }
        out.extend_from_slice(b"Date: ");
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\r\n");
    });
}

/// How a response is framed for this client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Framing {
    /// In the chunked coding.
    pub(crate) chunked: bool,
    /// The connection ends with it.
    pub(crate) close: bool,
    /// The client speaks HTTP/1.0 and has to be told that the connection stays.
    pub(crate) say_keep_alive: bool,
}

/// Writes the response that the client gets, but for the empty line.
pub(crate) fn write_response(
    out: &mut Vec<u8>,
    head: &[u8],
    response: &ResponseHead,
    edits: &HeaderEdits,
    framing: Framing,
    known: Option<&Record<'_>>,
) {
    let mut from = 0;
    if !response.plain {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(itoa::Buffer::new().format(response.status).as_bytes());
        out.push(b' ');
        out.extend_from_slice(response.reason.of(head));
        out.extend_from_slice(b"\r\n");
        from = response.lines.first_at();
    }
    let every = !edits.is_empty() || response.nominates();
    response.lines.copy(out, head, (from, every), |line| {
        let passes = match line.kind {
            Name::ContentLength => response.length.is_some(),
            Name::TransferEncoding | Name::Connection | Name::Upgrade | Name::Hop => false,
            _ => !response.is_nominated(head, line),
        };
        passes && (edits.is_empty() || !edits.drops(line.name.of(head)))
    });
    if !response.lines.is_dated() || response.nominates() {
        complete_date(out, head, response, edits);
    }
    if response.says_empty {
        write_length(out, 0);
    }
    if framing.chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    // What is wanted instead is told by 426 as well (RFC 9110 section 15.5.22).
    if let Some(upgrade) = response.upgrade.filter(|_| matches!(response.status, 101 | 426)) {
        out.extend_from_slice(b"Connection: Upgrade\r\n");
        field(out, b"Upgrade", upgrade.of(head));
    }
    match framing {
        _ if response.status == 101 => {}
        Framing { close: true, .. } => out.extend_from_slice(b"Connection: close\r\n"),
        Framing { say_keep_alive: true, .. } => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        Framing { .. } => {}
    }
    if response.status >= 200 || response.status == 101 {
        write_fields(out, edits.set.iter().chain(&edits.add), known);
    }
}

/// Says when a response came that does not say so itself (RFC 9110 section 6.6.1), unless the route has its own mind about that.
#[cold]
fn complete_date(out: &mut Vec<u8>, head: &[u8], response: &ResponseHead, edits: &HeaderEdits) {
    let goes_on = |line: &Line| line.kind == Name::Date && !response.is_nominated(head, line);
    let added = |(name, _): &(Arc<str>, Template)| name.eq_ignore_ascii_case("Date");
    let edited = edits.drops(b"Date") || edits.add.iter().any(added);
    if response.status >= 200 && !edited && !response.lines.iter().any(goes_on) {
        write_date(out);
    }
}
