//! Both directions of one stream: what comes on it, and what is sent.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::VecDeque,
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::HeaderMap;

use super::head;
use crate::buffer::Buffer;

/// One stream of an HTTP/2 connection, of a client or to a backend. Each direction opens with its head.
#[derive(Default)]
pub(crate) struct Channel {
    incoming: OnceCell<RefCell<Incoming>>,
    outgoing: OnceCell<RefCell<SendStream<Bytes>>>,
    /// Whom to answer, if a client has opened it.
    pub(super) respond: Option<RefCell<SendResponse<Bytes>>>,
    /// What a backend has to say that agrees to the WebSocket that was asked for.
    pub(super) socket: OnceCell<String>,
    /// A tunnel was asked for: what comes is no content of the request.
    pub(super) tunnel: Cell<bool>,
    /// What has been sent, as long as it may have to be sent again.
    sent: RefCell<Option<Box<Sent>>>,
    /// What is to be sent before anything else.
    again: RefCell<Option<Box<Sent>>>,
}

/// Content of a request that is kept until it is answered, so that it can be sent again to somebody else.
const MOST_KEPT: usize = 64 * 1024;

/// What has been sent of a request behind its head.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    parts: VecDeque<Bytes>,
    length: usize,
    /// The trailers it ended with, if it has ended.
    end: Option<HeaderMap>,
}

/// What comes.
struct Incoming {
    stream: RecvStream,
    /// Of a frame that did not fit into the buffer.
    rest: Bytes,
    /// Lines of text, once the content has ended.
    trailers: Vec<u8>,
}

impl Channel {
    /// From here on, content comes on it.
    pub(crate) fn open_incoming(&self, stream: RecvStream) {
        let incoming = Incoming { stream, rest: Bytes::new(), trailers: Vec::new() };
        let _ = self.incoming.set(RefCell::new(incoming));
    }

    /// From here on, content can be sent on it.
    pub(crate) fn open_outgoing(&self, stream: SendStream<Bytes>) {
        let _ = self.outgoing.set(RefCell::new(stream));
    }

    /// Takes content that has come into a buffer; 0 is the end of the message, whose trailers can be taken then.
    pub(crate) fn poll_fill(&self, cx: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        let Some(incoming) = self.incoming.get() else { return Poll::Ready(Ok(0)) };
        let incoming = &mut *incoming.borrow_mut();
        while incoming.rest.is_empty() {
            match ready!(incoming.stream.poll_data(cx)) {
                Some(Ok(data)) => incoming.rest = data,
                Some(Err(error)) => return Poll::Ready(Err(failure(error))),
                None => {
                    if let Some(trailers) = ready!(incoming.stream.poll_trailers(cx)).map_err(failure)? {
                        head::write_trailers(&trailers, &mut incoming.trailers);
                    }
                    return Poll::Ready(Ok(0));
                }
            }
        }
        let space = buffer.space();
        let count = incoming.rest.len().min(space.len());
        space[..count].copy_from_slice(&incoming.rest[..count]);
        let _ = incoming.rest.split_to(count);
        buffer.filled_by(count);
        // Fails only for a stream that is over.
        let _ = incoming.stream.flow_control().release_capacity(count);
        Poll::Ready(Ok(count))
    }

    /// True if content may come that belongs to the request itself.
    pub(crate) fn has_content(&self) -> bool {
        self.socket.get().is_none() && !self.tunnel.get() && !self.is_at_end()
    }

    /// True if everything has been taken and nothing will follow, not even trailers.
    pub(crate) fn is_at_end(&self) -> bool {
        let at_end = |incoming: &RefCell<Incoming>| {
            let incoming = incoming.borrow();
            incoming.rest.is_empty() && incoming.stream.is_end_stream()
        };
        self.incoming.get().is_none_or(at_end)
    }

    /// The lines of the trailers that ended the message.
    pub(crate) fn take_trailers(&self) -> Vec<u8> {
        let taken = |incoming: &RefCell<Incoming>| std::mem::take(&mut incoming.borrow_mut().trailers);
        self.incoming.get().map(taken).unwrap_or_default()
    }

    /// Sends as much of the content as the windows allow; `last` says that nothing follows it.
    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        content: &[u8],
        last: bool,
    ) -> Poll<io::Result<usize>> {
        let Some(outgoing) = self.outgoing.get() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let stream = &mut *outgoing.borrow_mut();
        stream.reserve_capacity(content.len());
        let mut room = stream.capacity();
        if room == 0 {
            room = match ready!(stream.poll_capacity(cx)) {
                Some(Ok(room)) => room,
                Some(Err(error)) => return Poll::Ready(Err(failure(error))),
                None => return Poll::Ready(Err(self.reset_kind(stream, cx))),
            };
        }
        let count = content.len().min(room);
        let last = last && count == content.len();
        let data = Bytes::copy_from_slice(&content[..count]);
        self.note_sent(&data, last);
        Poll::Ready(stream.send_data(data, last).map(|()| count).map_err(failure))
    }

    /// Ends what is sent with these lines of trailers, or without any.
    pub(crate) fn end(&self, trailers: &[u8]) -> io::Result<()> {
        self.end_with(head::read_trailers(trailers))
    }

    fn end_with(&self, fields: HeaderMap) -> io::Result<()> {
        let Some(outgoing) = self.outgoing.get() else { return Err(io::ErrorKind::NotConnected.into()) };
        let stream = &mut *outgoing.borrow_mut();
        if let Some(sent) = &mut *self.sent.borrow_mut() {
            sent.end = Some(fields.clone());
        }
        let sent = if fields.is_empty() {
            stream.send_data(Bytes::new(), true)
        } else {
            stream.send_trailers(fields)
        };
        sent.map_err(failure)
    }

    /// From here on, what is sent is kept.
    pub(crate) fn keep_sent(&self) {
        *self.sent.borrow_mut() = Some(Box::default());
    }

    /// What was sent, if all of it was kept; from here on nothing is.
    pub(crate) fn take_sent(&self) -> Option<Box<Sent>> {
        // What has not been sent again yet belongs to it.
        let rest = self.again.take();
        let mut sent = self.sent.take()?;
        if let Some(rest) = rest {
            sent.length += rest.length;
            sent.parts.extend(rest.parts);
            sent.end = rest.end;
        }
        Some(sent)
    }

    /// Begins with what was sent to somebody else.
    pub(crate) fn send_again(&self, sent: Box<Sent>) {
        *self.again.borrow_mut() = Some(sent);
    }

    /// Sends what was sent before; ready once that is done.
    pub(crate) fn poll_send_again(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let Some(mut part) = self.next_again() else { break };
            let last = self.again.borrow().as_deref().is_some_and(Sent::ends_plainly);
            match self.poll_send(cx, &part, last) {
                Poll::Ready(Ok(count)) => {
                    let _ = part.split_to(count);
                    self.put_again(part);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.put_again(part);
                    return Poll::Pending;
                }
            }
        }
        let ended = self.sent.borrow().as_ref().is_some_and(|sent| sent.end.is_some());
        match self.again.take().and_then(|again| again.end) {
            Some(end) if !ended => Poll::Ready(self.end_with(end)),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn next_again(&self) -> Option<Bytes> {
        let mut again = self.again.borrow_mut();
        let again = again.as_mut()?;
        let part = again.parts.pop_front()?;
        again.length -= part.len();
        Some(part)
    }

    fn put_again(&self, part: Bytes) {
        if let Some(again) = self.again.borrow_mut().as_mut().filter(|_| !part.is_empty()) {
            again.length += part.len();
            again.parts.push_front(part);
        }
    }

    fn note_sent(&self, data: &Bytes, last: bool) {
        let mut kept = self.sent.borrow_mut();
        let Some(sent) = &mut *kept else { return };
        sent.length += data.len();
        sent.parts.push_back(data.clone());
        if last {
            sent.end = Some(HeaderMap::new());
        }
        if sent.length > MOST_KEPT {
            *kept = None;
        }
    }

    /// Breaks off what is sent.
    pub(super) fn break_off(&self, reason: Reason) {
        if let Some(outgoing) = self.outgoing.get() {
            outgoing.borrow_mut().send_reset(reason);
        }
    }

    /// Why the other end has broken the stream off, if it has. Wakes the task when it does.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Option<io::Error> {
        let Some(outgoing) = self.outgoing.get() else { return self.poll_given_up(cx) };
        match outgoing.borrow_mut().poll_reset(cx) {
            Poll::Ready(Ok(reason)) => Some(broken_off(reason)),
            Poll::Ready(Err(error)) => Some(failure(error)),
            Poll::Pending => None,
        }
    }

    fn reset_kind(&self, stream: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> io::Error {
        match stream.poll_reset(cx) {
            Poll::Ready(Ok(reason)) => broken_off(reason),
            Poll::Ready(Err(error)) => failure(error),
            Poll::Pending => io::ErrorKind::BrokenPipe.into(),
        }
    }
}

impl Sent {
    /// True if its end needs no frame of its own behind the part that has just been taken.
    fn ends_plainly(&self) -> bool {
        self.parts.is_empty() && self.end.as_ref().is_some_and(HeaderMap::is_empty)
    }
}

/// A stream that the other end has reset.
pub(crate) fn broken_off(reason: Reason) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, format!("the stream was reset with {reason:?}"))
}

/// What went wrong with a stream, as the failure of a transfer.
pub(crate) fn failure(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
    }
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
