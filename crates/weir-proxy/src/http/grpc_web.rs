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

use crate::{buffer::Buffer, http2::Channel};

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
pub(crate) struct Call {
    /// How the client writes.
    pub(crate) asks: Form,
    /// How it wants to be answered.
    pub(crate) reads: Form,
}

/// Makes the head of a call, written as the text of a request, one of gRPC; `None` if it is none of gRPC-Web.
pub(crate) fn translate_request(head: &mut Vec<u8>) -> Option<Call> {
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
    Some(Call { asks, reads: reads.unwrap_or(asks) })
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

/// Makes the head of an answer of gRPC, written as text without its empty line, one of gRPC-Web; `whole` says that nothing
/// follows it. `None` if it is no answer of gRPC: clients know what a status of HTTP means to them.
pub(crate) fn translate_answer(head: &mut Vec<u8>, reads: Form, whole: bool) -> Option<Answered> {
    let kind = find(head, b"content-type")?;
    if !grpc::is_call(&head[kind.value.clone()]) {
        return None;
    }
    let form = if reads == Form::Text { TEXT } else { b"" };
    let web = [WEB, form, &head[kind.value.start + GRPC.len()..kind.value.end]].concat();
    head.splice(kind.value, web);
    remove(head, b"content-length");
    if !whole || find(head, b"grpc-status").is_none() {
        return Some(Answered::Content);
    }
    // In the content it is seen by pages of other origins as well, whatever headers are exposed to them.
    let mut trailers = Vec::new();
    for name in [&b"grpc-status"[..], b"grpc-message", b"grpc-status-details-bin"] {
        while let Some(line) = find(head, name) {
            trailers.extend(head.drain(line.start..line.end));
        }
    }
    let mut content = trailer_frame(&trailers);
    if reads == Form::Text {
        let mut text = vec![0; content.len().div_ceil(3) * 4];
        let (_, written) = text::encode(&content, &mut text);
        text.truncate(written);
        content = text;
    }
    super::write::write_length(head, content.len() as u64);
    Some(Answered::Whole(content))
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

/// The request of a call in text on its way to a backend.
#[derive(Debug, Default)]
pub(super) struct Asking {
    decoder: text::Decoder,
}

impl Asking {
    /// Decodes content in place; says how long it is then. `last` says that nothing follows; `None` if it is no base64.
    pub(super) fn decode(&mut self, content: &mut [u8], last: bool) -> Option<usize> {
        let length = self.decoder.decode(content).ok()?;
        (!last || self.decoder.is_whole()).then_some(length)
    }
}

/// The answer to a call on its way to the client.
#[derive(Debug)]
pub(super) struct Answering {
    reads: Form,
    /// Content as it came, where it is yet to be written as text.
    raw: Buffer,
    /// The frame of trailers, once they are known.
    trailers: Option<Vec<u8>>,
    /// How much of it is on its way.
    said: usize,
}

impl Answering {
    pub(super) const fn new(reads: Form, raw: Buffer) -> Self {
        Self { reads, raw, trailers: None, said: 0 }
    }

    /// Fills the buffer with what the client is to read; 0 is the end.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        source: &Channel,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        if self.trailers.is_none() && self.raw.is_empty() {
            let into = if self.reads == Form::Text { &mut self.raw } else { &mut *buffer };
            let count = ready!(source.poll_fill(cx, into))?;
            if count == 0 {
                let lines = source.take_trailers();
                // A call without a status is broken, and its client sees that by itself.
                let frame = if lines.is_empty() { Vec::new() } else { trailer_frame(&lines) };
                self.trailers = Some(frame);
            } else if self.reads == Form::Binary {
                return Poll::Ready(Ok(count));
            }
        }
        let content = match &self.trailers {
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
        match &self.trailers {
            None => self.raw.consume(taken),
            Some(_) => self.said += taken,
        }
        Poll::Ready(Ok(written))
    }
}

#[cfg(test)]
mod tests;
