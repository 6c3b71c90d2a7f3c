//! One of the two ends of an exchange, whichever way it is reached: over a connection of its own, or over a stream of a
//! connection that it shares with others.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll},
};

use crate::{buffer::Buffer, http2::Channel, io::Stream};

/// Where content comes from and goes to.
#[derive(Clone, Copy)]
pub(crate) enum Duplex<'a> {
    /// The bytes of a connection. Messages on it have to be told apart.
    Bytes(&'a Stream),
    /// The frames of a stream, which is one message each way.
    Frames(&'a Channel),
}

impl Duplex<'_> {
    /// True if it is a stream of a connection that is shared.
    #[inline]
    pub(crate) const fn is_stream(self) -> bool {
        matches!(self, Self::Frames(_))
    }

    /// Reads what is there into a buffer; 0 is the end: of the connection, or of the message.
    #[inline]
    pub(crate) fn poll_fill(self, cx: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        match self {
            Self::Bytes(stream) => stream.poll_fill(cx, buffer),
            Self::Frames(channel) => channel.poll_fill(cx, buffer),
        }
    }

    /// Sends what the other end takes of it.
    #[inline]
    pub(crate) fn poll_write(self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Bytes(stream) => stream.poll_write(cx, &[IoSlice::new(from)]),
            Self::Frames(channel) => channel.poll_send(cx, from, false),
        }
    }

    /// True if what came has ended without the other end's word that it is complete.
    pub(crate) fn is_truncated(self) -> bool {
        match self {
            Self::Bytes(stream) => stream.is_truncated(),
            // One that was broken off fails instead.
            Self::Frames(_) => false,
        }
    }

    /// Why the other end is gone for good, if it is. Wakes the task when that changes.
    pub(crate) fn poll_gone(self, cx: &mut Context<'_>) -> Option<io::Error> {
        match self {
            Self::Bytes(stream) => stream.poll_gone(cx),
            Self::Frames(channel) => channel.poll_gone(cx),
        }
    }

    /// Sends an interim response to a client: its whole head, as text.
    ///
    /// # Errors
    /// If the client is gone.
    pub(crate) async fn send_interim(self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::Bytes(stream) => stream.write_all(text).await,
            Self::Frames(channel) => channel.send_interim(text),
        }
    }

    /// Sends the head of an answer that agrees to another protocol, as text.
    ///
    /// # Errors
    /// If the client is gone.
    pub(crate) async fn send_switch(self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::Bytes(stream) => stream.write_all(text).await,
            Self::Frames(channel) => channel.send_switch(text),
        }
    }

    /// Sends a whole answer to a client, whose head is so long.
    ///
    /// # Errors
    /// If the client is gone.
    pub(crate) async fn send_answer(self, text: &[u8], head: usize) -> io::Result<()> {
        match self {
            Self::Bytes(stream) => stream.write_all(text).await,
            Self::Frames(channel) => channel.send_answer(text, head).await,
        }
    }

    /// Ends what is sent, in an orderly way.
    pub(crate) fn poll_finish(self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Bytes(stream) => stream.poll_finish(cx),
            Self::Frames(channel) => {
                // One that is over needs no end.
                let _ = channel.end(b"");
                Poll::Ready(())
            }
        }
    }

    /// Ends what is sent without the word that it is complete, where there is such a word.
    pub(crate) fn finish_unsaid(self) {
        match self {
            Self::Bytes(stream) => stream.shut(),
            Self::Frames(channel) => channel.reset(h2::Reason::CANCEL),
        }
    }

    /// Breaks it off, so that the other end sees that what it got is not all.
    pub(crate) fn abort(self) {
        match self {
            Self::Bytes(stream) => stream.abort(),
            Self::Frames(channel) => channel.reset(h2::Reason::INTERNAL_ERROR),
        }
    }
}
