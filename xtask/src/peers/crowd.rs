//! Clients of every kind at once, for tests in which none of them may notice anything; and the servers that give back what
//! they say.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::folder;
use crate::{
    bench::probe::{self, Client},
    process::Running,
};

/// What one kind of client did.
#[derive(Default)]
pub(super) struct Count {
    pub(super) done: usize,
    pub(super) failures: Vec<String>,
}

impl Count {
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.done += other.done;
        self.failures.extend(other.failures);
        self
    }

    pub(super) fn add(&mut self, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.done += 1,
            Err(error) => self.failures.push(format!("{error:#}")),
        }
    }
}

/// Asks on one connection, without pause, for as long as the server keeps it.
pub(super) fn keep(address: SocketAddr, goes_on: impl Fn() -> bool) -> Count {
    let mut count = Count::default();
    let mut kept: Option<Client> = None;
    while goes_on() {
        count.add((|| {
            let mut client = match kept.take() {
                Some(client) => client,
                None => Client::connect(address).context("connect")?,
            };
            client.send().context("send")?;
            client.receive().context("receive")?;
            // A server that says so is about to close, and may.
            let closes = client.header("Connection").is_some_and(|said| said.eq_ignore_ascii_case("close"));
            kept = Some(client).filter(|_| !closes);
            Ok(())
        })());
    }
    count
}

/// Asks on a connection of its own each time, which the server is to close.
pub(super) fn close(address: SocketAddr, goes_on: impl Fn() -> bool) -> Count {
    let mut count = Count::default();
    while goes_on() {
        count.add((|| {
            let mut stream = TcpStream::connect(address).context("connect")?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).context("receive")?;
            let length = probe::response_length(&answer)?.context("a head that is cut short")?;
            ensure!(length == answer.len(), "{} bytes instead of {length}", answer.len());
            Ok(())
        })());
        thread::sleep(Duration::from_millis(2));
    }
    count
}

/// Opens a connection, says a few things with pauses, hears each of them back, and closes in order; again and again.
pub(super) fn sessions(address: SocketAddr, goes_on: impl Fn() -> bool) -> Count {
    let mut count = Count::default();
    while goes_on() {
        count.add((|| {
            let mut stream = connected(address).context("connect")?;
            for word in [b"one", b"two", b"six", b"ten"] {
                stream.write_all(word).context("send")?;
                let mut heard = [0; 3];
                stream.read_exact(&mut heard).context("receive")?;
                ensure!(heard == *word, "{heard:?} came back");
                thread::sleep(Duration::from_millis(50));
            }
            stream.shutdown(Shutdown::Write)?;
            ensure!(stream.read(&mut [0]).context("the end")? == 0, "more came back than was said");
            Ok(())
        })());
    }
    count
}

/// A connection that stays, and what is said on it.
pub(super) struct Long {
    stream: TcpStream,
    says: &'static [u8],
    hears: &'static [u8],
}

/// Says something on each connection in turn and waits for it to come back.
pub(super) fn talk(connections: &mut [Long], goes_on: impl Fn() -> bool) -> Count {
    let mut count = Count::default();
    let mut say = |long: &mut Long| {
        count.add((|| {
            long.stream.write_all(long.says)?;
            let mut heard = vec![0; long.hears.len()];
            long.stream.read_exact(&mut heard)?;
            ensure!(heard == long.hears, "{heard:?} came back");
            Ok(())
        })());
    };
    while goes_on() {
        connections.iter_mut().for_each(&mut say);
        thread::sleep(Duration::from_millis(20));
    }
    // Once more, when everything is over.
    connections.iter_mut().for_each(&mut say);
    count
}

pub(super) fn websockets(address: SocketAddr, count: usize) -> Result<Vec<Long>> {
    const ASK: &[u8] =
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // A text message "Hello", masked as clients must (RFC 6455 section 5.7), and as it comes back.
    const SAYS: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    const HEARS: &[u8] = b"\x81\x05Hello";
    let open = || {
        let mut stream = connected(address)?;
        stream.write_all(ASK)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).context("no answer to an upgrade")?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let accepted = head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        ensure!(accepted, "no WebSocket: {head}");
        Ok(Long { stream, says: SAYS, hears: HEARS })
    };
    (0..count).map(|_| open()).collect()
}

pub(super) fn tcp_connections(address: SocketAddr, count: usize) -> Result<Vec<Long>> {
    let open = || Ok(Long { stream: connected(address)?, says: b"hello", hears: b"hello" });
    (0..count).map(|_| open()).collect()
}

fn connected(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

/// Starts a Python server that gives back WebSocket messages at one address and bytes at another.
pub(super) fn echo_site(name: &str, websocket: SocketAddr, echo: SocketAddr) -> Result<Running> {
    let folder = folder(name)?;
    let file = folder.join("echo.py");
    fs::write(&file, include_str!("echo.py"))?;
    let mut command = Command::new("python3");
    command.arg(file).arg(echo.ip().to_string());
    command.arg(websocket.port().to_string()).arg(echo.port().to_string());
    let running = Running::start(&mut command, &folder)?;
    running.listens(echo)?;
    Ok(running)
}
