//! Requests: HTTP/1.1 on both sides, with our own codec.
//!
//! A head stays where it was read; what is sent is written once, edits included, and goes out together with the first
//! bytes of the body. Bodies are never held: one buffer per direction, and nothing is read that cannot be written.

use std::cell::RefCell;

use kept::Kept;
use request::RequestHead;

// 1. What a message is.
mod chunked;
mod lines;
mod names;
mod parse;
mod path;
mod request;
mod response;
pub(crate) mod scan;
mod target;

// 2. One exchange, stage by stage.
mod answer;
mod board;
mod decide;
mod deliver;
mod exchange;
mod forward;
mod grpc;
mod grpc_web;
mod kept;
mod record;
mod retry;
mod serve;
mod sticky;
mod tunnel;

// 3. What is sent.
mod pump;
mod reply;
mod upload;
mod watch;
mod write;

// 4. What would be sent, for those who ask.
mod rehearse;

pub(crate) use exchange::exchange_stream;
pub(crate) use names::{forbidden_in_trailer, is_of_connection};
pub use rehearse::Rehearsal;
pub(crate) use serve::{After, Served, begin, serve};

// What probes need of it: the same judgement of an answer as traffic gets.
pub(crate) use {
    chunked::ChunkDecoder,
    lines::{HeadEnd, find_end},
    request::BodyLength,
    response::ResponseHead,
};

/// Room for heads, used again and again: taken while a head is worked on and put back at once, so that a worker works in
/// the same few cache lines all the time.
#[derive(Debug, Default)]
pub(crate) struct Room {
    requests: Shelf<Box<RequestHead>>,
    responses: Shelf<Box<ResponseHead>>,
    kept: Shelf<Box<Kept>>,
    /// Heads as they are sent.
    texts: Shelf<Vec<u8>>,
}

/// Things to be used again, the last one put back first.
#[derive(Debug)]
struct Shelf<T>(RefCell<Vec<T>>);

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T: Default> Shelf<T> {
    /// More than so many are not kept: streams of HTTP/2 work on theirs by the hundred at once.
    const MOST: usize = 512;

    fn take(&self) -> T {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    fn give(&self, used: T) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < Self::MOST {
            kept.push(used);
        }
    }
}

impl Room {
    /// Room for a text.
    pub(crate) fn take_text(&self) -> Vec<u8> {
        let mut text = self.texts.take();
        text.clear();
        // Most heads fit, without growing step by step.
        text.reserve(512);
        text
    }

    /// Keeps the room of a text, unless it has none or an unusual message made it large.
    fn give_text(&self, text: Vec<u8>) {
        if (1..=8 * 1024).contains(&text.capacity()) {
            self.texts.give(text);
        }
    }
}
