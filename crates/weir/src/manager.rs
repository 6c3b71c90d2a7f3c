//! The service manager, if the process runs under one: what it is told (sd_notify(3)), and the sockets that it has opened
//! (sd_listen_fds(3)).

use std::{
    env,
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use listenfd::ListenFd;
use rustix::time::{ClockId, clock_gettime};
use socket2::SockRef;

use crate::app::Inheritance;

/// The way to tell it something.
#[derive(Debug)]
pub(crate) struct Manager {
    /// None if nobody wants to know.
    socket: Option<UnixDatagram>,
    /// How often it wants to hear that the process is alive, and when it last did.
    watchdog: Option<(Duration, Instant)>,
}

impl Manager {
    /// The manager that the environment names.
    pub(crate) fn of_this_process() -> Self {
        let socket = env::var("NOTIFY_SOCKET").ok().and_then(|name| connect(&name).ok());
        let own = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let period = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        let period = period.filter(|micros| own && *micros > 0).map(Duration::from_micros);
        // Twice as often as it asks for, as its manual advises; the first time at once.
        let watchdog = period.map(|period| (period / 2, Instant::now().checked_sub(period)));
        let watchdog = watchdog.map(|(period, last)| (period, last.unwrap_or_else(Instant::now)));
        Self { socket, watchdog }
    }

    /// The process serves.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}\nMAINPID={}", std::process::id()));
    }

    /// The configuration is being read again; [`Manager::ready`] says when that is done.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
    }

    /// The process stops.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping: what is in flight may finish");
    }

    /// Another process serves from now on.
    pub(crate) fn handed_over(&self, pid: u32) {
        self.tell(&format!("MAINPID={pid}"));
    }

    /// The process is alive; to be called again and again while it is.
    pub(crate) fn alive(&mut self) {
        let now = Instant::now();
        if let Some((period, last)) = &mut self.watchdog
            && now.duration_since(*last) >= *period
        {
            *last = now;
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, text: &str) {
        if let Some(socket) = &self.socket {
            // It may be gone, or have no room: nothing depends on it here.
            let _ = socket.send(text.as_bytes());
        }
    }
}

/// A path, or with `@` a name that is no file.
fn connect(name: &str) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.strip_prefix('@') {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(name)?,
    }
    Ok(socket)
}

/// The sockets that the manager has opened for this process, by the addresses that they are bound to.
///
/// # Errors
/// If one of them is not a listening stream socket.
pub(crate) fn sockets() -> Result<Inheritance> {
    let mut given = ListenFd::from_env();
    let mut inheritance = Inheritance::default();
    for index in 0..given.len() {
        let (label, socket) = take(&mut given, index).with_context(|| {
            format!("socket {} of the service manager (LISTEN_FDS) cannot be used", index + 3)
        })?;
        match inheritance.sockets.iter_mut().find(|(known, _)| *known == label) {
            Some((_, sockets)) => sockets.push(socket),
            None => inheritance.sockets.push((label, vec![socket])),
        }
    }
    Ok(inheritance)
}

fn take(given: &mut ListenFd, index: usize) -> Result<(String, OwnedFd)> {
    // A copy, because the original would be passed on to every program that is started from here.
    if let Ok(Some(socket)) = given.take_tcp_listener(index) {
        return Ok((socket.local_addr()?.to_string(), socket.try_clone()?.into()));
    }
    let socket = given.take_unix_listener(index)?.context("it was taken before")?;
    let path = SockRef::from(&socket).local_addr()?;
    let path = path.as_pathname().context("it has no path")?.display().to_string();
    Ok((format!("unix:{path}"), socket.try_clone()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_files_are_reached_too() {
        let name = format!("weir-manager-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let socket = connect(&format!("@{name}")).unwrap();
        let mut teller = Manager { socket: Some(socket), watchdog: Some((Duration::ZERO, Instant::now())) };
        teller.ready("serving");
        teller.alive();
        let mut heard = [0; 200];
        let count = manager.recv(&mut heard).unwrap();
        let expected = format!("READY=1\nSTATUS=serving\nMAINPID={}", std::process::id());
        assert_eq!(std::str::from_utf8(&heard[..count]).unwrap(), expected);
        let count = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..count], b"WATCHDOG=1");
        drop(manager);
        teller.stopping();
        assert!(connect("/nowhere/at/all").is_err());
    }
}
