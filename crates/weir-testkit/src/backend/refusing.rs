//! Backends that cannot be connected.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

/// An address that refuses every connection for as long as this lives: it is bound, so nobody else can take it, but
/// nobody listens.
#[derive(Debug)]
pub struct Refusing {
    address: SocketAddr,
    _socket: Socket,
}

impl Refusing {
    /// One of them.
    ///
    /// # Panics
    /// If no port can be bound at all.
    pub fn new() -> Self {
        let (address, socket) = bind().unwrap_or_else(|error| panic!("no port can be bound: {error}"));
        Self { address, _socket: socket }
    }

    /// Where it does not listen.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Default for Refusing {
    fn default() -> Self {
        Self::new()
    }
}

/// An address that leaves every attempt to connect without an answer: it listens and accepts nobody, and its queue is
/// full.
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    _socket: Socket,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    /// One of them.
    ///
    /// # Panics
    /// If the queue cannot be filled.
    pub fn new() -> Self {
        const MOST: usize = 16;
        let bound = bind().and_then(|bound| bound.1.listen(0).map(|()| bound));
        let (address, socket) = bound.unwrap_or_else(|error| panic!("no port can be bound: {error}"));
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
        let waiting: Vec<_> = std::iter::from_fn(connect).take(MOST).collect();
        assert!(waiting.len() < MOST, "the queue never filled up");
        Self { address, _socket: socket, _waiting: waiting }
    }

    /// Where it is.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Default for BlackHole {
    fn default() -> Self {
        Self::new()
    }
}

fn bind() -> io::Result<(SocketAddr, Socket)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((address, socket))
}
