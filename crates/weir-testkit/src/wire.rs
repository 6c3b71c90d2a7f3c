//! One TCP connection with a buffer: reads with deadlines, messages, writes that end when the test does.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::{
    message::{self, Framing, Message},
    tls::{Tls, TlsFacts},
};

/// How reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed its side in order.
    Closed,
    /// The peer reset the connection, or broke the rules of TLS.
    Reset,
    /// The peer closed a connection with TLS without saying so before.
    Cut,
    /// The deadline came first: the connection is still open.
    Open,
}

/// Sockets look up this often to see whether the test is over.
const TICK: Duration = Duration::from_millis(20);

/// A connection and what has been read from it but not yet used.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    tls: Option<Box<Tls>>,
    buffer: Vec<u8>,
    end: Option<End>,
    /// Set when the owner stops.
    stopped: Arc<AtomicBool>,
    /// Gets a copy of every byte that arrives.
    tap: Option<Arc<Mutex<Vec<u8>>>>,
}

impl Wire {
    pub(crate) fn new(
        stream: TcpStream,
        stopped: Arc<AtomicBool>,
        tap: Option<Arc<Mutex<Vec<u8>>>>,
    ) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(TICK))?;
        Ok(Self { stream, tls: None, buffer: Vec::new(), end: None, stopped, tap })
    }

    /// The same with TLS, whose handshake happens with the first byte that is read or written.
    pub(crate) fn with_tls(mut self, connection: rustls::Connection) -> Self {
        let early = std::mem::take(&mut self.buffer);
        Self { tls: Some(Box::new(Tls::new(connection, early))), ..self }
    }

    /// What is known of the other end, if this speaks TLS. Waits for the handshake; none if it fails.
    pub(crate) fn facts(&mut self, deadline: Instant) -> Option<TlsFacts> {
        while self.tls.as_ref()?.is_handshaking() {
            let Self { stream, tls, stopped, .. } = self;
            match tls.as_mut()?.write(stream, &[]) {
                Err(error) if is_tick(&error) => {
                    if Instant::now() >= deadline || stopped.load(Ordering::Relaxed) {
                        return None;
                    }
                }
                Err(_) => return None,
                Ok(_) => {}
            }
        }
        Some(self.tls.as_ref()?.facts())
    }

    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.tls {
            None => self.stream.read(into),
            Some(tls) => tls.read(&self.stream, into),
        }
    }

    fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
        match &mut self.tls {
            None => self.stream.write(from),
            Some(tls) => tls.write(&self.stream, from),
        }
    }

    pub(crate) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads once; true if bytes came, false if the connection ended or the deadline came.
    pub(crate) fn fill(&mut self, deadline: Instant) -> bool {
        let mut piece = [0; 64 * 1024];
        while !matches!(self.end, Some(End::Closed | End::Reset | End::Cut)) {
            match self.read(&mut piece) {
                Ok(0) => self.end = Some(End::Closed),
                Ok(count) => {
                    if let Some(tap) = &self.tap {
                        tap.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&piece[..count]);
                    }
                    self.buffer.extend_from_slice(&piece[..count]);
                    return true;
                }
                Err(error) if is_tick(&error) => {
                    if Instant::now() >= deadline || self.stopped.load(Ordering::Relaxed) {
                        self.end = Some(End::Open);
                        return false;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) if self.tls.as_ref().is_some_and(|tls| tls.was_cut()) => self.end = Some(End::Cut),
                Err(_) => self.end = Some(End::Reset),
            }
        }
        false
    }

    /// How reading ended; open if it has not.
    pub(crate) fn end(&self) -> End {
        self.end.unwrap_or(End::Open)
    }

    /// Everything until the peer closes or the deadline comes.
    pub(crate) fn read_to_end(&mut self, deadline: Instant) -> (Vec<u8>, End) {
        while self.fill(deadline) {}
        (std::mem::take(&mut self.buffer), self.end())
    }

    /// Everything until the peer closes or nothing has come for so long.
    pub(crate) fn read_until_quiet(&mut self, quiet: Duration) -> (Vec<u8>, End) {
        while self.fill(Instant::now() + quiet) {}
        (std::mem::take(&mut self.buffer), self.end())
    }

    /// Exactly so many bytes, or fewer if the connection ends.
    pub(crate) fn read_exact(&mut self, count: usize, deadline: Instant) -> Vec<u8> {
        while self.buffer.len() < count && self.fill(deadline) {}
        self.buffer.drain(..count.min(self.buffer.len())).collect()
    }

    /// The next head; none if the connection ends before it is complete.
    pub(crate) fn read_head(&mut self, deadline: Instant) -> Option<Message> {
        loop {
            if let Some((message, length)) = message::head(&self.buffer) {
                self.buffer.drain(..length);
                return Some(message);
            }
            if !self.fill(deadline) {
                return None;
            }
        }
    }

    /// Adds the body to a message whose head was read.
    pub(crate) fn read_body(&mut self, message: &mut Message, framing: Framing, deadline: Instant) {
        message.complete = match framing {
            Framing::None => true,
            Framing::Length(length) => {
                message.body = self.read_exact(length, deadline);
                message.body.len() == length
            }
            Framing::Chunked => self.read_chunks(message, deadline).is_some(),
            Framing::UntilClose => {
                let (bytes, end) = self.read_to_end(deadline);
                message.body = bytes;
                end == End::Closed
            }
        };
    }

    /// Chunks and trailers; none if they end early or make no sense.
    fn read_chunks(&mut self, message: &mut Message, deadline: Instant) -> Option<()> {
        loop {
            let line = self.read_line(deadline)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).ok()?;
            if size == 0 {
                break;
            }
            let data = self.read_exact(size, deadline);
            message.body.extend_from_slice(&data);
            if data.len() < size || !self.read_line(deadline)?.is_empty() {
                return None;
            }
        }
        loop {
            let line = self.read_line(deadline)?;
            if line.is_empty() {
                return Some(());
            }
            message.trailers.push(message::field(&line));
        }
    }

    fn read_line(&mut self, deadline: Instant) -> Option<String> {
        loop {
            if let Some(length) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=length).collect();
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                return Some(message::latin1(line.strip_suffix(b"\r").unwrap_or(line)));
            }
            if !self.fill(deadline) {
                return None;
            }
        }
    }

    /// Writes everything, however slowly the peer reads; false if it cannot be written.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) =>
                {
                    if self.stopped.load(Ordering::Relaxed) {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
        self.flush()
    }

    /// Sends what TLS has put together and not sent yet; false if it cannot be sent.
    fn flush(&mut self) -> bool {
        let Self { stream, tls, stopped, .. } = self;
        let Some(tls) = tls else { return true };
        loop {
            match tls.flush(stream) {
                Ok(()) => return true,
                Err(error) if is_tick(&error) && !stopped.load(Ordering::Relaxed) => {}
                Err(_) => return false,
            }
        }
    }

    /// Writes as much as the peer takes until it has taken nothing for `patience`; how many bytes that was.
    pub(crate) fn send_until_stuck(&mut self, bytes: &[u8], patience: Duration) -> usize {
        let mut sent = 0;
        let mut progress = Instant::now();
        while sent < bytes.len() && progress.elapsed() < patience {
            if let Ok(count) = self.write(&bytes[sent..]) {
                sent += count;
                progress = Instant::now();
            }
        }
        sent
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close(&self.stream);
        }
        self.cut();
    }

    /// Closes this direction below TLS, which does not say so.
    pub(crate) fn cut(&self) {
        // A peer that has gone already is no concern of the test here.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes with a reset instead of an orderly end.
    pub(crate) fn reset(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

/// The socket has looked up.
fn is_tick(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
