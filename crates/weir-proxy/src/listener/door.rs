//! A listening socket of either kind, as the runtime has it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    os::unix::net::UnixListener,
    task::{Context, Poll},
};

use tokio::net::{TcpStream, UnixStream};
use weir_model::listener::Address;

use crate::io::Stream;

/// Whom a unix socket connects: somebody on this machine, who has no address.
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A listening socket.
#[derive(Debug)]
pub(super) enum Door {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Door {
    pub(super) fn new(socket: TcpListener, address: &Address) -> io::Result<Self> {
        Ok(match address {
            Address::Ip(_) => Self::Tcp(tokio::net::TcpListener::from_std(socket)?),
            Address::Unix(_) => {
                let socket = UnixListener::from(OwnedFd::from(socket));
                Self::Unix(tokio::net::UnixListener::from_std(socket)?)
            }
        })
    }

    /// The next client.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, SocketAddr)>> {
        match self {
            Self::Tcp(socket) => {
                socket.poll_accept(cx).map_ok(|(stream, peer)| (Stream::accepted(stream), plain(peer)))
            }
            Self::Unix(socket) => {
                socket.poll_accept(cx)?.map(|(stream, _)| Ok((Stream::unix(stream)?, LOCAL)))
            }
        }
    }

    /// Hands those that wait to `serve`, at most so many. Asks the system itself: the runtime may not have heard of the
    /// last ones yet.
    pub(super) fn empty(self, most: usize, mut serve: impl FnMut(Stream, SocketAddr)) -> io::Result<()> {
        let next: Box<dyn Fn() -> io::Result<(Stream, SocketAddr)>> = match self {
            Self::Tcp(socket) => {
                let socket = socket.into_std()?;
                Box::new(move || {
                    let (stream, peer) = socket.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok((Stream::accepted(TcpStream::from_std(stream)?), plain(peer)))
                })
            }
            Self::Unix(socket) => {
                let socket = socket.into_std()?;
                Box::new(move || {
                    let (stream, _) = socket.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok((Stream::unix(UnixStream::from_std(stream)?)?, LOCAL))
                })
            }
        };
        for _ in 0..most {
            match next() {
                Ok((stream, peer)) => serve(stream, peer),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The address of a client without its disguise: a socket for both families, as service managers make them, shows IPv4
/// addresses as IPv6 ones.
fn plain(mut peer: SocketAddr) -> SocketAddr {
    if peer.is_ipv6() {
        peer.set_ip(peer.ip().to_canonical());
    }
    peer
}
