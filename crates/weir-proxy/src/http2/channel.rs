//! Both directions of one stream: what comes on it, and what is sent.

use std::{
    cell::{OnceCell, RefCell},
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};

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
        self.socket.get().is_none() && !self.is_at_end()
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
        let whole = count == content.len();
        let data = Bytes::copy_from_slice(&content[..count]);
        Poll::Ready(stream.send_data(data, last && whole).map(|()| count).map_err(failure))
    }

    /// Ends what is sent with these lines of trailers, or without any.
    pub(crate) fn end(&self, trailers: &[u8]) -> io::Result<()> {
        let Some(outgoing) = self.outgoing.get() else { return Err(io::ErrorKind::NotConnected.into()) };
        let stream = &mut *outgoing.borrow_mut();
        let fields = head::read_trailers(trailers);
        let sent = if fields.is_empty() {
            stream.send_data(Bytes::new(), true)
        } else {
            stream.send_trailers(fields)
        };
        sent.map_err(failure)
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
