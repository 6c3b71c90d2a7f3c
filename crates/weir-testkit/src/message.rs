//! A message of HTTP/1 as a test sees it: text as it was on the wire, nothing judged, nothing merged.

use std::fmt;

/// A request or a response. Text is Latin-1: one character for each byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The request line or status line.
    pub start: String,
    /// Header fields in their order, names as written.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Trailer fields of a chunked body.
    pub trailers: Vec<(String, String)>,
    /// False if the peer closed before the end that the framing promised.
    pub complete: bool,
}

/// On one line, for the sentences of failing tests.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.start)?;
        for (name, value) in &self.headers {
            write!(f, " | {name}: {value}")?;
        }
        let rest = if self.complete { "" } else { " and the rest missing" };
        write!(f, " | body of {} bytes{rest}", self.body.len())
    }
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

impl Message {
    /// The method of a request.
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The target of a request.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The status code of a response; 0 if there is none.
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// The first field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// The values of every field of this name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(candidate, _)| candidate.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// True if a field of this name is there.
    pub fn has(&self, name: &str) -> bool {
        self.header(name).is_some()
    }

    /// The first trailer of this name.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        let mut same = self.trailers.iter().filter(|(candidate, _)| candidate.eq_ignore_ascii_case(name));
        same.next().map(|(_, value)| value.as_str())
    }

    /// True if a list-valued field holds this element, in any case.
    pub fn lists(&self, name: &str, element: &str) -> bool {
        let mut elements = self.all(name).into_iter().flat_map(|value| value.split(','));
        elements.any(|candidate| candidate.trim().eq_ignore_ascii_case(element))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        latin1(&self.body)
    }

    /// How the body of a request is delimited.
    pub(crate) fn request_framing(&self) -> Framing {
        self.stated_framing().unwrap_or(Framing::None)
    }

    /// How the body of the response to a request with this method is delimited.
    pub(crate) fn response_framing(&self, method: &str) -> Framing {
        match self.status() {
            100..=199 | 204 | 304 => Framing::None,
            _ if method == "HEAD" => Framing::None,
            _ => self.stated_framing().unwrap_or(Framing::UntilClose),
        }
    }

    fn stated_framing(&self) -> Option<Framing> {
        if self.lists("transfer-encoding", "chunked") {
            return Some(Framing::Chunked);
        }
        let length = self.header("content-length")?;
        Some(Framing::Length(length.trim().parse().ok()?))
    }
}

/// Bytes as text, one character each.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The head at the start of `bytes` and its length, once it is complete. Bare line feeds end lines too: the receiver
/// here is as lenient as the worst backend.
pub(crate) fn head(bytes: &[u8]) -> Option<(Message, usize)> {
    let mut lines = Vec::new();
    let mut at = 0;
    loop {
        let length = bytes[at..].iter().position(|byte| *byte == b'\n')?;
        let line = &bytes[at..at + length];
        at += length + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match (line.is_empty(), lines.is_empty()) {
            (true, true) => {}
            (true, false) => break,
            (false, _) => lines.push(latin1(line)),
        }
    }
    let mut lines = lines.into_iter();
    let start = lines.next()?;
    Some((Message { start, headers: lines.map(|line| field(&line)).collect(), ..Message::default() }, at))
}

/// Name and value of a field line; a line without a colon is all name.
pub(crate) fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_parsed_once_it_is_complete() {
        let bytes = b"\r\nGET /x HTTP/1.1\r\nHost: a.test\r\nX:  y\t\r\nX: z\r\n\r\nrest";
        assert!(head(&bytes[..20]).is_none());
        let (message, length) = head(bytes).unwrap();
        assert_eq!(&bytes[length..], b"rest");
        assert_eq!((message.method(), message.target()), ("GET", "/x"));
        assert_eq!(message.all("x"), ["y", "z"]);
        assert_eq!(message.request_framing(), Framing::None);
    }

    #[test]
    fn framing_depends_on_method_and_status() {
        let (message, _) = head(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap();
        assert_eq!(message.response_framing("GET"), Framing::Length(5));
        assert_eq!(message.response_framing("HEAD"), Framing::None);
        let (message, _) = head(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").unwrap();
        assert_eq!(message.response_framing("GET"), Framing::None);
        let (message, _) = head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n").unwrap();
        assert_eq!(message.response_framing("GET"), Framing::Chunked);
        let (message, _) = head(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
        assert_eq!(message.response_framing("GET"), Framing::UntilClose);
    }
}
