//! HTTP/1.1 as the admin API speaks it: whole heads, bodies of a known length, and nothing that two readers could
//! understand in two ways (RFC 9112). What is refused ends its connection.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

/// Bytes of a request head.
const MOST_HEAD: usize = 16 * 1024;
/// Header fields of a request.
const MOST_FIELDS: usize = 64;
/// Bytes of a request body.
const MOST_BODY: usize = 64 * 1024;
/// From the first byte of a request to its last one.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Between two requests.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// For a client that does not take its answer.
const SEND_TIME: Duration = Duration::from_secs(30);
/// How much is read, and for how long, from a client that was refused while it still sends.
const LINGER_BYTES: usize = 256 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(1);

/// A request that came whole.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    /// As it came: nothing in it is decoded.
    pub(super) path: String,
    pub(super) query: Option<String>,
    /// Names in lower case.
    fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// The client will ask again on this connection.
    pub(super) keep_alive: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) sentence: &'static str,
}

impl Refused {
    /// What to do about it; nothing where the sentence says it.
    pub(super) const fn remedy(self) -> &'static str {
        match self.status {
            411 => "send Content-Length, and no Transfer-Encoding",
            413 => "send nothing but what is asked for: no request here needs a longer body",
            414 | 431 => "send a shorter one",
            417 => "leave `Expect` out",
            505 => "use HTTP/1.1",
            _ => "",
        }
    }
}

/// How reading a request ended.
#[derive(Debug)]
pub(super) enum Read {
    Request(Request),
    Refused(Refused),
    /// The client has nothing more to ask, or broke off.
    Closed,
}

const fn refused(status: u16, sentence: &'static str) -> Refused {
    Refused { status, sentence }
}

impl Request {
    /// The value of the first field of a name in lower case.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).next()
    }

    /// The values of all fields of a name in lower case.
    pub(super) fn fields(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Reads a head, the empty line at its end included.
    fn parse(head: &[u8]) -> Result<Self, Refused> {
        let text = head.strip_suffix(b"\r\n\r\n").unwrap_or(head);
        // Bytes above US-ASCII may stand in values; Latin-1 keeps each of them one character.
        let text: String = text.iter().map(|byte| char::from(*byte)).collect();
        let mut lines = text.split("\r\n");
        let (mut request, http10) = Self::parse_line(lines.next().unwrap_or_default())?;
        for line in lines {
            if request.fields.len() == MOST_FIELDS {
                return Err(refused(431, "the request has too many header fields"));
            }
            request.fields.push(parse_field(line)?);
        }
        request.judge(http10)?;
        Ok(request)
    }

    fn parse_line(line: &str) -> Result<(Self, bool), Refused> {
        const BAD: Refused = refused(400, "the request line is not HTTP");
        let mut words = line.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(BAD);
        };
        if method.is_empty() || !method.bytes().all(is_token) || target.is_empty() {
            return Err(BAD);
        }
        let http10 = match version {
            "HTTP/1.1" => false,
            "HTTP/1.0" => true,
            _ if version.starts_with("HTTP/") => {
                return Err(refused(505, "the HTTP version is not 1.0 or 1.1"));
            }
            _ => return Err(BAD),
        };
        if !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(refused(400, "the request target is not a path"));
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        Ok((Self { method: method.into(), path: path.into(), query, ..Self::default() }, http10))
    }

    /// What fields say about each other, and about the connection.
    fn judge(&mut self, http10: bool) -> Result<(), Refused> {
        let hosts = self.fields("host").count();
        if hosts > 1 || hosts == 0 && !http10 || !self.field("host").is_none_or(is_host) {
            return Err(refused(400, "the request has no valid Host, or more than one"));
        }
        if self.field("transfer-encoding").is_some() {
            return Err(refused(411, "the length of the body has to be given with Content-Length"));
        }
        if self.fields("content-length").count() > 1 {
            return Err(refused(400, "the length of the body is ambiguous"));
        }
        if self.fields("expect").any(|value| !value.eq_ignore_ascii_case("100-continue")) {
            return Err(refused(417, "the only expectation that can be met is 100-continue"));
        }
        let connection = self.fields("connection").collect::<Vec<_>>().join(",").to_ascii_lowercase();
        let says = |word: &str| connection.split(',').any(|option| option.trim() == word);
        self.keep_alive = !says("close") && (!http10 || says("keep-alive"));
        Ok(())
    }

    /// Bytes of the body.
    fn length(&self) -> Result<usize, Refused> {
        let Some(text) = self.field("content-length") else { return Ok(0) };
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused(400, "Content-Length is not a number"));
        }
        match text.parse() {
            Ok(length) if length <= MOST_BODY => Ok(length),
            _ => Err(refused(413, "the request body is larger than 64 KiB")),
        }
    }
}

/// `Name: value`.
fn parse_field(line: &str) -> Result<(String, String), Refused> {
    let bad = refused(400, "a header field is malformed");
    let (name, value) = line.split_once(':').ok_or(bad)?;
    let value = value.trim_matches([' ', '\t']);
    let fine = |character: char| character == '\t' || !character.is_control() || character >= '\u{80}';
    if name.is_empty() || !name.bytes().all(is_token) || !value.chars().all(fine) {
        return Err(bad);
    }
    Ok((name.to_ascii_lowercase(), value.into()))
}

/// The characters of a token (RFC 9110 section 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// `name`, `name:port`, `192.0.2.1:80`, `[::1]:80`; unix clients may leave it empty.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((inside, port))
                if inside.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) =>
            {
                ("", port)
            }
            _ => return false,
        },
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port_is_fine = match port.strip_prefix(':') {
        Some(digits) => {
            digits.is_empty()
                || digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        }
        None => port.is_empty(),
    };
    port_is_fine
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

/// Where the head ends, if it is complete.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Refuses early what can never become a request: a line end without CR, a NUL. What stands before `from` has been
/// judged.
fn judge_bytes(bytes: &[u8], from: usize) -> Result<(), Refused> {
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        let follows = bytes.get(at + 1);
        let bad = match byte {
            b'\n' => at == 0 || bytes[at - 1] != b'\r',
            b'\r' => follows.is_some_and(|next| *next != b'\n'),
            0 => true,
            _ => false,
        };
        if bad {
            return Err(refused(400, "a line ends without CR LF"));
        }
    }
    Ok(())
}

/// A connection of a client, with what has come and was not used yet.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    bytes: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, bytes: Vec::new() }
    }

    /// The next request.
    pub(super) async fn read(&mut self) -> Read {
        if self.bytes.is_empty() && !matches!(timeout(IDLE_TIME, self.more()).await, Ok(true)) {
            return Read::Closed;
        }
        let late = refused(408, "the request took too long");
        timeout(REQUEST_TIME, self.read_request()).await.unwrap_or(Read::Refused(late))
    }

    async fn read_request(&mut self) -> Read {
        let (mut judged, mut end) = (0, None);
        while end.is_none() {
            end = end_of_head(&self.bytes[judged..]).map(|end| judged + end);
            let until = end.unwrap_or(self.bytes.len());
            // A head that is complete is judged without what follows it, which may be a body.
            if let Err(refused) = judge_bytes(&self.bytes[..until], judged) {
                return Read::Refused(refused);
            }
            judged = until.saturating_sub(3);
            if until > MOST_HEAD || end.is_none() && until >= MOST_HEAD {
                let in_first_line = !self.bytes[..MOST_HEAD].contains(&b'\n');
                return Read::Refused(match in_first_line {
                    true => refused(414, "the request target is too long"),
                    false => refused(431, "the request head is larger than 16 KiB"),
                });
            }
            if end.is_none() && !self.more().await {
                return Read::Closed;
            }
        }
        let end = end.unwrap_or_default();
        let request = Request::parse(&self.bytes[..end]).and_then(|request| Ok((request.length()?, request)));
        self.bytes.drain(..end);
        match request {
            Ok((length, request)) => self.read_body(request, length).await,
            Err(refused) => Read::Refused(refused),
        }
    }

    async fn read_body(&mut self, mut request: Request, length: usize) -> Read {
        if length > self.bytes.len() && request.field("expect").is_some() {
            // Whoever waits for this has not sent the body yet.
            if self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
                return Read::Closed;
            }
        }
        while self.bytes.len() < length {
            if !self.more().await {
                return Read::Closed;
            }
        }
        request.body = self.bytes.drain(..length).collect();
        Read::Request(request)
    }

    /// Reads more bytes; false at the end.
    async fn more(&mut self) -> bool {
        let mut room = [0; 4096];
        match self.stream.read(&mut room).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.bytes.extend_from_slice(&room[..count]);
                true
            }
        }
    }

    /// Sends an answer; false if the client is gone.
    pub(super) async fn send(&mut self, answer: &[u8]) -> bool {
        matches!(timeout(SEND_TIME, self.stream.write_all(answer)).await, Ok(Ok(())))
    }

    /// Ends our direction and reads on for a moment: closing with unread bytes would reset the connection, and the
    /// client might never see the answer (RFC 9112 section 9.6).
    pub(super) async fn close(mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let drain = async {
            let mut left = LINGER_BYTES;
            while left > 0 && self.more().await {
                left = left.saturating_sub(self.bytes.len());
                self.bytes.clear();
            }
        };
        let _ = timeout(LINGER_TIME, drain).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<Request, Refused> {
        Request::parse(format!("{head}\r\n\r\n").as_bytes())
    }

    #[test]
    fn a_request_is_taken_apart() {
        let request =
            parse("PUT /a%2fb?x=1&y HTTP/1.1\r\nHost: a.test:80\r\nX-A:  1 \r\nx-a: 2\r\nContent-Length: 7")
                .unwrap();
        assert_eq!(
            (&*request.method, &*request.path, request.query.as_deref()),
            ("PUT", "/a%2fb", Some("x=1&y"))
        );
        assert_eq!(request.fields("x-a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((request.length(), request.keep_alive), (Ok(7), true));
        assert!(!parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close").unwrap().keep_alive);
        assert!(!parse("GET / HTTP/1.0").unwrap().keep_alive);
        assert!(parse("GET / HTTP/1.0\r\nConnection: keep-alive").unwrap().keep_alive);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let with = |field: &str| parse(&format!("GET / HTTP/1.1\r\nHost: a\r\n{field}"));
        for (field, status) in [
            ("Host: a", 400),
            ("Transfer-Encoding: chunked", 411),
            ("Content-Length: 1\r\nContent-Length: 1", 400),
            ("X-A : 1", 400),
            (" folded: 1", 400),
            ("X-A: a\u{7f}", 400),
            ("no colon", 400),
            (": empty", 400),
            ("Expect: more", 417),
        ] {
            assert_eq!(with(field).err().map(|refused| refused.status), Some(status), "{field}");
        }
        for length in ["+1", "-1", "0x1", "1,1", "", "1 1"] {
            assert_eq!(
                with(&format!("Content-Length: {length}")).unwrap().length().unwrap_err().status,
                400,
                "{length}"
            );
        }
        for length in ["65537", "99999999999999999999999"] {
            assert_eq!(with(&format!("Content-Length: {length}")).unwrap().length().unwrap_err().status, 413);
        }
        for (line, status) in [
            ("GET  / HTTP/1.1", 400),
            ("GET / HTTP/1.1 ", 400),
            ("GET /\tx HTTP/1.1", 400),
            ("GET http://a/ HTTP/1.1", 400),
            ("OPTIONS * HTTP/1.1", 400),
            ("GET /#x HTTP/1.1", 400),
            ("GET / HTTP/2.0", 505),
            ("GET / http/1.1", 400),
            ("GET /", 400),
            ("", 400),
        ] {
            let refused = parse(&format!("{line}\r\nHost: a")).err().map(|refused| refused.status);
            assert_eq!(refused, Some(status), "{line}");
        }
        for host in ["a b", "a,b", "u@a", "a:x", "a:99999", "[::1", "[x]"] {
            assert!(parse(&format!("GET / HTTP/1.1\r\nHost: {host}")).is_err(), "{host}");
        }
        assert!(parse("GET / HTTP/1.1").is_err(), "HTTP/1.1 needs a Host");
    }

    #[test]
    fn line_ends_are_judged_before_the_head_is_complete() {
        assert!(judge_bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r", 0).is_ok());
        for bytes in [&b"GET / HTTP/1.1\n"[..], b"\n", b"a\rb", b"a\0"] {
            assert!(judge_bytes(bytes, 0).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
