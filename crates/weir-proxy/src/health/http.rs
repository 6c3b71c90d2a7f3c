//! An HTTP probe: one request over a fresh connection, and the answer judged as strictly as a response to a client.

use std::{fmt::Write as _, io};

use weir_model::health::HttpProbe;

use super::http2;
use crate::{
    http::{BodyLength, ChunkDecoder, HeadEnd, ResponseHead, find_end},
    http2::read_request,
    io::Stream,
};

/// Bytes of the head of an answer, interim ones included.
const HEAD_BYTES: usize = 32 * 1024;
/// Bytes of a body in which the expected text is looked for.
const BODY_BYTES: usize = 64 * 1024;

/// Asks and judges.
pub(super) async fn ask(stream: &mut Stream, question: &HttpProbe, host: &str) -> Result<String, String> {
    let request = request(question, host);
    stream.send(request.as_bytes()).await.map_err(|error| broken(&error))?;
    let mut answer = Answer { stream, bytes: Vec::new(), ended: false };
    let head = answer.head(&*question.method == "HEAD").await?;
    if !expects(question, head.status) {
        return Err(unexpected(question, head.status));
    }
    if let Some(text) = &question.body {
        answer.body_with(&head.body, text.as_bytes()).await?;
    }
    Ok(format!("answered {}", head.status))
}

/// The same by HTTP/2.
pub(super) async fn ask_by_http2(
    stream: Stream,
    question: &HttpProbe,
    (host, secure): (&str, bool),
) -> Result<String, String> {
    let request = read_request(request(question, host).as_bytes(), secure, false);
    let request = request.ok_or_else(|| "the question cannot be asked by HTTP/2".to_owned())?;
    let holds = |body: &[u8]| {
        question.body.as_ref().is_none_or(|text| memchr::memmem::find(body, text.as_bytes()).is_some())
    };
    let enough =
        |head: &::http::response::Parts, body: &[u8]| !expects(question, head.status.as_u16()) || holds(body);
    let answer = http2::ask(stream, (request, None), BODY_BYTES, enough).await?;
    let status = answer.head.status.as_u16();
    match &question.body {
        _ if !expects(question, status) => Err(unexpected(question, status)),
        Some(text) if !holds(&answer.body) => Err(without(text.as_bytes())),
        _ => Ok(format!("answered {status}")),
    }
}

fn expects(question: &HttpProbe, status: u16) -> bool {
    question.expect.iter().any(|(first, last)| (*first..=*last).contains(&status))
}

fn unexpected(question: &HttpProbe, status: u16) -> String {
    format!("answered {status}, expected {}", ranges(&question.expect))
}

fn without(text: &[u8]) -> String {
    format!("the body of its answer does not hold `{}`", text.escape_ascii())
}

fn request(question: &HttpProbe, host: &str) -> String {
    let host = question.host.as_deref().unwrap_or(host);
    let mut text = format!("{} {} HTTP/1.1\r\nhost: {host}\r\n", question.method, question.path);
    let own = [("user-agent", "weir-health"), ("accept", "*/*")];
    let given = |name: &str| question.headers.iter().any(|(own, _)| &**own == name);
    let own = own.into_iter().filter(|(name, _)| !given(name));
    for (name, value) in own.chain(question.headers.iter().map(|(name, value)| (&**name, &**value))) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("connection: close\r\n\r\n");
    text
}

/// What has come of an answer so far.
struct Answer<'s> {
    stream: &'s mut Stream,
    bytes: Vec<u8>,
    ended: bool,
}

impl Answer<'_> {
    /// Reads the final head and takes it off the bytes.
    async fn head(&mut self, to_head: bool) -> Result<ResponseHead, String> {
        let mut taken = 0;
        let mut scanned = 0;
        loop {
            let begun = &self.bytes[..self.bytes.len().min(7)];
            if !b"HTTP/1.".starts_with(begun) {
                return Err("its answer is not HTTP: it does not begin with HTTP/1.".into());
            }
            let length = match find_end(&self.bytes, &mut scanned) {
                HeadEnd::At(length) => length,
                HeadEnd::BadLineEnd => return Err("its answer is not HTTP: a line ends without CR".into()),
                HeadEnd::Missing if self.ended && self.bytes.is_empty() => {
                    return Err("it closed the connection without an answer".into());
                }
                HeadEnd::Missing if self.ended => {
                    return Err("it closed the connection within its answer".into());
                }
                HeadEnd::Missing if taken + self.bytes.len() > HEAD_BYTES => {
                    return Err(format!("the head of its answer is larger than {} KiB", HEAD_BYTES / 1024));
                }
                HeadEnd::Missing => {
                    self.read().await?;
                    continue;
                }
            };
            let mut head = ResponseHead::default();
            let judged = head.judge(&self.bytes[..length], to_head);
            judged.map_err(|error| format!("its answer is not usable: {error}"))?;
            self.bytes.drain(..length);
            if head.status >= 200 || head.status == 101 {
                return Ok(head);
            }
            (taken, scanned) = (taken + length, 0);
        }
    }

    /// Reads until the body holds the text.
    async fn body_with(&mut self, length: &BodyLength, text: &[u8]) -> Result<(), String> {
        let mut decoder = ChunkDecoder::default();
        let mut body: Vec<u8> = Vec::new();
        loop {
            let complete = match length {
                BodyLength::None => true,
                BodyLength::UntilClose => {
                    body.append(&mut self.bytes);
                    false
                }
                BodyLength::Length(length) => {
                    body.append(&mut self.bytes);
                    let length = usize::try_from(*length).unwrap_or(usize::MAX);
                    body.truncate(length);
                    body.len() == length
                }
                BodyLength::Chunked => {
                    let decoded = decoder.decode(&mut self.bytes);
                    let decoded =
                        decoded.map_err(|_| "its answer is not usable: a malformed chunk".to_owned())?;
                    body.extend_from_slice(&self.bytes[..decoded.content]);
                    self.bytes.drain(..decoded.used);
                    decoder.is_done()
                }
            };
            body.truncate(BODY_BYTES);
            if memchr::memmem::find(&body, text).is_some() {
                return Ok(());
            }
            if complete || self.ended || body.len() == BODY_BYTES {
                return Err(without(text));
            }
            self.read().await?;
        }
    }

    /// Reads what comes next.
    async fn read(&mut self) -> Result<(), String> {
        let mut room = [0u8; 8192];
        let count = self.stream.take(&mut room).await.map_err(|error| broken(&error))?;
        self.ended = count == 0;
        self.bytes.extend_from_slice(&room[..count]);
        Ok(())
    }
}

pub(super) fn broken(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "it reset the connection".into(),
        _ => format!("the connection broke: {error}"),
    }
}

/// `200-299`, `200-299 or 404`.
fn ranges(expect: &[(u16, u16)]) -> String {
    let range = |(first, last): &(u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    expect.iter().map(range).collect::<Vec<_>>().join(" or ")
}
