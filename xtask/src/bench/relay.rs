//! The least that a balancer in user space can do: two reads and two writes per request, one wait for many of them, and not a
//! thought about what the bytes mean. No retries, no time-outs, no health, no counters: what it costs is the kernel's part,
//! which every contestant pays and none can go below, and the ratios of the others are to be read beside it.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    event::epoll::{self, CreateFlags, Event, EventData, EventFlags},
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

/// The command that is this program as a relay.
pub(crate) const COMMAND: &str = "relay";

/// Events per wait: as many as a turn of the bench has connections, on both sides.
const EVENTS: usize = 1024;
/// More than any message of the bench.
const BUFFER: usize = 64 * 1024;

/// Runs until the process is ended: `LISTEN BACKEND...`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let addresses: Vec<SocketAddr> = arguments
        .iter()
        .map(|argument| argument.parse().with_context(|| format!("`{argument}` is no address")))
        .collect::<Result<_>>()?;
    let Some((listen, backends @ [_, ..])) = addresses.split_first() else {
        bail!("{COMMAND} takes the address to listen at and those of backends");
    };
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen at {listen}"))?;
    listener.set_nonblocking(true)?;
    let mut relay = Relay { epoll: epoll::create(CreateFlags::CLOEXEC)?, sides: Vec::new() };
    let listener_number = number(&listener);
    epoll::add(&relay.epoll, &listener, EventData::new_u64(listener_number as u64), EventFlags::IN)?;
    let mut backends = backends.iter().cycle();
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    let mut buffer = vec![0; BUFFER];
    loop {
        events.clear();
        epoll::wait(&relay.epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let number = usize::try_from(event.data.u64())?;
            if number != listener_number {
                relay.pass_on(number, &mut buffer);
            } else if let (Ok((client, _)), Some(backend)) = (listener.accept(), backends.next()) {
                relay.join(client, TcpStream::connect(backend)?)?;
            }
        }
    }
}

/// One end of a pair.
struct Side {
    stream: TcpStream,
    /// The number of the other end.
    other: usize,
}

/// All pairs.
struct Relay {
    epoll: OwnedFd,
    /// By the number of the file.
    sides: Vec<Option<Side>>,
}

impl Relay {
    /// Makes a pair of two connections.
    fn join(&mut self, client: TcpStream, backend: TcpStream) -> Result<()> {
        let numbers = (number(&client), number(&backend));
        self.add(client, numbers.1)?;
        self.add(backend, numbers.0)
    }

    fn add(&mut self, stream: TcpStream, other: usize) -> Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let number = number(&stream);
        epoll::add(&self.epoll, &stream, EventData::new_u64(number as u64), EventFlags::IN | EventFlags::ET)?;
        if self.sides.len() <= number {
            self.sides.resize_with(number + 1, || None);
        }
        self.sides[number] = Some(Side { stream, other });
        Ok(())
    }

    /// Passes on what has come. The pair ends with either side, and where a message is not taken at once: those of the
    /// bench fit into every socket.
    fn pass_on(&mut self, number: usize, buffer: &mut [u8]) {
        // An event may be left of a side that ended in the same wait.
        let Some(side) = &self.sides[number] else { return };
        let Some(other) = &self.sides[side.other] else { return };
        let passed = match recv(&side.stream, &mut *buffer, RecvFlags::empty()) {
            Ok((_, 0)) => false,
            Ok((_, length)) => send(&other.stream, &buffer[..length], SendFlags::NOSIGNAL) == Ok(length),
            Err(error) => error == Errno::AGAIN,
        };
        if !passed {
            let other = side.other;
            self.sides[number] = None;
            self.sides[other] = None;
        }
    }
}

/// The number that the kernel knows a file by.
fn number(file: &impl std::os::fd::AsFd) -> usize {
    usize::try_from(file.as_fd().as_raw_fd()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{Ipv4Addr, TcpListener, TcpStream},
        thread,
    };

    #[test]
    fn bytes_are_passed_both_ways_and_an_end_ends_the_pair() {
        let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let arguments = [free.to_string(), backend.local_addr().unwrap().to_string()];
        thread::spawn(move || super::run(&arguments));
        let mut client = loop {
            if let Ok(client) = TcpStream::connect(free) {
                break client;
            }
            thread::yield_now();
        };
        let (mut server, _) = backend.accept().unwrap();
        let mut read = [0; 4];
        for word in [b"ping", b"pong"] {
            client.write_all(word).unwrap();
            server.read_exact(&mut read).unwrap();
            assert_eq!(&read, word);
            server.write_all(word).unwrap();
            client.read_exact(&mut read).unwrap();
            assert_eq!(&read, word);
        }
        drop(server);
        assert_eq!(client.read(&mut read).unwrap(), 0);
    }
}
