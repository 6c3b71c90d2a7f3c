//! Listening sockets: bound once, one per worker, lent to the workers while their address is configured.
//!
//! ```text
//!  a reload                        each worker
//!  bind, listen ── Order::Open ──> entrance ── accept ──> Conn
//!  close its own ─ Order::Close ─> what waits in the queue is still served, then the worker's copy is closed
//! ```
//!
//! A socket is never closed while its address stays configured: closing one of several that share a port resets what
//! waits in its queue.

mod accept;
mod entrance;

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol as Transport, Socket, Type};
use weir_model::listener::{Address, Bind};

pub use accept::Order;
pub(crate) use accept::obey;
pub(crate) use entrance::{Counted, Entrance};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// The sockets of one address, one per worker, bound but not yet listening: dropping them changes nothing for anybody.
#[derive(Debug)]
pub struct BoundSockets(Vec<Socket>);

impl BoundSockets {
    /// Begins to listen: from here on clients can connect, and wait until somebody accepts.
    ///
    /// # Errors
    /// If the system does not allow it.
    pub fn listen(self) -> io::Result<Vec<TcpListener>> {
        let listening = |socket: Socket| {
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            Ok(TcpListener::from(socket))
        };
        self.0.into_iter().map(listening).collect()
    }
}

/// Binds one address `count` times, once per worker; the kernel spreads connections over them. `None` if it is the
/// IPv6 half of a bind for either family, on a host without IPv6.
///
/// `beside_own` says that sockets of this very process may be bound to the same port, on all addresses instead of one or
/// the other way round; then nobody can find out whether another process is there too.
///
/// # Errors
/// If the address cannot be bound.
pub fn bind(bind: &Bind, count: usize, beside_own: bool) -> io::Result<Option<BoundSockets>> {
    let Address::Ip(address) = bind.address else {
        // Compiling refuses it until it can be bound here.
        return Err(io::ErrorKind::Unsupported.into());
    };
    match bind_all(address, count, beside_own) {
        Err(error) if bind.either_family && address.is_ipv6() && has_no_ipv6(&error) => Ok(None),
        other => other.map(|sockets| Some(BoundSockets(sockets))),
    }
}

fn bind_all(mut address: SocketAddr, count: usize, beside_own: bool) -> io::Result<Vec<Socket>> {
    // Sockets that share a port share it with any other process of the same user that asks for it, a second weir for
    // one. A socket that does not share finds out, and is closed again.
    if !beside_own {
        drop(bind_one(address, false)?);
    }
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count.max(1) {
        let socket = bind_one(address, true)?;
        // Port 0 is chosen by the first socket; the others join it.
        address = socket.local_addr()?.as_socket().unwrap_or(address);
        sockets.push(socket);
    }
    Ok(sockets)
}

fn bind_one(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Transport::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn has_no_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
