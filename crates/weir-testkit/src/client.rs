//! A client that sends exactly the bytes it is given.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, SockRef, Socket, Type};

use crate::{DEADLINE, End, Message, TlsClient, TlsFacts, wire::Wire};

/// A connection to what is tested.
#[derive(Debug)]
pub struct RawClient {
    wire: Wire,
}

impl RawClient {
    /// Connects.
    ///
    /// # Panics
    /// If nobody listens there.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("no connection to {address}: {error}"))
    }

    /// Connects, where it may be that the peer resets the connection before this end has seen it made.
    ///
    /// # Errors
    /// If there is no connection, or none any more.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        TcpStream::connect_timeout(&address, DEADLINE).map(Self::new)
    }

    /// Connects and speaks TLS; the handshake happens with the first byte that is sent or read.
    ///
    /// # Panics
    /// If nobody listens there.
    #[track_caller]
    pub fn connect_tls(address: SocketAddr, tls: &TlsClient) -> Self {
        Self::connect(address).with_tls(tls)
    }

    /// Goes on with TLS from the next byte on.
    #[must_use]
    pub fn with_tls(self, tls: &TlsClient) -> Self {
        Self { wire: self.wire.with_tls(tls.connect()) }
    }

    /// What is known of the server, if this speaks TLS. Waits for the handshake; none if it fails.
    pub fn tls(&mut self) -> Option<TlsFacts> {
        self.wire.facts(Instant::now() + DEADLINE)
    }

    /// Connects with a receive buffer of this size, so that a slow reader is felt soon.
    ///
    /// # Panics
    /// If nobody listens there.
    #[track_caller]
    pub fn connect_narrow(address: SocketAddr, receive_buffer: usize) -> Self {
        let connect = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_recv_buffer_size(receive_buffer)?;
            socket.connect(&address.into())?;
            io::Result::Ok(socket)
        };
        let socket = connect().unwrap_or_else(|error| panic!("no connection to {address}: {error}"));
        Self::new(socket.into())
    }

    fn new(stream: TcpStream) -> Self {
        let wire = Wire::new(stream, Arc::default(), None);
        Self { wire: wire.unwrap_or_else(|error| panic!("a socket without options: {error}")) }
    }

    /// This end's address.
    ///
    /// # Panics
    /// If the socket has none.
    pub fn local_address(&self) -> SocketAddr {
        self.wire.stream().local_addr().unwrap_or_else(|error| panic!("a socket without an address: {error}"))
    }

    /// Sends bytes in one write if the peer takes them. A peer that has closed is no error: what it answered counts.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.wire.send(bytes.as_ref());
        self
    }

    /// Sends a byte at a time, with a pause after each that lets the receiver see it alone; without pauses in the middle
    /// of long messages.
    pub fn send_byte_by_byte(&mut self, bytes: &[u8]) -> &mut Self {
        for (index, byte) in bytes.iter().enumerate() {
            if !self.wire.send(std::slice::from_ref(byte)) {
                break;
            }
            if index < 300 || index + 100 > bytes.len() {
                thread::sleep(Duration::from_micros(200));
            }
        }
        self
    }

    /// Sends bytes in pieces that end at the given offsets, with a pause after each.
    pub fn send_split(&mut self, bytes: &[u8], offsets: &[usize]) -> &mut Self {
        let mut start = 0;
        for end in offsets.iter().copied().chain([bytes.len()]) {
            let end = end.clamp(start, bytes.len());
            if !self.wire.send(&bytes[start..end]) {
                break;
            }
            thread::sleep(Duration::from_millis(2));
            start = end;
        }
        self
    }

    /// Sends as much as the peer takes until it has taken nothing for `patience`; how many bytes that was.
    pub fn send_until_stuck(&mut self, bytes: &[u8], patience: Duration) -> usize {
        self.wire.send_until_stuck(bytes, patience)
    }

    /// Says that nothing more will be sent; answers can still be read.
    pub fn finish(&mut self) -> &mut Self {
        self.wire.finish();
        self
    }

    /// Says that nothing more will be sent, below TLS only.
    pub fn cut(&mut self) -> &mut Self {
        self.wire.cut();
        self
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.wire.reset();
    }

    /// The next response, interim ones included; `None` if the connection ends before its head. `method` is that of the
    /// request, which decides whether a body follows.
    pub fn response(&mut self, method: &str) -> Option<Message> {
        let deadline = Instant::now() + DEADLINE;
        let mut message = self.wire.read_head(deadline)?;
        let framing = message.response_framing(method);
        self.wire.read_body(&mut message, framing, deadline);
        Some(message)
    }

    /// The head of the next response, its body left unread.
    pub fn response_head(&mut self) -> Option<Message> {
        self.wire.read_head(Instant::now() + DEADLINE)
    }

    /// The next final response to a request with this method; interim ones are dropped.
    ///
    /// # Panics
    /// If the connection ends before it.
    #[track_caller]
    pub fn final_response(&mut self, method: &str) -> Message {
        loop {
            let Some(message) = self.response(method) else {
                panic!("no response to {method}; the connection is {:?}", self.wire.end());
            };
            // 101 ends HTTP on this connection, so nothing more final can come.
            if message.status() == 101 || message.status() >= 200 || message.status() == 0 {
                return message;
            }
        }
    }

    /// Sends a GET and reads its response.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Message {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        self.final_response("GET")
    }

    /// Everything until the peer closes or [`DEADLINE`] comes.
    pub fn read_to_end(&mut self) -> (Vec<u8>, End) {
        self.wire.read_to_end(Instant::now() + DEADLINE)
    }

    /// Everything until the peer closes or nothing has come for `quiet`.
    pub fn read_until_quiet(&mut self, quiet: Duration) -> (Vec<u8>, End) {
        self.wire.read_until_quiet(quiet)
    }

    /// Exactly so many bytes, or fewer if the connection ends.
    pub fn read_exact(&mut self, count: usize) -> Vec<u8> {
        self.wire.read_exact(count, Instant::now() + DEADLINE)
    }

    /// Waits for the peer to close and drops what comes before.
    pub fn closed(&mut self) -> bool {
        self.read_to_end().1 != End::Open
    }

    /// Bytes that have arrived and wait in the kernel unread.
    pub fn peek(&self) -> usize {
        let mut piece = [std::mem::MaybeUninit::uninit(); 64 * 1024];
        SockRef::from(self.wire.stream()).peek(&mut piece).unwrap_or(0)
    }
}
