//! How a client is answered that has opened a stream.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};

use super::{
    Channel,
    channel::{broken_off, failure},
    head,
};

impl Channel {
    /// A stream that a client has opened, with what comes on it.
    pub(crate) fn asked(content: RecvStream, respond: SendResponse<Bytes>) -> Self {
        let mut channel = Self::default();
        channel.respond = Some(RefCell::new(respond));
        channel.open_incoming(content);
        channel
    }

    /// Sends an interim response (RFC 9110 section 15.2).
    ///
    /// # Errors
    /// If the stream is over.
    pub(crate) fn send_interim(&self, text: &[u8]) -> io::Result<()> {
        let response = head::read_response(text).ok_or(io::ErrorKind::InvalidData)?;
        let Some(respond) = &self.respond else { return Err(io::ErrorKind::NotConnected.into()) };
        respond.borrow_mut().send_informational(response).map_err(failure)
    }

    /// Sends the head of the answer; `last` says that no content follows.
    ///
    /// # Errors
    /// If the stream is over.
    pub(crate) fn send_head(&self, text: &[u8], last: bool) -> io::Result<()> {
        let response = head::read_response(text).ok_or(io::ErrorKind::InvalidData)?;
        let Some(respond) = &self.respond else { return Err(io::ErrorKind::NotConnected.into()) };
        let stream = respond.borrow_mut().send_response(response, last).map_err(failure)?;
        self.open_outgoing(stream);
        Ok(())
    }

    /// Sends a whole answer, whose head is so long.
    ///
    /// # Errors
    /// If the stream is over before the client has taken it.
    pub(crate) async fn send_answer(&self, text: &[u8], head: usize) -> io::Result<()> {
        let (head, mut content) = text.split_at(head);
        self.send_head(head, content.is_empty())?;
        while !content.is_empty() {
            let count = poll_fn(|cx| self.poll_send(cx, content, true)).await?;
            content = &content[count..];
        }
        Ok(())
    }

    /// Why a client that has not been answered yet has given the stream up, if it has.
    pub(super) fn poll_given_up(&self, cx: &mut Context<'_>) -> Option<io::Error> {
        match self.respond.as_ref()?.borrow_mut().poll_reset(cx) {
            Poll::Ready(Ok(reason)) => Some(broken_off(reason)),
            Poll::Ready(Err(error)) => Some(failure(error)),
            Poll::Pending => None,
        }
    }

    /// Breaks the stream off, so that the other end sees that what it got is not all.
    pub(crate) fn reset(&self, reason: Reason) {
        if let Some(respond) = &self.respond {
            respond.borrow_mut().send_reset(reason);
        } else {
            self.break_off(reason);
        }
    }
}
