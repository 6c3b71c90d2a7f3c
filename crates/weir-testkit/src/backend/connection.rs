//! One connection as the backend sees it.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Log, lock};
use crate::{End, Message, TlsFacts, TlsServer, wire::Wire};

/// Backends wait this long for a request on an open connection; they end sooner when their test does.
const PATIENCE: Duration = Duration::from_secs(120);

/// One accepted connection; closing it is dropping it.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    peer: SocketAddr,
    open: Open,
}

/// Counts a connection as open for as long as it lives.
#[derive(Debug)]
struct Open(Arc<Log>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        log: Arc<Log>,
        stopped: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let wire = Wire::new(stream, stopped, Some(Arc::clone(&bytes)))?;
        lock(&log.bytes).push(bytes);
        log.open.fetch_add(1, Ordering::SeqCst);
        log.accepted.fetch_add(1, Ordering::SeqCst);
        Ok(Self { wire, peer, open: Open(log) })
    }

    /// Goes on with TLS, from the next byte on; what is logged is what it carries.
    #[must_use]
    pub fn with_tls(self, tls: &TlsServer) -> Self {
        Self { wire: self.wire.with_tls(tls.accept()), ..self }
    }

    /// What is known of the client, if this speaks TLS. Waits for the handshake; none if it fails.
    pub fn tls(&mut self) -> Option<TlsFacts> {
        self.wire.facts(Instant::now() + PATIENCE)
    }

    /// Says that nothing more will be sent, below TLS only: what it carried is cut off.
    pub fn cut(&mut self) {
        self.wire.cut();
    }

    /// Where it comes from.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The next request with its body; `None` at the end of the connection. Logs it, also if its body was cut short.
    pub fn read_request(&mut self) -> Option<Message> {
        let mut request = self.read_head()?;
        self.read_body(&mut request);
        self.log(request.clone());
        Some(request)
    }

    /// The head of the next request.
    pub fn read_head(&mut self) -> Option<Message> {
        self.wire.read_head(Instant::now() + PATIENCE)
    }

    /// The body of a request whose head was read.
    pub fn read_body(&mut self, request: &mut Message) {
        let framing = request.request_framing();
        self.wire.read_body(request, framing, Instant::now() + PATIENCE);
    }

    pub(super) fn log_handshake(&self, facts: TlsFacts) {
        lock(&self.open.0.handshakes).push(facts);
    }

    /// Puts a request into the log that was read in parts.
    pub fn log(&self, request: Message) {
        lock(&self.open.0.requests).push(request);
    }

    /// Exactly so many bytes, or fewer if the connection ends.
    pub fn read_exact(&mut self, count: usize) -> Vec<u8> {
        self.wire.read_exact(count, Instant::now() + PATIENCE)
    }

    /// Everything until the other side closes.
    pub fn read_to_end(&mut self) -> (Vec<u8>, End) {
        self.wire.read_to_end(Instant::now() + PATIENCE)
    }

    /// Sends bytes, however slowly they are read; false if they cannot be sent.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.send(bytes.as_ref())
    }

    /// Sends a byte at a time with a pause after each.
    pub fn send_slowly(&mut self, bytes: &[u8], pause: Duration) -> bool {
        bytes.iter().all(|byte| {
            thread::sleep(pause);
            self.wire.send(std::slice::from_ref(byte))
        })
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        self.wire.finish();
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.wire.reset();
    }
}
