//! The listening sockets of the process: bound when an address is configured, lent to the workers, and closed when it is
//! configured no more.

use std::{
    fs,
    io::{self, ErrorKind},
    net::{Ipv6Addr, SocketAddr, TcpListener},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileTypeExt as _,
    },
    sync::mpsc::{Sender, channel},
    time::Duration,
};

use anyhow::{Context as _, Result};
use socket2::SockRef;
use tokio::sync::mpsc::UnboundedSender;
use weir_control::trouble::Trouble;
use weir_model::{
    listener::{Address, Bind, TcpOptions},
    snapshot::{BindKey, Snapshot},
};
use weir_proxy::listener::{BoundSockets, ListeningSockets, Order};

use super::Inheritance;

/// How long to wait for workers to do what they are told: they do it in milliseconds unless something is very wrong.
const PATIENCE: Duration = Duration::from_secs(2);

/// One bound address, with a socket for each worker. The process keeps them open as long as the address is configured.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) key: BindKey,
    /// The address with the port that was really bound.
    pub(super) address: Address,
    sockets: ListeningSockets,
}

/// Addresses that are bound, and not yet listened at.
#[derive(Debug)]
pub(super) struct Prepared(Vec<(BindKey, BoundSockets)>);

/// Addresses that are listened at, with the copies for the workers.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) bound: Vec<Bound>,
    copies: Vec<Vec<TcpListener>>,
}

/// Binds every address of a snapshot that is not bound yet, or none. What is inherited is taken from there.
pub(super) fn prepare(
    snapshot: &Snapshot,
    bound: &[Bound],
    workers: usize,
    inheritance: &mut Inheritance,
) -> Result<Prepared> {
    let mut prepared: Vec<(BindKey, BoundSockets)> = Vec::new();
    for (key, place) in snapshot.binds() {
        if bound.iter().any(|bound| bound.key == key)
            || inheritance.covers(place.bind)
            || bound.iter().any(|bound| bound.covers(place.bind))
        {
            continue;
        }
        if let Some(sockets) = inheritance.take(&key) {
            let options = &place.first(snapshot).tcp;
            let sockets = weir_proxy::listener::inherit(key.address(), sockets, options, workers);
            let sockets = sockets.with_context(|| format!("the sockets of {key} cannot be taken over"))?;
            prepared.push((key, sockets));
            continue;
        }
        let ours = prepared.iter().filter_map(|(key, _)| key.address().ip());
        let mut ours = bound.iter().filter_map(|bound| bound.address.ip()).chain(ours);
        let beside_own = key.address().ip().is_some_and(|new| ours.any(|address| overlap(address, new)));
        let listener = place.first(snapshot);
        let sockets = weir_proxy::listener::bind(place.bind, &listener.tcp, workers, beside_own);
        let sockets = sockets.map_err(|error| {
            let cause = format!("listener `{}` cannot be bound to {key}: {error}", listener.name);
            Trouble::new(cause, remedy(key.address(), &error))
        })?;
        // None is one half of a bind for either family, on a host that knows only the other.
        prepared.extend(sockets.map(|sockets| (key, sockets)));
    }
    Ok(Prepared(prepared))
}

/// True if one of the two takes connections for the other: one is for all addresses, and the port is the same.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let everywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && a.is_ipv4() == b.is_ipv4() && a.ip() != b.ip() && everywhere
}

/// What usually helps.
fn remedy(address: &Address, error: &io::Error) -> String {
    match (address, error.kind()) {
        (Address::Ip(address), ErrorKind::AddrInUse) => {
            format!("`ss -ltnp 'sport = :{}'` shows who holds the port", address.port())
        }
        (Address::Ip(_), ErrorKind::AddrNotAvailable) => {
            "this machine has no such address: `ip address` shows those that it has".into()
        }
        (Address::Ip(_), ErrorKind::PermissionDenied) => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: give it to weir, or use another port".into()
        }
        (Address::Unix(path), ErrorKind::AddrInUse) => {
            let is_socket = |found: fs::Metadata| found.file_type().is_socket();
            match fs::symlink_metadata(path).is_ok_and(is_socket) {
                true => format!("`ss -lxp src {}` shows who listens there", path.display()),
                false => "there is a file that is no socket: remove it, or name another path".into(),
            }
        }
        (Address::Unix(path), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            let folder = path.parent().unwrap_or(path);
            format!("make the folder {} first", folder.display())
        }
        (Address::Unix(_), ErrorKind::PermissionDenied) => {
            "give the user that runs weir the right to write in that folder".into()
        }
        _ => "name another address".into(),
    }
}

impl Prepared {
    /// Begins to listen at all of them.
    pub(super) fn listen(self) -> Result<Opened> {
        let mut opened = Opened { bound: Vec::new(), copies: Vec::new() };
        for (key, sockets) in self.0 {
            let sockets = sockets.listen().with_context(|| format!("{key} is bound, but not listened at"))?;
            let address = match key.address() {
                Address::Ip(_) => {
                    let address = sockets.sockets[0].local_addr();
                    Address::Ip(address.context("a bound socket has no address")?)
                }
                unix => unix.clone(),
            };
            let copies = sockets.sockets.iter().map(TcpListener::try_clone).collect::<io::Result<Vec<_>>>();
            opened.copies.push(copies.context("a listening socket cannot be shared with a worker")?);
            opened.bound.push(Bound { key, address, sockets });
        }
        Ok(opened)
    }
}

impl Bound {
    /// What it is bound for, and where.
    pub(super) fn place(&self) -> (BindKey, Address) {
        (self.key.clone(), self.address.clone())
    }

    /// True if a bind needs no socket of its own beside this one, which takes both families.
    fn covers(&self, bind: &Bind) -> bool {
        let both = |v4: SocketAddr| {
            let own = self.address.ip();
            own == Some(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), v4.port()))
                && self.sockets.sockets.iter().all(takes_both)
        };
        bind.either_family && bind.address.ip().is_some_and(|ip| ip.is_ipv4() && both(ip))
    }

    /// Its sockets.
    pub(super) fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.sockets.iter().map(TcpListener::as_fd)
    }

    /// Leaves them to another process that has them too.
    pub(super) fn leave(self) {
        self.sockets.leave();
    }

    /// Gives connections that come from now on the options of the listener that the address now belongs to.
    pub(super) fn tune(&mut self, options: &TcpOptions) -> io::Result<()> {
        self.sockets.tune(options)
    }
}

/// True if an IPv6 socket takes IPv4 connections as well.
pub(super) fn takes_both<'f>(socket: impl AsFd + 'f) -> bool {
    !SockRef::from(&socket).only_v6().unwrap_or(true)
}

/// Deals sockets out to so many workers. There may be more of them than workers, where there were more workers once.
fn deal(sockets: Vec<TcpListener>, workers: usize) -> Vec<Vec<TcpListener>> {
    let mut dealt: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
    for (index, socket) in sockets.into_iter().enumerate() {
        dealt[index % workers].push(socket);
    }
    dealt
}

/// The way to tell the workers what to serve.
#[derive(Clone, Debug)]
pub(super) struct Orders(pub(super) Vec<UnboundedSender<Order>>);

impl Orders {
    /// Has the workers accept at these addresses; returns them once that has begun.
    pub(super) fn open(&self, opened: Opened) -> Vec<Bound> {
        let Opened { bound, copies } = opened;
        self.tell(|done| {
            for (bound, copies) in bound.iter().zip(copies) {
                for (worker, copies) in self.0.iter().zip(deal(copies, self.0.len())) {
                    // A worker that has ended takes no more orders, and its sockets none of the connections.
                    let _ = worker.send(Order::Open(bound.key.clone(), copies, done.clone()));
                }
            }
        });
        bound
    }

    /// Has the workers serve what waits at these addresses and close them; returns once that is done.
    pub(super) fn close(&self, bound: Vec<Bound>) {
        let keys: Vec<_> = bound.into_iter().map(|bound| bound.key).collect();
        // The sockets of the process are closed by now, so that those of the workers are the last ones.
        self.tell(|done| {
            for (worker, key) in self.0.iter().flat_map(|worker| keys.iter().map(move |key| (worker, key))) {
                let _ = worker.send(Order::Close(key.clone(), done.clone()));
            }
        });
    }

    /// Tells, and waits until all have done it.
    fn tell(&self, tell: impl FnOnce(&Sender<()>)) {
        let (done, all_done) = channel();
        tell(&done);
        drop(done);
        // Nobody sends anything: it ends when the last one has dropped its sender.
        let _ = all_done.recv_timeout(PATIENCE);
    }
}
