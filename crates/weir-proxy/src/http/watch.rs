//! The client while its answer is under way: whether it is still there to take it.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use super::{pump::Waiting, upload::Upload};
use crate::{buffer::Buffer, duplex::Duplex, io::Stream};

/// The watch over one client during one wait.
#[derive(Default)]
pub(super) struct Watch<'c> {
    /// Ends when its connection breaks; asked where nothing of the client can be read.
    broken: Option<Pin<Box<dyn Future<Output = io::Error> + 'c>>>,
}

impl<'c> Watch<'c> {
    /// Why the client is gone for good, if it is. What it sends meanwhile is read as far as there is room, so that its end is
    /// seen behind it; an end of its direction alone is noted, and is none of the connection: it may well wait for the answer.
    #[inline]
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: Duplex<'c>,
        input: &mut Buffer,
        upload: &Upload,
        half_closed: &mut bool,
    ) -> Option<io::Error> {
        let stream = match client {
            Duplex::Bytes(stream) => stream,
            Duplex::Frames(channel) => return channel.poll_gone(cx),
        };
        if !upload.is_over() && upload.pump.waiting == Waiting::Source {
            // It is being read from.
            return None;
        }
        while upload.is_over() && !*half_closed && input.has_space() {
            match stream.poll_fill(cx, input) {
                Poll::Ready(Ok(0)) => *half_closed = true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Some(error),
                Poll::Pending => return None,
            }
        }
        self.poll_broken(cx, stream)
    }

    #[cold]
    fn poll_broken(&mut self, cx: &mut Context<'_>, stream: &'c Stream) -> Option<io::Error> {
        let broken = self.broken.get_or_insert_with(|| Box::pin(stream.broken()));
        match broken.as_mut().poll(cx) {
            Poll::Ready(error) => Some(error),
            Poll::Pending => None,
        }
    }
}
