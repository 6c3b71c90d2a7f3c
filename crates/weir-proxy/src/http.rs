//! Requests: HTTP/1.1 on both sides, with our own codec.
//!
//! A head stays where it was read; what is sent is written once, edits included, and goes out together with the first
//! bytes of the body. Bodies are never held: one buffer per direction, and nothing is read that cannot be written.

// 1. What a message is.
mod chunked;
mod lines;
mod names;
mod parse;
mod request;
mod response;
mod target;

// 2. One exchange, stage by stage.
mod deliver;
mod exchange;
mod forward;
mod serve;

// 3. What is sent.
mod pump;
mod reply;
mod write;

pub(crate) use serve::serve;

// What probes need of it: the same judgement of an answer as traffic gets.
pub(crate) use {
    chunked::ChunkDecoder,
    lines::{HeadEnd, find_end},
    request::BodyLength,
    response::ResponseHead,
};

use request::RequestHead;

/// Room for the heads of one exchange, used again for the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    request: RequestHead,
    response: ResponseHead,
    /// The head sent to the backend.
    to_backend: Vec<u8>,
    /// The head sent to the client.
    to_client: Vec<u8>,
    /// The client's address as text.
    address: Vec<u8>,
}

impl Scratch {
    /// True unless an unusual message made it large.
    pub(crate) fn is_modest(&self) -> bool {
        self.to_backend.capacity() + self.to_client.capacity() <= 16 * 1024
    }
}
