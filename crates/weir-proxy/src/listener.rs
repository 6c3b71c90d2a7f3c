//! Listening sockets: bound once, one per worker, and the loop that accepts from them.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
};

use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Protocol as Transport, Socket, Type};
use tokio::sync::watch;
use weir_model::{
    listener::{Address, Bind, Protocol},
    time::Millis,
};

use crate::{
    conn::Conn,
    error::is_exhaustion,
    http, l4,
    telemetry::Level,
    worker::{Phase, Worker},
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long accepting pauses when the process is out of files.
const PAUSE: Millis = Millis(100);

/// Binds one address `count` times, once per worker; the kernel spreads connections over them. `None` if it is the
/// IPv6 half of a bind for either family, on a host without IPv6.
///
/// # Errors
/// If the address cannot be bound.
pub fn bind(bind: &Bind, count: usize) -> io::Result<Option<Vec<TcpListener>>> {
    let Address::Ip(address) = bind.address else {
        // Compiling refuses it until it can be bound here.
        return Err(io::ErrorKind::Unsupported.into());
    };
    match bind_all(address, count) {
        Err(error) if bind.either_family && address.is_ipv6() && has_no_ipv6(&error) => Ok(None),
        other => other.map(Some),
    }
}

fn bind_all(mut address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    // Sockets that share a port share it with any other process of the same user that asks for it, a second weir for
    // one. A socket that does not share finds out, and is closed again.
    drop(bind_one(address, false)?);
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count.max(1) {
        let socket = bind_one(address, true)?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from(socket);
        // Port 0 is chosen by the first socket; the others join it.
        address = socket.local_addr()?;
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

/// Accepts until the process drains. What waits in the queue by then is still served.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    name: Arc<str>,
    socket: tokio::net::TcpListener,
    mut phase: watch::Receiver<Phase>,
) {
    let mut told = false;
    let pause = worker.wheel.timer();
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = socket.accept() => accepted,
            _ = phase.wait_for(|phase| *phase >= Phase::Draining) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_exhaustion(&error) => {
                if !std::mem::replace(&mut told, true) {
                    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
                    let text =
                        format!("listener={name} accepting pauses: {error} (the limit is {most} files)");
                    worker.journal.say(Level::Warn, text);
                }
                pause.sleep(PAUSE).await;
                continue;
            }
            // The connection is already gone again (ECONNABORTED and its like): nothing to serve.
            Err(_) => continue,
        };
        told = false;
        let view = worker.view();
        let Some(listener) = view.listener(&name) else { return };
        let conn = Conn::new(worker.clone(), listener.clone(), stream, peer);
        match listener.protocol {
            Protocol::Http => drop(tokio::task::spawn_local(http::serve(conn))),
            Protocol::Tcp => drop(tokio::task::spawn_local(l4::serve(conn))),
        }
    }
}
