//! Heads and trailers: between what the `h2` crate speaks of and the text that the rest of weir does.
//!
//! A head that came is written as the text of an HTTP/1.1 head and goes the way of all heads. What is sent is made of the text
//! that was written for HTTP/1.1, without what speaks of the connection (RFC 9113 section 8.2.2).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request, uri};

use super::{Channel, names};
use crate::{
    error::{Cause, ProxyError},
    http::{forbidden_in_trailer, is_of_connection, scan},
};

/// Fields that most heads do not exceed.
const USUAL_FIELDS: usize = 12;
/// Bytes of text that most heads do not exceed.
const USUAL_TEXT: usize = 512;

/// Writes the head of a request as text, as HTTP/1.1 would say it.
///
/// # Errors
/// If it says something that no request may say; what is written then is not complete.
pub(crate) fn write_request(
    parts: &request::Parts,
    channel: &Channel,
    draw: u64,
    out: &mut Vec<u8>,
) -> Result<(), ProxyError> {
    let socket = parts.extensions.get::<h2::ext::Protocol>();
    let method = if socket.is_some() { "GET" } else { parts.method.as_str() };
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    let authority = parts.uri.authority().map(uri::Authority::as_str);
    match parts.uri.path_and_query() {
        Some(target) => out.extend_from_slice(target.as_str().as_bytes()),
        // CONNECT (RFC 9113 section 8.5).
        None => {
            channel.tunnel.set(true);
            out.extend_from_slice(authority.unwrap_or_default().as_bytes());
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(authority) = authority {
        write_line(b"host", authority.as_bytes(), out);
    }
    let mut cookies = false;
    for (name, value) in &parts.headers {
        let value = value.as_bytes();
        if value.trim_ascii().len() != value.len() {
            return Err(ProxyError::with(Cause::ClientBadHeader, "a value that begins or ends with a space"));
        }
        match *name {
            // RFC 9113 section 8.3.1: the authority counts, and must not be contradicted.
            header::HOST if authority.is_some_and(|authority| authority.as_bytes() == value) => {}
            header::COOKIE => cookies = true,
            _ => write_line(name.as_str().as_bytes(), value, out),
        }
    }
    if cookies {
        write_cookies(&parts.headers, out);
    }
    if let Some(protocol) = socket {
        write_line(b"connection", b"upgrade", out);
        write_line(b"upgrade", protocol.as_str().as_bytes(), out);
        write_line(b"sec-websocket-key", channel.expect_socket(draw).as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// HTTP/2 may cut cookies into crumbs, HTTP/1.1 has one field of them (RFC 9113 section 8.2.3).
fn write_cookies(fields: &HeaderMap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"cookie: ");
    for (index, crumb) in fields.get_all(header::COOKIE).iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(crumb.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn write_line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of a response as text, as HTTP/1.1 would say it. `socket` is what answers the key of a WebSocket, if that was
/// asked for: an answer that agrees is a switch of protocols there (RFC 8441 section 5).
pub(crate) fn write_response(response: &Response<()>, socket: Option<&str>, out: &mut Vec<u8>) {
    let status = response.status();
    out.reserve(USUAL_TEXT);
    match socket {
        Some(accept) if status.is_success() => {
            out.extend_from_slice(
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
            );
            write_line(b"sec-websocket-accept", accept.as_bytes(), out);
        }
        _ => {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(status.as_str().as_bytes());
            out.push(b' ');
            out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    for (name, value) in response.headers() {
        write_line(name.as_str().as_bytes(), value.as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the trailers that may be passed on as lines of text (RFC 9110 section 6.5.1).
pub(crate) fn write_trailers(trailers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in trailers {
        if !forbidden_in_trailer(name.as_str().as_bytes()) {
            write_line(name.as_str().as_bytes(), value.as_bytes(), out);
        }
    }
}

/// The fields that lines of text say.
pub(crate) fn read_trailers(lines: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    if !lines.is_empty() {
        let text = Bytes::copy_from_slice(lines);
        read_fields(&text, 0, &mut fields, |_, _| true);
    }
    fields
}

/// The head of a response whose text is this; `None` if it cannot be said, which our own text never is.
pub(crate) fn read_response(text: &[u8]) -> Option<Response<()>> {
    let text = Bytes::copy_from_slice(text);
    let status = StatusCode::from_bytes(text.get(9..12)?).ok()?;
    let mut response = Response::new(());
    *response.headers_mut() = HeaderMap::with_capacity(USUAL_FIELDS);
    *response.status_mut() = status;
    let start = memchr::memchr(b'\n', &text)? + 1;
    read_fields(&text, start, response.headers_mut(), |name, _| !is_of_connection(name));
    Some(response)
}

/// The head of a request whose text is this, for a backend that is spoken to by TLS or not; `None` if it cannot be said.
pub(crate) fn read_request(text: &[u8], secure: bool, trailers: bool) -> Option<Request<()>> {
    let text = Bytes::copy_from_slice(text);
    let line = &text[..memchr::memchr(b'\r', &text)?];
    let method_end = memchr::memchr(b' ', line)?;
    let target_end = memchr::memrchr(b' ', line)?;
    let method = Method::from_bytes(&line[..method_end]).ok()?;
    let target = text.slice(method_end + 1..target_end);
    let mut request = Request::new(());
    *request.headers_mut() = HeaderMap::with_capacity(USUAL_FIELDS);
    let mut authority = None;
    read_fields(&text, line.len() + 2, request.headers_mut(), |name, value| {
        if name.eq_ignore_ascii_case(b"host") {
            authority = uri::Authority::from_maybe_shared(value.clone()).ok();
            return false;
        }
        !is_of_connection(name)
    });
    if trailers {
        request.headers_mut().insert(http::header::TE, HeaderValue::from_static("trailers"));
    }
    let mut parts = uri::Parts::default();
    if method == Method::CONNECT {
        parts.authority = Some(uri::Authority::from_maybe_shared(target).ok()?);
    } else {
        parts.scheme = Some(if secure { uri::Scheme::HTTPS } else { uri::Scheme::HTTP });
        parts.authority = Some(authority?);
        parts.path_and_query = Some(uri::PathAndQuery::from_maybe_shared(target).ok()?);
    }
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    *request.version_mut() = http::Version::HTTP_2;
    Some(request)
}

/// A field line: how long its name is, and where it ends.
struct Field {
    name: usize,
    end: usize,
}

/// The field line that these begin with; `None` at an empty one, or if they are none.
#[inline]
fn field(lines: &[u8]) -> Option<Field> {
    let mut name = scan::plain(lines);
    if lines.get(name) != Some(&b':') {
        (name, _) = scan::token(lines, name);
    }
    if name == 0 || lines.get(name) != Some(&b':') {
        return None;
    }
    let behind = scan::behind_text(&lines[name + 1..]);
    behind.starts_with(b"\r\n").then(|| Field { name, end: lines.len() - behind.len() })
}

/// Reads the field lines of `text` from `start` up to an empty line or its end; those that `keeps` refuses are left out. Values
/// share the memory of the text.
fn read_fields(
    text: &Bytes,
    mut start: usize,
    fields: &mut HeaderMap,
    mut keeps: impl FnMut(&[u8], &Bytes) -> bool,
) {
    while let Some(field) = field(&text[start..]) {
        let (line, name) = (&text[start..], &text[start..start + field.name]);
        let value = text.slice_ref(line[field.name + 1..field.end].trim_ascii());
        start += field.end + 2;
        if !keeps(name, &value) {
            continue;
        }
        if let (Some(name), Ok(value)) = (names::of(name), HeaderValue::from_maybe_shared(value)) {
            // Refuses only what no head of ours can have.
            let _ = fields.try_append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_whatever_they_hold() {
        let lines = "host: a.test\r\nx_y: 1\r\nx!#$%&'*+.^`|~: odd\r\nempty:\r\nspaces:  \t a b\tc \t\r\nx-long: 0123456789abcdef0123456789abcdef:\r\nhigh: caf\u{e9}\r\nx-last: z\r\n";
        let expected = [
            ("host", "a.test"),
            ("x_y", "1"),
            ("x!#$%&'*+.^`|~", "odd"),
            ("empty", ""),
            ("spaces", "a b\tc"),
            ("x-long", "0123456789abcdef0123456789abcdef:"),
            ("high", "caf\u{e9}"),
            ("x-last", "z"),
        ];
        for end in ["", "\r\n", "\r\nx-behind: 1\r\n"] {
            let fields = read_trailers(format!("{lines}{end}").as_bytes());
            let read: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            assert_eq!(read, expected.map(|(name, value)| (name, value.as_bytes())), "{end:?}");
        }
        for bad in [": no name\r\n", "no colon\r\n", "no: end", "a b: 1\r\n"] {
            assert!(read_trailers(bad.as_bytes()).is_empty(), "{bad:?}");
        }
    }
}
