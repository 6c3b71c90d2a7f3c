//! gRPC-Web (`PROTOCOL-WEB` of gRPC): calls of browsers, which see no trailers, bridged to backends that speak gRPC.
//!
//! ```text
//!  browser ── application/grpc-web(-text) ──> heads and text translated ── application/grpc, te: trailers ──> backend
//!  browser <── content, trailers as the last frame of it, in text if asked ──────────────────────────────── backend
//! ```
//!
//! Messages are framed alike in both, so that content passes as it is, but for the coding of the text form. All of this is
//! done only where a route says `grpc_web` and the request is such a call.

mod text;

use std::{
    io,
    task::{Context, Poll, ready},
};

use weir_model::grpc;

use super::{
    exchange::Exchange, grpc::web_call, kept::ResponseFields, request::BodyLength, response::ResponseHead,
};
use crate::{buffer::Buffer, duplex::Duplex, telemetry::Fields as _};

/// The flag of the frame that holds trailers, and bytes of its length behind it.
const TRAILERS: u8 = 0x80;
const FRAME_HEAD: usize = 5;
const WEB: &[u8] = b"application/grpc-web";
const TEXT: &[u8] = b"-text";
const GRPC: &[u8] = b"application/grpc";

/// How content is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As bytes.
    Binary,
    /// In base64.
    Text,
}

/// A call of gRPC-Web.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WebCall {
    /// How the client writes.
    pub(crate) asks: Form,
    /// How it wants to be answered.
    pub(crate) reads: Form,
}

/// Makes the head of a call, written as the text of a request, one of gRPC; `None` if it is none of gRPC-Web.
pub(crate) fn translate_request(head: &mut Vec<u8>) -> Option<WebCall> {
    let kind = find(head, b"content-type")?;
    if !grpc::is_web(&head[kind.value.clone()]) {
        return None;
    }
    let (asks, rest) = form(&head[kind.value.clone()]);
    let plain = [GRPC, &head[kind.value.start + rest..kind.value.end]].concat();
    head.splice(kind.value, plain);
    // What it accepts counts, if that is gRPC-Web at all.
    let accepted = find(head, b"accept").map(|accept| &head[accept.value]);
    let reads = accepted.and_then(|accepted| accepted.split(|byte| *byte == b',').find_map(named));
    if asks == Form::Text {
        remove(head, b"content-length");
    }
    Some(WebCall { asks, reads: reads.unwrap_or(asks) })
}

/// The form that a media type of a list names.
fn named(media_type: &[u8]) -> Option<Form> {
    let media_type = media_type.trim_ascii();
    grpc::is_web(media_type).then(|| form(media_type).0)
}

/// Form of a Content-Type of gRPC-Web, and where its suffix begins.
fn form(content_type: &[u8]) -> (Form, usize) {
    let behind = content_type.get(WEB.len()..WEB.len() + TEXT.len());
    if behind.is_some_and(|behind| behind.eq_ignore_ascii_case(TEXT)) {
        (Form::Text, WEB.len() + TEXT.len())
    } else {
        (Form::Binary, WEB.len())
    }
}

/// What becomes of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Its content follows, with trailers behind it.
    Content,
    /// It was trailers alone: this is its whole content, whose length the head says.
    Whole(Vec<u8>),
}

/// Makes the head of an answer of gRPC, written as text with its empty line, one of gRPC-Web; `whole` says that nothing
/// follows it. `None` if it is no answer of gRPC: clients know what a status of HTTP means to them.
pub(crate) fn translate_answer(head: &mut Vec<u8>, reads: Form, whole: bool) -> Option<Answered> {
    let kind = find(head, b"content-type")?;
    if !grpc::is_call(&head[kind.value.clone()]) {
        return None;
    }
    let web = content_type(reads, &head[kind.value.start + GRPC.len()..kind.value.end]);
    head.splice(kind.value, web);
    remove(head, b"content-length");
    if !whole || find(head, b"grpc-status").is_none() {
        return Some(Answered::Content);
    }
    let content = take_status(head, reads);
    let empty = head.split_off(head.len().saturating_sub(2));
    super::write::write_length(head, content.len() as u64);
    head.extend_from_slice(&empty);
    Some(Answered::Whole(content))
}

/// An answer that trailers are put behind is not as long as its head says.
#[cold]
pub(super) fn forget_length(response: &mut ResponseHead, head: &[u8]) {
    let fields = ResponseFields { response, head };
    if matches!(response.body, BodyLength::Length(_))
        && fields.first("content-type").is_some_and(grpc::is_call)
    {
        response.body = BodyLength::UntilClose;
    }
}

/// Makes the fields of an answer of our own, which is trailers alone, those of one of gRPC-Web; returns its content.
pub(super) fn translate_refusal(fields: &mut Vec<u8>, reads: Form) -> Vec<u8> {
    if let Some(kind) = find(fields, b"content-type") {
        fields.splice(kind.value, content_type(reads, b""));
    }
    take_status(fields, reads)
}

/// Takes the status out of a head, and says it in content: there it is seen by pages of other origins as well, whatever
/// headers are exposed to them.
fn take_status(head: &mut Vec<u8>, reads: Form) -> Vec<u8> {
    let mut trailers = Vec::new();
    for name in [&b"grpc-status"[..], b"grpc-message", b"grpc-status-details-bin"] {
        while let Some(line) = find(head, name) {
            trailers.extend(head.drain(line.start..line.end));
        }
    }
    let content = trailer_frame(&trailers);
    if reads == Form::Binary {
        return content;
    }
    let mut text = vec![0; content.len().div_ceil(3) * 4];
    let (_, written) = text::encode(&content, &mut text);
    text.truncate(written);
    text
}

/// The Content-Type of gRPC-Web, with a suffix as gRPC has it.
fn content_type(reads: Form, suffix: &[u8]) -> Vec<u8> {
    [WEB, if reads == Form::Text { TEXT } else { b"" }, suffix].concat()
}

/// The frame that says these lines of trailers; names in it are in lower case.
fn trailer_frame(lines: &[u8]) -> Vec<u8> {
    let mut frame = vec![TRAILERS, 0, 0, 0, 0];
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let colon = memchr::memchr(b':', line).unwrap_or(0);
        frame.extend(line[..colon].iter().map(u8::to_ascii_lowercase));
        frame.push(b':');
        frame.extend_from_slice(line.get(colon + 1..).unwrap_or_default().trim_ascii());
        frame.extend_from_slice(b"\r\n");
    }
    let length = u32::try_from(frame.len() - FRAME_HEAD).unwrap_or(0);
    frame[1..FRAME_HEAD].copy_from_slice(&length.to_be_bytes());
    frame
}

/// Where a field line stands in a head.
struct At {
    start: usize,
    value: std::ops::Range<usize>,
    end: usize,
}

/// The first line of this name.
fn find(head: &[u8], name: &[u8]) -> Option<At> {
    let mut start = 0;
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        let end = start + line.len();
        if let Some((said, rest)) = line.split_at_checked(name.len())
            && said.eq_ignore_ascii_case(name)
            && rest.first() == Some(&b':')
        {
            let value = rest[1..].trim_ascii();
            let before = rest.len() - rest[1..].trim_ascii_start().len();
            let from = start + name.len() + before;
            return Some(At { start, value: from..from + value.len(), end });
        }
        start = end;
    }
    None
}

fn remove(head: &mut Vec<u8>, name: &[u8]) {
    while let Some(line) = find(head, name) {
        head.drain(line.start..line.end);
    }
}

impl Exchange<'_> {
    /// Makes the request that was written for a backend one of gRPC, if it is one of gRPC-Web.
    #[cold]
    pub(super) fn bridge(&mut self) {
        if let Some(web) = translate_request(&mut self.text) {
            let timeout = find(&self.text, b"grpc-timeout").map(|line| &self.text[line.value]);
            self.begin_call(web_call(web, timeout));
        }
    }

    /// The call of gRPC-Web that it is.
    #[inline]
    pub(super) fn bridged(&self) -> Option<WebCall> {
        self.asked.call.as_ref().and_then(|call| call.web)
    }
}

/// What a message goes through on its way.
#[derive(Debug)]
pub(super) enum Bridge {
    /// A request in text: becomes bytes.
    Asking(text::Decoder),
    /// An answer: its trailers become content, and all of it text if the client reads that.
    Answering(Answering),
}

impl Bridge {
    /// For a request in text.
    pub(super) fn asking() -> Box<Self> {
        Box::new(Self::Asking(text::Decoder::default()))
    }

    /// For an answer.
    pub(super) fn answering(reads: Form, raw: Buffer) -> Box<Self> {
        Box::new(Self::Answering(Answering { reads, raw, lines: Vec::new(), frame: None, said: 0 }))
    }

    /// Fills the buffer with what comes, or what is made of it; 0 is the end.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        source: Duplex<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Asking(_) => source.poll_fill(cx, buffer),
            Self::Answering(answering) => answering.poll_fill(cx, source, buffer),
        }
    }

    /// Decodes content in place; says how long it is then. `last` says that nothing follows; `None` if it is no base64.
    pub(super) fn decode(&mut self, content: &mut [u8], last: bool) -> Option<usize> {
        let Self::Asking(decoder) = self else { return Some(content.len()) };
        let length = decoder.decode(content).ok()?;
        (!last || decoder.is_whole()).then_some(length)
    }

    /// False if the message ends in the middle of something.
    pub(super) const fn may_end(&self) -> bool {
        match self {
            Self::Asking(decoder) => decoder.is_whole(),
            Self::Answering(_) => true,
        }
    }

    /// True if nothing follows the end of what comes.
    pub(super) const fn adds_nothing(&self) -> bool {
        matches!(self, Self::Asking(_))
    }

    /// The lines of the trailers that were made content.
    pub(super) fn said(&self) -> &[u8] {
        match self {
            Self::Asking(_) => b"",
            Self::Answering(answering) => &answering.lines,
        }
    }
}

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Answering {
    reads: Form,
    /// Content as it came, where it is yet to be written as text.
    raw: Buffer,
    /// The trailers, as they came.
    lines: Vec<u8>,
    /// The frame of them, once they are known; nothing if there are none.
    frame: Option<Vec<u8>>,
    /// How much of it is on its way.
    said: usize,
}

impl Answering {
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        source: Duplex<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        if self.frame.is_none() && self.raw.is_empty() {
            let into = if self.reads == Form::Text { &mut self.raw } else { &mut *buffer };
            let count = ready!(source.poll_fill(cx, into))?;
            if count == 0 {
                if let Duplex::Frames(channel) = source {
                    self.lines = channel.take_trailers();
                }
                // A call without a status is broken, and its client sees that by itself.
                let frame = if self.lines.is_empty() { Vec::new() } else { trailer_frame(&self.lines) };
                self.frame = Some(frame);
            } else if self.reads == Form::Binary {
                return Poll::Ready(Ok(count));
            }
        }
        let content = match &self.frame {
            None => self.raw.filled(),
            Some(frame) => &frame[self.said..],
        };
        let space = buffer.space();
        let (taken, written) = match self.reads {
            Form::Text => text::encode(content, space),
            Form::Binary => {
                let count = content.len().min(space.len());
                space[..count].copy_from_slice(&content[..count]);
                (count, count)
            }
        };
        buffer.filled_by(written);
        match &self.frame {
            None => self.raw.consume(taken),
            Some(_) => self.said += taken,
        }
        if written == 0 {
            buffer.release();
        }
        Poll::Ready(Ok(written))
    }
}

#[cfg(test)]
mod tests;
