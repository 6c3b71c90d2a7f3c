//! The grammar of heads (RFC 9112 sections 3 to 5) in one pass: nothing lenient, and every line end is CR LF.
//!
//! Written by hand because it is half of what a request costs: fields are checked, bounded and classified in the pass
//! that finds them. A test holds it against `httparse`: whatever this accepts, that accepts with the same result.

use super::{
    lines::{Line, Lines, Span},
    names::{Name, classify},
    scan::{behind_text, method, plain, token},
};

/// What is wrong with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadHead {
    /// The first line.
    FirstLine,
    /// A byte in a target that has to be percent-encoded.
    Target,
    /// `HTTP/` and another version than 1.0 or 1.1.
    Version,
    /// The status of a response.
    Status,
    /// A field name that is not a token, or white space before the colon.
    Name,
    /// A byte in a field value that has no place there.
    Value,
    /// A line that ends without CR LF.
    LineEnd,
    /// More fields than allowed.
    TooMany,
}

/// The first line of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestLine {
    pub(crate) method: Span,
    pub(crate) target: Span,
    pub(crate) http10: bool,
    /// Where the fields begin.
    pub(crate) end: usize,
}

/// The first line of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatusLine {
    pub(crate) status: u16,
    pub(crate) reason: Span,
    pub(crate) http10: bool,
    /// Where the fields begin.
    pub(crate) end: usize,
}

const fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}

/// The end of a line at `at`: behind its CR LF, or `None` if that has not come whole.
#[inline]
fn line_end(bytes: &[u8], at: usize, otherwise: BadHead) -> Result<Option<usize>, BadHead> {
    if bytes.get(at..at + 2) == Some(b"\r\n") {
        return Ok(Some(at + 2));
    }
    match (bytes.get(at), bytes.get(at + 1)) {
        (None, _) | (Some(b'\r'), None) => Ok(None),
        (Some(b'\n'), _) => Err(BadHead::LineEnd),
        _ => Err(otherwise),
    }
}

/// The first line of a request; `None` if it is not complete.
pub(crate) fn request_line(bytes: &[u8]) -> Result<Option<RequestLine>, BadHead> {
    let method = method(bytes);
    match bytes.get(method) {
        None => return Ok(None),
        Some(b' ') if method > 0 => {}
        Some(_) => return Err(BadHead::FirstLine),
    }
    let target = method + 1;
    let mut at = target;
    while at < bytes.len() && bytes[at] > b' ' && bytes[at] < 0x7f {
        at += 1;
    }
    match bytes.get(at) {
        None => return Ok(None),
        Some(b' ') if at > target => {}
        Some(b' ' | b'\r' | b'\n') => return Err(BadHead::FirstLine),
        Some(_) => return Err(BadHead::Target),
    }
    let version = at + 1;
    let http10 = match bytes.get(version..version + 8) {
        Some(b"HTTP/1.1") => false,
        Some(b"HTTP/1.0") => true,
        Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'])
            if bytes.get(version + 8).is_none_or(|byte| *byte == b'\r') =>
        {
            return Err(BadHead::Version);
        }
        None if b"HTTP/1.".starts_with(&bytes[version..]) => return Ok(None),
        _ => return Err(BadHead::FirstLine),
    };
    let end = line_end(bytes, version + 8, BadHead::FirstLine)?;
    let line = |end| RequestLine { method: span(0, method), target: span(target, at), http10, end };
    Ok(end.map(line))
}

/// The first line of a response; `None` if it is not complete.
pub(crate) fn status_line(bytes: &[u8]) -> Result<Option<StatusLine>, BadHead> {
    let http10 = match bytes.get(..9) {
        Some(b"HTTP/1.1 ") => false,
        Some(b"HTTP/1.0 ") => true,
        Some(_) => return Err(BadHead::FirstLine),
        None => return Ok(None),
    };
    let Some(digits) = bytes.get(9..12) else { return Ok(None) };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(BadHead::Status);
    }
    let status = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let (start, at) = match bytes.get(12) {
        Some(b' ') => (13, bytes.len() - behind_text(&bytes[13..]).len()),
        Some(b'\r' | b'\n') | None => (12, 12),
        Some(_) => return Err(BadHead::Status),
    };
    if !(100..600).contains(&status) {
        return Err(BadHead::Status);
    }
    let end = line_end(bytes, at, BadHead::FirstLine)?;
    Ok(end.map(|end| StatusLine { status, reason: span(start, at), http10, end }))
}

/// The value without blanks before it.
#[inline]
fn without_blanks(value: &[u8]) -> &[u8] {
    match value {
        // One space, as nearly always.
        [b' ', first, ..] if *first > b' ' => &value[1..],
        _ => behind_blanks(value),
    }
}

#[cold]
fn behind_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', behind @ ..] = value {
        value = behind;
    }
    value
}

/// The fields from `at` on, up to and with the empty line; returns where that ends, or `None` if it has not come.
pub(crate) fn fields(
    bytes: &[u8],
    at: usize,
    most: usize,
    lines: &mut Lines,
) -> Result<Option<usize>, BadHead> {
    lines.begin(at);
    let mut rest = bytes.get(at..).unwrap_or_default();
    loop {
        let start = bytes.len() - rest.len();
        let (mut length, mut underscore) = (plain(rest), false);
        if rest.get(length) != Some(&b':') {
            if length == 0 && matches!(rest, [b'\r' | b'\n', ..]) {
                return line_end(bytes, start, BadHead::LineEnd);
            }
            (length, underscore) = token(rest, length);
            match rest.get(length) {
                Some(b':') => {}
                None => return Ok(None),
                Some(_) => return Err(BadHead::Name),
            }
        }
        if length == 0 {
            return Err(BadHead::Name);
        }
        let value = without_blanks(&rest[length + 1..]);
        let behind = behind_text(value);
        let [b'\r', b'\n', next @ ..] = behind else {
            return line_end(bytes, bytes.len() - behind.len(), BadHead::Value);
        };
        if lines.len() == most {
            return Err(BadHead::TooMany);
        }
        let (from, mut to) = (bytes.len() - value.len(), bytes.len() - behind.len());
        if bytes[to - 1] <= b' ' {
            to = from + bytes[from..to].trim_ascii_end().len();
        }
        let kind = if underscore { Name::Underscore } else { classify(&rest[..length]) };
        let whole = span(start, bytes.len() - next.len());
        lines.push(Line { whole, name: span(start, start + length), value: span(from, to), kind });
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Length, method, target, whether it is 1.0, and the fields.
    type Taken = (usize, String, String, bool, Vec<(String, Vec<u8>)>);

    /// What `httparse` makes of a request; `None` if it is partial or refused.
    fn oracle(bytes: &[u8]) -> Option<Taken> {
        let mut room = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut room);
        let Ok(httparse::Status::Complete(length)) = request.parse(bytes) else { return None };
        let fields =
            request.headers.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect();
        Some((length, request.method?.to_owned(), request.path?.to_owned(), request.version? == 0, fields))
    }

    fn ours(bytes: &[u8]) -> Option<Taken> {
        let line = request_line(bytes).ok()??;
        let mut lines = Lines::default();
        let end = fields(bytes, line.end, 32, &mut lines).ok()??;
        let text = |span: Span| String::from_utf8_lossy(span.of(bytes)).into_owned();
        let fields = lines.iter().map(|line| (text(line.name), line.value.of(bytes).to_vec())).collect();
        Some((end, text(line.method), text(line.target), line.http10, fields))
    }

    #[test]
    fn heads_are_taken_apart() {
        let head = b"GET /a?b HTTP/1.1\r\nHost: a.test\r\nX-Empty:\r\nX-Spaces: \t a b\t \r\nX-Long: 0123456789abcdef\r\n\r\nrest";
        assert_eq!(ours(head), oracle(head));
        for split in 0..head.len() - 4 {
            assert_eq!(ours(&head[..split]), None, "{split}");
        }
        let line = status_line(b"HTTP/1.0 404 Not  Found\r\n").expect("valid").expect("complete");
        assert_eq!((line.status, line.http10, line.end, line.reason), (404, true, 25, span(13, 23)));
        assert!(matches!(status_line(b"HTTP/1.1 200\r\n"), Ok(Some(line)) if line.status == 200));
        for bad in [
            "HTTP/1.1 2x0 OK\r\n",
            "HTTP/1.1 99 OK\r\n",
            "HTTP/1.1 1000 OK\r\n",
            "HTTP/1.1 099 OK\r\n",
            "SSH-2.0-x\r\n",
        ] {
            assert!(status_line(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_byte_is_judged_in_every_place() {
        // One strange byte at each place of a good head: never a panic, and never more lenient than the oracle.
        let head = b"GET /path HTTP/1.1\r\nHost: a.test\r\nUser-Agent: something long enough\r\n\r\n";
        for at in 0..head.len() {
            for byte in 0..=255u8 {
                let mut head = head.to_vec();
                head[at] = byte;
                if let Some(ours) = ours(&head) {
                    assert_eq!(Some(ours), oracle(&head), "{:?}", head.escape_ascii().to_string());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_read_as_others_read_it(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("GET ".to_owned()), Just("/".to_owned()), Just(" HTTP/1.1\r\n".to_owned()),
                    Just("Host: a\r\n".to_owned()), Just("\r\n".to_owned()), Just("\n".to_owned()),
                    Just(": ".to_owned()), Just("\r".to_owned()), "[ -~\t]{0,12}", "\\PC{0,4}",
                ],
                0..12,
            ),
            whole: bool,
        ) {
            let middle = pieces.concat();
            let text = if whole { format!("GET / HTTP/1.1\r\nHost: a\r\n{middle}\r\n\r\n") } else { middle };
            if let Some(ours) = ours(text.as_bytes()) {
                prop_assert_eq!(Some(ours), oracle(text.as_bytes()));
            }
        }
    }
}
