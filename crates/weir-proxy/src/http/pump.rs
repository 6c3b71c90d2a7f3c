//! Moves one message from one side to the other: its head, then its body, with as much on the way as fits in one buffer.

mod again;
mod flush;
mod stage;

use std::{
    io,
    task::{Context, Poll, ready},
};

use weir_model::time::Moment;

use super::{
    chunked::{BadChunk, ChunkDecoder},
    grpc_web::Bridge,
    request::BodyLength,
};
use crate::{
    buffer::{Buffer, LARGE},
    clock,
    duplex::Duplex,
};

use again::MOST_KEPT;

/// Why a message could not be moved to its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Reading failed.
    Source(io::Error),
    /// The source ended before the message did.
    Truncated,
    /// The chunked coding is violated, in this way if there is more to be said of it.
    BadChunk(&'static str),
    /// What should be text of gRPC-Web is none.
    BadText,
    /// More content than allowed.
    TooLarge,
    /// Writing failed.
    Sink(io::Error),
}

impl From<BadChunk> for Stop {
    fn from(BadChunk(how): BadChunk) -> Self {
        Self::BadChunk(how)
    }
}

/// Content up to this size is copied behind its head: one plain write costs less than a gathering one.
pub(super) const COPIED: usize = 256;

/// What a pump that cannot go on waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// For bytes to come.
    Source,
    /// For bytes to be taken.
    Sink,
}

/// How the rest of the body is delimited where it comes from.
#[derive(Debug)]
enum Rest {
    Length(u64),
    Chunked(Box<ChunkDecoder>),
    UntilClose,
    /// Its frames say when it ends; `last` once it is known that nothing follows what has come.
    Frames {
        last: bool,
    },
    Done,
}

/// How the body is delimited where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// By its length, or the end of the connection.
    Plain,
    /// By the chunked coding.
    Chunked,
    /// By the frames of a stream.
    Frames,
}

/// One message on its way.
#[derive(Debug)]
pub(crate) struct Pump {
    rest: Rest,
    coding: Coding,
    /// Content that may still come.
    allowance: u64,
    /// Written before the content that is staged: the head, and behind it the size line of a chunk.
    lead: Vec<u8>,
    /// How long the head is; it stays in `lead` to the end.
    head: usize,
    lead_sent: usize,
    /// The head, if it stands at the front of the buffer instead: the content behind it has not been staged.
    in_front: usize,
    /// Bytes at the front of the buffer that are to be written.
    content: usize,
    /// Framing behind that content which has been used up with it.
    spent: usize,
    /// Written after the content that is staged.
    tail: Vec<u8>,
    tail_sent: usize,
    /// The stream it goes to is to be ended behind what is staged.
    ending: bool,
    /// Content that was taken, to be sent again if need be; none if it cannot be.
    kept: Option<Vec<u8>>,
    /// Its length was said beforehand.
    by_length: bool,
    /// What makes gRPC-Web of gRPC, or the other way round; hardly ever there.
    pub(super) bridge: Option<Box<Bridge>>,
    /// The lines of the trailers that ended the message, as far as they are passed on.
    pub(crate) trailers: Vec<u8>,
    /// When bytes last moved.
    pub(crate) moved_at: Moment,
    /// What it waits for, if it does.
    pub(crate) waiting: Waiting,
    /// Content taken from the source.
    pub(crate) taken: u64,
    /// Bytes written to the sink.
    pub(crate) written: u64,
    /// Those of them that its owner has counted.
    pub(crate) counted: u64,
}

impl Pump {
    /// A message with its head already written out in `lead`.
    pub(crate) fn new(lead: Vec<u8>, body: BodyLength, coding: Coding, allowance: u64) -> Self {
        let rest = match body {
            BodyLength::None => Rest::Done,
            BodyLength::Length(length) => Rest::Length(length),
            BodyLength::Chunked => Rest::Chunked(Box::default()),
            BodyLength::UntilClose => Rest::UntilClose,
        };
        Self {
            rest,
            coding,
            allowance,
            head: lead.len(),
            lead,
            lead_sent: 0,
            in_front: 0,
            content: 0,
            spent: 0,
            tail: Vec::new(),
            tail_sent: 0,
            ending: false,
            kept: None,
            by_length: matches!(body, BodyLength::Length(_)),
            bridge: None,
            trailers: Vec::new(),
            moved_at: clock::now(),
            waiting: Waiting::Sink,
            taken: 0,
            written: 0,
            counted: 0,
        }
    }

    /// A message whose head, written out, stands before its content at the front of the buffer that this is polled with:
    /// both go out in one piece. The content must not need framing of its own.
    pub(crate) fn in_place(head: usize, body: BodyLength) -> Self {
        Self { in_front: head, ..Self::new(Vec::new(), body, Coding::Plain, u64::MAX) }
    }

    /// The same, where the body comes as frames.
    pub(crate) fn of_frames(&mut self) {
        if !matches!(self.rest, Rest::Done) {
            self.rest = Rest::Frames { last: false };
        }
        self.by_length = false;
    }

    /// The message goes to a stream, which has its head already.
    pub(crate) fn go_as_frames(&mut self) {
        self.coding = Coding::Frames;
        self.lead_sent = self.lead.len();
    }

    /// The head, as text.
    pub(crate) fn head(&self) -> &[u8] {
        &self.lead[..self.head]
    }

    /// Gives the head back, and its room for the next one.
    pub(crate) fn into_head(mut self) -> Vec<u8> {
        self.lead.truncate(self.head);
        self.lead
    }

    /// Bytes written to the sink behind the head; a stream gets that in its own way.
    pub(super) fn passed(&self) -> u64 {
        match self.coding {
            Coding::Frames => self.written,
            Coding::Plain | Coding::Chunked => self.written.saturating_sub(self.head as u64),
        }
    }

    /// True if there is nothing but its head.
    pub(super) const fn is_complete(&self) -> bool {
        matches!(self.rest, Rest::Done)
    }

    /// True once everything has been written.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.rest, Rest::Done) && !self.is_staged()
    }

    fn is_staged(&self) -> bool {
        self.lead_sent < self.lead.len()
            || self.content > 0
            || self.tail_sent < self.tail.len()
            || self.ending
    }

    /// Moves what can be moved now. Ready when the message is complete or cannot be completed.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: Duplex<'_>,
        buffer: &mut Buffer,
        sink: Duplex<'_>,
    ) -> Poll<Result<(), Stop>> {
        if let Rest::Frames { last: false } = self.rest
            && self.written == 0
            && buffer.is_empty()
            && let Poll::Ready(Err(stop)) = self.poll_fill(cx, source, buffer)
        {
            // What is there already goes out together with the head.
            return Poll::Ready(Err(stop));
        }
        loop {
            // Content that came with the head goes out with it.
            if self.content == 0
                && self.tail.is_empty()
                && !buffer.is_empty()
                && !matches!(self.rest, Rest::Done)
            {
                self.stage(buffer)?;
            }
            if self.is_staged() {
                self.waiting = Waiting::Sink;
                ready!(self.poll_flush(cx, buffer, sink)).map_err(Stop::Sink)?;
                if !matches!(self.rest, Rest::Done) && !buffer.is_empty() {
                    continue;
                }
            }
            if matches!(self.rest, Rest::Done) {
                return Poll::Ready(Ok(()));
            }
            self.waiting = Waiting::Source;
            ready!(self.poll_fill(cx, source, buffer))?;
        }
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        source: Duplex<'_>,
        buffer: &mut Buffer,
    ) -> Poll<Result<(), Stop>> {
        let count = match &mut self.bridge {
            None => ready!(source.poll_fill(cx, buffer)),
            Some(bridge) => ready!(bridge.poll_fill(cx, source, buffer)),
        };
        let count = count.map_err(Stop::Source)?;
        self.moved_at = clock::now();
        if let Rest::Frames { last } = &mut self.rest
            && let Duplex::Frames(channel) = source
        {
            if count == 0 {
                if self.bridge.as_ref().is_some_and(|bridge| !bridge.may_end()) {
                    return Poll::Ready(Err(Stop::BadText));
                }
                self.end(&channel.take_trailers());
                return Poll::Ready(Ok(()));
            }
            *last = channel.is_at_end() && self.bridge.as_ref().is_none_or(|bridge| bridge.adds_nothing());
        }
        if count == 0 {
            if !matches!(self.rest, Rest::UntilClose) || source.is_truncated() {
                return Poll::Ready(Err(Stop::Truncated));
            }
            self.end(b"");
            return Poll::Ready(Ok(()));
        }
        if !buffer.has_space() {
            // It was filled to the brim: worth fewer, larger transfers from here on.
            buffer.grow(LARGE);
        }
        Poll::Ready(Ok(()))
    }
}
