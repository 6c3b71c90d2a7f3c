//! A byte stream to a client or a backend: a TCP connection, or one over a unix socket.
//!
//! Reads and writes go through shared references, so that both directions of an exchange can be polled side by side
//! in one task. A read that does not fill its buffer, and a write that is not taken whole, clear the readiness at
//! once: the kernel has just said that nothing more is to be had, so asking again would be a wasted system call.
//!
//! Where TLS is spoken, it is spoken in here: what is read and written is content, and nobody else needs to know. Without
//! it that costs one branch that goes the same way every time.

use std::{
    cell::Cell,
    future::poll_fn,
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    os::fd::OwnedFd,
    task::{Context, Poll, ready},
};

use rustix::net::{RecvFlags, SendFlags};
use tokio::{
    io::Interest,
    net::{TcpStream, UnixStream},
};
use weir_model::listener::Address;

use crate::{
    buffer::Buffer,
    tls::{Facts, Session},
};

thread_local! {
    static INSISTING: Cell<bool> = const { Cell::new(false) };
}

/// Has writes tried that the kernel has not made room known for: it does so only when a third of what waits has gone, which
/// may be megabytes, and until then a slow reader looks like one who takes nothing.
#[cold]
pub(crate) fn insist<R>(attempt: impl FnOnce() -> R) -> R {
    INSISTING.set(true);
    let result = attempt();
    INSISTING.set(false);
    result
}

/// A stream of bytes.
#[derive(Debug)]
pub(crate) struct Stream {
    tcp: TcpStream,
    tls: Option<Box<Session>>,
}

impl Stream {
    /// A TCP connection; small writes are sent at once.
    pub(crate) fn tcp(tcp: TcpStream) -> Self {
        let _ = tcp.set_nodelay(true);
        Self { tcp, tls: None }
    }

    /// A TCP connection that a client made; small writes are sent at once, as the listening socket says.
    pub(crate) const fn accepted(tcp: TcpStream) -> Self {
        Self { tcp, tls: None }
    }

    /// A connection over a unix socket. The type says TCP and it is none, but it is read and written by the same system
    /// calls; what only TCP has fails quietly on it.
    ///
    /// # Errors
    /// If the runtime does not take it.
    pub(crate) fn unix(stream: UnixStream) -> io::Result<Self> {
        let file = OwnedFd::from(stream.into_std()?);
        Ok(Self { tcp: TcpStream::from_std(file.into())?, tls: None })
    }

    /// Connects to an address.
    ///
    /// # Errors
    /// If nobody is there, or the system has nothing left to connect with.
    pub(crate) async fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Ip(address) => Ok(Self::tcp(TcpStream::connect(address).await?)),
            Address::Unix(path) => Self::unix(UnixStream::connect(path).await?),
        }
    }

    /// What is below the content: for a handshake, and for bytes that come before one.
    pub(crate) const fn raw(&self) -> &TcpStream {
        &self.tcp
    }

    /// From here on, what is read and written is the content of this session.
    pub(crate) fn secure(&mut self, session: Session) {
        self.tls = Some(Box::new(session));
    }

    /// The session below the content, if there is one.
    #[cfg(test)]
    pub(crate) fn session(&self) -> Option<&Session> {
        self.tls.as_deref()
    }

    /// What the TLS handshake found out, if there was one.
    #[inline]
    pub(crate) fn facts(&self) -> Option<&Facts> {
        self.tls.as_deref().map(Session::facts)
    }

    /// The address of our end.
    ///
    /// # Errors
    /// If the connection is already gone.
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Ready when there is something to read, an end of stream and an error included.
    #[inline]
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tls.as_ref().is_some_and(|tls| tls.has_input()) {
            return Poll::Ready(Ok(()));
        }
        self.tcp.poll_read_ready(cx)
    }

    /// Reads what is there into a buffer; 0 is the end of the stream. The buffer takes up memory only once there is
    /// something to read.
    #[inline]
    pub(crate) fn poll_fill(&self, cx: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_readable(cx))?;
            match self.read_now(buffer.space()) {
                Some(Ok(count)) => {
                    buffer.filled_by(count);
                    return Poll::Ready(Ok(count));
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => buffer.release(),
            }
        }
    }

    /// Reads without waiting; `None` if nothing is there.
    pub(crate) fn read_now(&self, into: &mut [u8]) -> Option<io::Result<usize>> {
        match &self.tls {
            None => receive::<false>(&self.tcp, into),
            Some(tls) => tls.read(&self.tcp, into),
        }
    }

    /// True if the stream has ended, or can only end, without the other end's word that it is complete. Without TLS
    /// nobody can know.
    pub(crate) fn is_truncated(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_truncated())
    }

    /// True unless the other end has closed, reset, or sent something: whether a connection that should be silent
    /// can still be used. Asks the kernel only if the readiness says that something happened, or if `certain`.
    pub(crate) fn is_silent(&self, certain: bool) -> bool {
        let arrived = self.has_arrived(certain);
        match &self.tls {
            None => !arrived,
            Some(tls) => !(arrived || tls.has_input()) || tls.is_silent(&self.tcp),
        }
    }

    /// True if there is something to read in the kernel, or an end.
    #[inline]
    fn has_arrived(&self, certain: bool) -> bool {
        let mut byte = [0u8; 1];
        if certain {
            let peeked = rustix::net::recv(&self.tcp, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT);
            return !matches!(peeked, Err(rustix::io::Errno::AGAIN));
        }
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let peeked =
            self.tcp.try_io(Interest::READABLE, || Ok(rustix::net::recv(&self.tcp, &mut byte, flags)?));
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Why the other end is gone for good, if it is; an end of its direction alone is none. Nothing is read: what it has sent
    /// stays where it is. Wakes the task when that changes, unless there are bytes to be read already.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Option<io::Error> {
        loop {
            match self.tcp.poll_read_ready(cx) {
                Poll::Pending => return None,
                Poll::Ready(Err(error)) => return Some(error),
                Poll::Ready(Ok(())) => {}
            }
            let peeked = self.tcp.try_io(Interest::READABLE, || {
                let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
                Ok(rustix::net::recv(&self.tcp, &mut [0u8; 1], flags)?)
            });
            match peeked {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Some(error),
                // Behind bytes that nobody has read, a reset is only known to the socket itself.
                Ok(_) => return self.tcp.take_error().ok().flatten(),
            }
        }
    }

    /// Waits until the connection is broken, for a reader who has no room for what may come or has seen the end of it: an end
    /// of the other side's direction alone is no break.
    pub(crate) async fn broken(&self) -> io::Error {
        // The reason is kept by the socket, and given once.
        let _ = self.tcp.ready(Interest::ERROR).await;
        self.tcp.take_error().ok().flatten().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
    }

    /// True if something has come that nobody has read: to close then would reset the connection. The kernel is asked for
    /// certain: a long answer may have gone out since the readiness was last heard of.
    pub(crate) fn has_unread(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        rustix::net::recv(&self.tcp, &mut [0u8; 1], flags).is_ok_and(|(count, _)| count > 0)
    }

    /// Writes what the other end takes of these slices.
    #[inline]
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, from: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(tls) = &self.tls {
            return tls.poll_write(&self.tcp, cx, from);
        }
        loop {
            // Writing is nearly always possible: it is tried first, and waited for only if it was not.
            let written = match from {
                [one] => send::<false>(&self.tcp, one),
                many => gather(&self.tcp, many),
            };
            if let Some(result) = written.or_else(|| send_unasked(&self.tcp, from.first()?)) {
                return Poll::Ready(result);
            }
            ready!(self.tcp.poll_write_ready(cx))?;
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// If the other end is gone.
    pub(crate) async fn write_all(&self, mut from: &[u8]) -> io::Result<()> {
        while !from.is_empty() {
            let count = poll_fn(|cx| self.poll_write(cx, &[IoSlice::new(from)])).await?;
            from = &from[count..];
        }
        Ok(())
    }

    /// Writes all of it. Holds the stream alone, so that the task may move between threads.
    ///
    /// # Errors
    /// If the other end is gone.
    pub(crate) async fn send(&mut self, mut from: &[u8]) -> io::Result<()> {
        while !from.is_empty() {
            let stream = &mut *self;
            let count = poll_fn(move |cx| {
                let alone: &mut Self = &mut *stream;
                alone.poll_write(cx, &[IoSlice::new(from)])
            });
            from = &from[count.await?..];
        }
        Ok(())
    }

    /// Reads what comes next; 0 is the end of the stream. Holds the stream alone, so that the task may move between
    /// threads.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(crate) async fn take(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let stream = self;
        poll_fn(move |cx| {
            let alone: &mut Self = &mut *stream;
            loop {
                ready!(alone.poll_readable(cx))?;
                if let Some(result) = alone.read_now(&mut *into) {
                    return Poll::Ready(result);
                }
            }
        })
        .await
    }

    /// Ends our direction; the other end may still send. Where TLS is spoken, that is said first: ready once it is.
    pub(crate) fn poll_finish(&self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(tls) = &self.tls {
            ready!(tls.poll_finish(&self.tcp, cx));
        }
        self.shut();
        Poll::Ready(())
    }

    /// The same without waiting: false if it has to be waited for.
    pub(crate) fn finish(&self) -> bool {
        let said = self.tls.as_ref().is_none_or(|tls| tls.finish(&self.tcp));
        if said {
            self.shut();
        }
        said
    }

    /// Ends our direction, whatever is spoken.
    pub(crate) fn shut(&self) {
        let _ = socket2::SockRef::from(&self.tcp).shutdown(Shutdown::Write);
    }

    /// Makes the coming close a reset instead of an orderly end, so that the other end sees a truncation for what it is.
    pub(crate) fn abort(&self) {
        let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(std::time::Duration::ZERO));
    }
}

/// Reads what the kernel has, without waiting; `None` if that is nothing. There is one of it below TLS and one where there
/// is none: what the latter needs for every request is compiled for that place alone, and into it.
#[inline]
pub(crate) fn receive<const BELOW_TLS: bool>(tcp: &TcpStream, into: &mut [u8]) -> Option<io::Result<usize>> {
    let mut taken = None;
    let result = tcp.try_io(Interest::READABLE, || {
        let (count, _) = rustix::net::recv(tcp, &mut *into, RecvFlags::empty())?;
        taken = Some(count);
        if count > 0 && count < into.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    outcome(taken, result)
}

/// The same, whatever the readiness says.
pub(crate) fn receive_unasked(tcp: &TcpStream, into: &mut [u8]) -> Option<io::Result<usize>> {
    match rustix::net::recv(tcp, into, RecvFlags::DONTWAIT) {
        Ok((count, _)) => Some(Ok(count)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => None,
        Err(error) => Some(Err(error.into())),
    }
}

/// Writes what the kernel takes, without waiting; `None` if that is nothing. Two of it for the same reason as of
/// [`receive`].
#[inline]
pub(crate) fn send<const BELOW_TLS: bool>(tcp: &TcpStream, from: &[u8]) -> Option<io::Result<usize>> {
    let mut taken = None;
    let result = tcp.try_io(Interest::WRITABLE, || {
        let count = rustix::net::send(tcp, from, SendFlags::NOSIGNAL)?;
        taken = Some(count);
        if count < from.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    outcome(taken, result)
}

/// The same, whatever the readiness says, while somebody [`insist`]s.
#[cold]
fn send_unasked(tcp: &TcpStream, from: &[u8]) -> Option<io::Result<usize>> {
    if !INSISTING.get() {
        return None;
    }
    match rustix::net::send(tcp, from, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
        Ok(count) => Some(Ok(count)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => None,
        Err(error) => Some(Err(error.into())),
    }
}

/// The same with several slices.
#[inline]
fn gather(tcp: &TcpStream, from: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
    let mut taken = None;
    let result = tcp.try_io(Interest::WRITABLE, || {
        let count = rustix::io::writev(tcp, from)?;
        taken = Some(count);
        let all = from.iter().map(|slice| slice.len()).sum();
        if count < all { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    outcome(taken, result)
}

/// Writes what the kernel takes, below TLS; ready once that is something.
pub(crate) fn poll_send(tcp: &TcpStream, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
    loop {
        if let Some(result) = send::<true>(tcp, from).or_else(|| send_unasked(tcp, from)) {
            return Poll::Ready(result);
        }
        ready!(tcp.poll_write_ready(cx))?;
    }
}

/// A short transfer is reported to the runtime as "would block", and to the caller as what it was.
#[inline]
fn outcome(taken: Option<usize>, result: io::Result<()>) -> Option<io::Result<usize>> {
    match (taken, result) {
        (Some(count), _) => Some(Ok(count)),
        (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
        (None, Err(error)) if error.kind() == io::ErrorKind::Interrupted => None,
        (None, Err(error)) => Some(Err(error)),
        (None, Ok(())) => Some(Ok(0)),
    }
}
