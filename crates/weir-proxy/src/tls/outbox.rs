//! Sealed records that the kernel has not taken yet.

use std::{
    io,
    task::{Context, Poll},
};

use tokio::net::TcpStream;

use super::{
    record::{Broken, Content, Keys},
    scratch,
};
use crate::io::{poll_send, send};

/// It holds memory only while something is in it.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    data: Vec<u8>,
    sent: usize,
    end: usize,
    /// Content that is in here, and that the caller will be told of when the kernel has all of it.
    owed: usize,
}

impl Outbox {
    /// Begins with what was sealed by somebody else.
    pub(super) fn with(mut first: Vec<u8>) -> Self {
        first.shrink_to_fit();
        Self { sent: 0, end: first.len(), data: first, owed: 0 }
    }

    /// True if nothing is in it.
    pub(super) const fn is_empty(&self) -> bool {
        self.sent == self.end
    }

    /// True if a caller waits for content that is in here.
    pub(super) const fn is_awaited(&self) -> bool {
        self.owed > 0
    }

    /// True if so many bytes, and a few more, can be sealed into it.
    pub(super) const fn has_room_for(&self, length: usize) -> bool {
        /// For what is not data: an alert, a message about new keys.
        const MORE: usize = 128;
        self.end + length + MORE <= scratch::SCRATCH
    }

    /// Seals one record behind what is in here.
    pub(super) fn seal(&mut self, keys: &mut Keys, kind: u8, content: Content<'_, '_>) -> Result<(), Broken> {
        if self.data.len() != scratch::SCRATCH {
            let mut data = scratch::take();
            data[..self.end].copy_from_slice(&self.data[..self.end]);
            self.data = data;
        }
        if self.end + content.length + keys.expansion() > self.data.len() {
            return Err(Broken::INTERNAL);
        }
        self.end += keys.seal(kind, content, &mut self.data[self.end..])?;
        Ok(())
    }

    /// Remembers what the caller will be told.
    pub(super) const fn owe(&mut self, content: usize) {
        self.owed += content;
    }

    /// Sends all of it; ready with the content that was in it.
    pub(super) fn poll_flush(&mut self, tcp: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while !self.is_empty() {
            match poll_send(tcp, cx, &self.data[self.sent..self.end]) {
                Poll::Ready(count) => self.sent += count?,
                Poll::Pending => {
                    self.settle();
                    return Poll::Pending;
                }
            }
        }
        self.settle();
        Poll::Ready(Ok(std::mem::take(&mut self.owed)))
    }

    /// Sends what the kernel takes at once; true if that was all, or the connection is broken.
    pub(super) fn flush(&mut self, tcp: &TcpStream) -> bool {
        while !self.is_empty() {
            match send::<true>(tcp, &self.data[self.sent..self.end]) {
                Some(Ok(count)) => self.sent += count,
                Some(Err(_)) => return true,
                None => {
                    self.settle();
                    return false;
                }
            }
        }
        self.settle();
        true
    }

    /// Gives memory back, all but what is needed.
    fn settle(&mut self) {
        if self.is_empty() {
            scratch::give(std::mem::take(&mut self.data));
            (self.sent, self.end) = (0, 0);
        } else if self.data.len() == scratch::SCRATCH {
            let kept = self.data[self.sent..self.end].to_vec();
            scratch::give(std::mem::replace(&mut self.data, kept));
            (self.sent, self.end) = (0, self.end - self.sent);
        }
    }
}

/// Sends all of some bytes.
pub(super) async fn send_all(
    tcp: &TcpStream,
    mut bytes: &[u8],
    mut is_over: impl FnMut(&Context<'_>) -> bool,
) -> Option<io::Result<()>> {
    while !bytes.is_empty() {
        let sent = std::future::poll_fn(|cx| {
            if let Poll::Ready(sent) = poll_send(tcp, cx, bytes) {
                return Poll::Ready(Some(sent));
            }
            if is_over(cx) { Poll::Ready(None) } else { Poll::Pending }
        });
        match sent.await? {
            Ok(count) => bytes = &bytes[count..],
            Err(error) => return Some(Err(error)),
        }
    }
    Some(Ok(()))
}
