//! Listening sockets: bound once, one per worker, lent to the workers while their address is configured.
//!
//! ```text
//!  a reload                        each worker
//!  bind, listen ── Order::Open ──> entrance ── accept ──> Conn
//!  close its own ─ Order::Close ─> what waits in the queue is still served, then the worker's copy is closed
//! ```
//!
//! Another process may have had them before, and another one may have them after this one. A socket is never closed while its address stays configured: closing one of several that share a port resets what
//! waits in its queue.

mod accept;
mod counted;
mod door;
mod entrance;
mod group;
mod reserve;
mod unix;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    time::Duration,
};

use socket2::{Domain, Protocol as Transport, SockRef, Socket, TcpKeepalive, Type};
use weir_model::{
    listener::{Address, Bind, TcpOptions},
    time::Millis,
};

pub use accept::Order;
pub(crate) use accept::{Limit, obey};
pub(crate) use counted::Counted;
pub(crate) use entrance::Entrance;
pub(crate) use group::{Group, Sender, reached};
pub(crate) use reserve::Reserve;
use unix::SocketFile;

/// The sockets of one address, one per worker, bound but not yet listening: dropping them changes nothing for anybody.
#[derive(Debug)]
pub struct BoundSockets {
    sockets: Vec<Socket>,
    options: TcpOptions,
    /// They come from elsewhere, and have the options of elsewhere.
    inherited: bool,
    file: Option<SocketFile>,
}

/// The sockets of one address, which clients can connect to.
#[derive(Debug)]
pub struct ListeningSockets {
    /// One per worker, or more: one that was there once stays, since closing it would reset what waits in its queue.
    /// Those of a unix socket are one and the same, whatever their type says.
    pub sockets: Vec<TcpListener>,
    options: TcpOptions,
    file: Option<SocketFile>,
}

impl BoundSockets {
    /// Begins to listen: from here on clients can connect, and wait until somebody accepts.
    ///
    /// # Errors
    /// If the system does not allow it.
    pub fn listen(self) -> io::Result<ListeningSockets> {
        let Self { sockets, options, inherited, file } = self;
        let listening = |socket: Socket| {
            if inherited && file.is_none() {
                set_options(&SockRef::from(&socket), &options)?;
            }
            socket.listen(backlog(&options))?;
            socket.set_nonblocking(true)?;
            Ok(TcpListener::from(socket))
        };
        let sockets = sockets.into_iter().map(listening).collect::<io::Result<_>>()?;
        Ok(ListeningSockets { sockets, options, file })
    }
}

impl ListeningSockets {
    /// Leaves them to another process that has them too: the file of a unix socket stays.
    pub fn leave(self) {
        if let Some(file) = self.file {
            file.leave();
        }
    }

    /// Gives connections that are accepted from now on other options.
    ///
    /// # Errors
    /// If the system does not take them.
    pub fn tune(&mut self, options: &TcpOptions) -> io::Result<()> {
        if self.options == *options {
            return Ok(());
        }
        for socket in &self.sockets {
            let socket = SockRef::from(socket);
            if self.file.is_none() {
                set_options(&socket, options)?;
            }
            // Listening once more changes nothing but the length of the queue.
            socket.listen(backlog(options))?;
        }
        self.options = options.clone();
        Ok(())
    }
}

/// What connections inherit from the socket that they were accepted from: it costs no system call for each of them.
fn set_options(socket: &SockRef<'_>, options: &TcpOptions) -> io::Result<()> {
    /// Between two questions whether a silent client is still there.
    const AGAIN: Duration = Duration::from_secs(10);
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(!options.keepalive.is_none())?;
    if !options.keepalive.is_none() {
        let silence = Duration::from_secs(options.keepalive.0.div_ceil(1000));
        let questions = TcpKeepalive::new().with_time(silence).with_interval(silence.min(AGAIN));
        socket.set_tcp_keepalive(&questions)?;
    }
    let patience = Some(options.user_timeout).filter(|patience| !patience.is_none());
    socket.set_tcp_user_timeout(patience.map(Millis::duration))
}

fn backlog(options: &TcpOptions) -> i32 {
    i32::try_from(options.backlog).unwrap_or(i32::MAX)
}

/// Binds one address `count` times, once per worker; the kernel spreads connections over them. `None` if it is the
/// IPv6 half of a bind for either family, on a host without IPv6.
///
/// `beside_own` says that sockets of this very process may be bound to the same port, on all addresses instead of one or
/// the other way round; then nobody can find out whether another process is there too.
///
/// # Errors
/// If the address cannot be bound.
pub fn bind(
    bind: &Bind,
    options: &TcpOptions,
    count: usize,
    beside_own: bool,
) -> io::Result<Option<BoundSockets>> {
    let address = match &bind.address {
        Address::Ip(address) => *address,
        Address::Unix(path) => return unix::bind(path, options, count).map(Some),
    };
    match bind_all(address, count, beside_own) {
        Err(error) if bind.either_family && address.is_ipv6() && has_no_ipv6(&error) => Ok(None),
        Err(error) => Err(error),
        Ok(sockets) => {
            sockets.iter().try_for_each(|socket| set_options(&SockRef::from(socket), options))?;
            Ok(Some(BoundSockets { sockets, options: options.clone(), inherited: false, file: None }))
        }
    }
}

/// Makes the sockets of one address of sockets that are already bound to it, and listened at: by the process before this one,
/// or by a service manager. All of them are used. Where there are fewer than `count`, further ones join them if they
/// share their port, else workers share sockets.
///
/// # Errors
/// If the system does not allow it, or there is none.
pub fn inherit(
    address: &Address,
    sockets: Vec<OwnedFd>,
    options: &TcpOptions,
    count: usize,
) -> io::Result<BoundSockets> {
    let mut sockets: Vec<_> = sockets.into_iter().map(Socket::from).collect();
    let Some(first) = sockets.first() else { return Err(io::ErrorKind::NotFound.into()) };
    let own = first.local_addr()?.as_socket();
    let shared = own.filter(|_| first.reuse_port().unwrap_or(false));
    let there = sockets.len();
    while sockets.len() < count {
        let more = match shared {
            // A port may have been refused to us since: then there is one socket less.
            Some(address) => bind_one(address, true).or_else(|_| sockets[sockets.len() % there].try_clone()),
            None => sockets[sockets.len() % there].try_clone(),
        };
        sockets.push(more?);
    }
    let file = match address {
        Address::Ip(_) => None,
        Address::Unix(path) => Some(SocketFile::new(path)),
    };
    Ok(BoundSockets { sockets, options: options.clone(), inherited: true, file })
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

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn accepted_connections_have_the_options_of_their_listener() {
        let bind_to = Bind { address: Address::Ip("127.0.0.1:0".parse().unwrap()), either_family: false };
        let options = |keepalive, user_timeout| TcpOptions { keepalive, user_timeout, backlog: 16 };
        let bound = bind(&bind_to, &options(Millis(1500), Millis::secs(7)), 1, false).unwrap().unwrap();
        let mut listening = bound.listen().unwrap();
        let accept = |listening: &ListeningSockets| {
            let socket = &listening.sockets[0];
            let client = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
            let accepted = loop {
                match socket.accept() {
                    Ok((accepted, _)) => break Socket::from(accepted),
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            };
            drop(client);
            accepted
        };
        let accepted = accept(&listening);
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_secs(2));
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
        // A reload changes what comes from now on.
        listening.tune(&options(Millis::NONE, Millis::NONE)).unwrap();
        let accepted = accept(&listening);
        assert!(!accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_user_timeout().unwrap().unwrap_or_default(), Duration::ZERO);
    }

    fn plain() -> TcpOptions {
        TcpOptions { keepalive: Millis::NONE, user_timeout: Millis::NONE, backlog: 64 }
    }

    fn any() -> Bind {
        Bind { address: Address::Ip("127.0.0.1:0".parse().unwrap()), either_family: false }
    }

    fn copies(listening: &ListeningSockets) -> Vec<OwnedFd> {
        listening.sockets.iter().map(|socket| socket.try_clone().unwrap().into()).collect()
    }

    /// Accepts everything that waits, wherever it waits.
    fn waiting(listening: &ListeningSockets) -> Vec<TcpStream> {
        let queue = |socket: &TcpListener| std::iter::from_fn(|| socket.accept().ok()).collect::<Vec<_>>();
        listening.sockets.iter().flat_map(queue).map(|(stream, _)| stream).collect()
    }

    #[test]
    fn who_waits_when_sockets_change_hands_is_served() {
        use std::io::{Read as _, Write as _};

        let address = any().address;
        let first = bind(&any(), &plain(), 2, false).unwrap().unwrap().listen().unwrap();
        let port = first.sockets[0].local_addr().unwrap();
        // More sockets than before, and fewer.
        let mut before = first;
        for count in [3, 1] {
            let mut clients: Vec<_> = (0..30).map(|_| TcpStream::connect(port).unwrap()).collect();
            let next = inherit(&address, copies(&before), &plain(), count).unwrap();
            let there = before.sockets.len();
            before.leave();
            let next = next.listen().unwrap();
            assert_eq!(next.sockets.len(), there.max(count), "none that was there is given up");
            let accepted = waiting(&next);
            assert_eq!(accepted.len(), clients.len());
            accepted.into_iter().for_each(|mut stream| stream.write_all(b"x").unwrap());
            for client in &mut clients {
                let mut heard = Vec::new();
                client.read_to_end(&mut heard).unwrap();
                assert_eq!(heard, b"x", "served in order, not reset");
            }
            before = next;
        }
    }

    #[test]
    fn a_port_that_is_not_shared_is_one_socket_for_all() {
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = own.local_addr().unwrap();
        let address = Address::Ip(port);
        let given = vec![own.try_clone().unwrap().into()];
        let listening = inherit(&address, given, &plain(), 3).unwrap().listen().unwrap();
        assert_eq!(listening.sockets.len(), 3);
        let _client = TcpStream::connect(port).unwrap();
        assert_eq!(waiting(&listening).len(), 1);
        assert!(inherit(&address, Vec::new(), &plain(), 1).is_err());
    }

    #[test]
    fn the_file_of_a_socket_goes_with_its_last_owner() {
        use std::os::unix::net::UnixStream;

        let path: std::sync::Arc<std::path::Path> =
            std::env::temp_dir().join(format!("weir-inherit-{}.sock", std::process::id())).into();
        let address = Address::Unix(path.clone());
        let unix = Bind { address: address.clone(), either_family: false };
        let first = bind(&unix, &plain(), 1, false).unwrap().unwrap().listen().unwrap();
        let second = inherit(&address, copies(&first), &plain(), 2).unwrap().listen().unwrap();
        first.leave();
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
        assert!(!path.exists());
    }
}
