//! Frames on their way out, gathered: the `h2` crate hands over nearly each frame of content by itself, and a system call for
//! each would cost more than all the rest.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use super::wire::Carrier;
use crate::buffer::{Buffer, LARGE};

/// So much at once is not worth a copy.
const DIRECT: usize = LARGE / 2;

/// What has been written to a connection and waits until whoever drives it has nothing more to say for now.
pub(crate) struct Outbox<C> {
    pub(super) carrier: C,
    waiting: RefCell<Buffer>,
}

impl<C: Carrier> Outbox<C> {
    /// With room that is borrowed while something waits.
    pub(crate) fn new(carrier: C, room: Buffer) -> Self {
        Self { carrier, waiting: RefCell::new(room) }
    }

    /// Takes bytes over; ready with their number. Pending while too much waits already.
    pub(super) fn poll_put(&self, cx: &mut Context<'_>, from: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length = from.iter().map(|slice| slice.len()).sum();
        let before = self.waiting.borrow().len();
        if before > 0 && before + length > LARGE {
            ready!(self.poll_flush(cx))?;
        }
        if length >= DIRECT && self.waiting.borrow().is_empty() {
            return self.carrier.stream().poll_write(cx, from);
        }
        let mut waiting = self.waiting.borrow_mut();
        from.iter().for_each(|slice| waiting.append(slice));
        Poll::Ready(Ok(length))
    }

    /// Sends what waits. Whoever drives the connection calls this before it waits for anything.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waiting = self.waiting.borrow_mut();
        while !waiting.is_empty() {
            let count = ready!(self.carrier.stream().poll_write(cx, &[IoSlice::new(waiting.filled())]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            waiting.consume(count);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, rc::Rc};

    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::{buffer::Spare, io::Stream};

    async fn pair() -> io::Result<(Outbox<Stream>, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let near = TcpStream::connect(listener.local_addr()?).await?;
        let (far, _) = listener.accept().await?;
        Ok((Outbox::new(Stream::tcp(near), Rc::new(Spare::default()).buffer()), far))
    }

    async fn put(out: &Outbox<Stream>, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| out.poll_put(cx, &[IoSlice::new(bytes)])).await
    }

    #[tokio::test]
    async fn what_is_put_in_pieces_leaves_at_once() -> io::Result<()> {
        let (out, mut far) = pair().await?;
        for piece in [&b"one "[..], b"two ", b"three"] {
            assert_eq!(put(&out, piece).await?, piece.len());
        }
        let nothing = far.try_read(&mut [0; 8]).map_err(|error| error.kind());
        assert_eq!(nothing, Err(io::ErrorKind::WouldBlock));
        poll_fn(|cx| out.poll_flush(cx)).await?;
        let mut came = [0; 64];
        let count = far.read(&mut came).await?;
        assert_eq!(&came[..count], b"one two three");
        Ok(())
    }

    #[tokio::test]
    async fn nobody_who_does_not_read_fills_memory_and_nothing_is_lost() -> io::Result<()> {
        let (out, mut far) = pair().await?;
        let mut sent = Vec::new();
        for turn in 0u32.. {
            // Sizes below and above what is copied.
            let piece = vec![turn as u8; 1 + turn as usize * 7919 % (LARGE + 100)];
            let taken = poll_fn(|cx| Poll::Ready(out.poll_put(cx, &[IoSlice::new(&piece)]))).await;
            assert!(out.waiting.borrow().len() <= LARGE);
            let Poll::Ready(count) = taken else { break };
            sent.extend_from_slice(&piece[..count?]);
        }
        let reads = async {
            let mut came = vec![0; sent.len()];
            far.read_exact(&mut came).await.map(|_| came)
        };
        let (flushed, came) = tokio::join!(poll_fn(|cx| out.poll_flush(cx)), reads);
        flushed?;
        assert!(came? == sent);
        Ok(())
    }
}
