//! A connection as the `h2` crate wants it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Census, Outbox};
use crate::{buffer::Buffer, clock, conn::Conn, io::Stream};

/// Whatever holds the stream of bytes that frames go over.
pub(crate) trait Carrier {
    /// The stream.
    fn stream(&self) -> &Stream;
}

impl Carrier for Rc<Conn> {
    fn stream(&self) -> &Stream {
        &self.stream
    }
}

impl Carrier for Stream {
    fn stream(&self) -> &Stream {
        self
    }
}

/// Bytes to and from the other end, with a count of the frames that come. What was read before it was known to be HTTP/2 comes
/// first.
pub(crate) struct Wire<C> {
    out: Rc<Outbox<C>>,
    early: Buffer,
    census: Rc<Census>,
    /// Room that is asked for at once: as much as was needed of late, because all of it is cleared before each read.
    room: usize,
}

/// Room for a few frames of requests.
const LEAST_ROOM: usize = 1024;

impl<C: Carrier> Wire<C> {
    pub(crate) fn new(out: Rc<Outbox<C>>, early: Buffer, census: Rc<Census>) -> Self {
        Self { out, early, census, room: LEAST_ROOM }
    }
}

impl<C: Carrier + Unpin> AsyncRead for Wire<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.census.exceeded().is_some() || self.census.fault().is_some() {
            // Whoever drives the connection asks the same, and ends it.
            return Poll::Pending;
        }
        if !self.early.is_empty() {
            let count = self.early.len().min(into.remaining());
            into.put_slice(self.early.part(0..count));
            self.census.came(self.early.part(0..count), clock::now());
            self.early.consume(count);
            return if self.census.fault().is_some() { Poll::Pending } else { Poll::Ready(Ok(())) };
        }
        // While hands are shaken nobody else does.
        if let Poll::Ready(Err(error)) = self.out.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            let stream = self.out.carrier.stream();
            std::task::ready!(stream.poll_readable(cx))?;
            let room = into.initialize_unfilled_to(self.room.min(into.remaining()));
            if let Some(read) = stream.read_now(room) {
                let count = read?;
                self.census.came(&room[..count], clock::now());
                if self.census.fault().is_some() {
                    return Poll::Pending;
                }
                self.room = if count == room.len() { 4 * count } else { LEAST_ROOM.max(2 * count) };
                into.advance(count);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<C: Carrier + Unpin> AsyncWrite for Wire<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(from)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.out.poll_put(cx, from);
        if let Poll::Ready(Ok(count)) = written {
            self.census.went(count);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Left to whoever drives the connection: the crate flushes after each frame.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.out.poll_flush(cx))?;
        self.out.carrier.stream().poll_finish(cx).map(Ok)
    }
}
