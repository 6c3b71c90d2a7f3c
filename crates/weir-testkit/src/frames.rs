//! HTTP/2 frame by frame: a client or a backend that says exactly what a test wants, allowed or not.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
};

use crate::{Connection, DEADLINE};

/// What a client begins with (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames.
pub mod kind {
    #![allow(missing_docs, reason = "RFC 9113 section 6 says what they are")]

    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    #![allow(missing_docs, reason = "RFC 9113 section 6 says what they are")]

    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream it is for; 0 is the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// One frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let length = (self.payload.len() as u32).to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], self.kind, self.flags];
        bytes.extend_from_slice(&self.stream.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Why, if it is RST_STREAM or GOAWAY: the code of RFC 9113 section 7.
    pub fn code(&self) -> Option<u32> {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload.get(at..at + 4)?.try_into().ok()?))
    }

    /// True if it has this flag.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Fields as HPACK has them, each a literal that nobody remembers and nothing compressed (RFC 7541 section 6.2.2).
pub fn literals<'f>(fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            write_length(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

/// RFC 7541 section 5.1, with a prefix of seven bits.
fn write_length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// One end of a connection that frames go over.
#[derive(Debug)]
pub struct Framed {
    side: Side,
}

#[derive(Debug)]
enum Side {
    Client(TcpStream),
    Backend(Box<Connection>),
}

impl Framed {
    /// The end of a backend; the preface of the other end is read, and empty SETTINGS are sent. None if the other end does not
    /// begin like that.
    pub fn accepted(connection: Connection) -> Option<Self> {
        let mut framed = Self { side: Side::Backend(Box::new(connection)) };
        let preface = framed.read(PREFACE.len())?;
        (preface == PREFACE && framed.send(&Frame::new(kind::SETTINGS, 0, 0, []))).then_some(framed)
    }

    /// Connects as a client that has not said anything yet.
    ///
    /// # Panics
    /// If nobody listens there.
    #[track_caller]
    pub fn silent(address: SocketAddr) -> Self {
        let connect = || {
            let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
            stream.set_read_timeout(Some(DEADLINE))?;
            stream.set_nodelay(true)?;
            io::Result::Ok(Self { side: Side::Client(stream) })
        };
        connect().unwrap_or_else(|error| panic!("no connection to {address}: {error}"))
    }

    /// Connects as a client, with the preface and empty SETTINGS.
    ///
    /// # Panics
    /// If nobody listens there.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        let mut framed = Self::silent(address);
        framed.send_bytes(PREFACE);
        framed.send(&Frame::new(kind::SETTINGS, 0, 0, []));
        framed
    }

    /// Sends bytes; false if the other end takes no more.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        match &mut self.side {
            Side::Client(stream) => stream.write_all(bytes).is_ok(),
            Side::Backend(connection) => connection.send(bytes),
        }
    }

    /// So many bytes, unless the connection ends before.
    fn read(&mut self, count: usize) -> Option<Vec<u8>> {
        match &mut self.side {
            Side::Client(stream) => {
                let mut bytes = vec![0; count];
                stream.read_exact(&mut bytes).ok()?;
                Some(bytes)
            }
            Side::Backend(connection) => {
                let bytes = connection.read_exact(count);
                (bytes.len() == count).then_some(bytes)
            }
        }
    }

    /// Sends a frame; false if the other end takes no more.
    pub fn send(&mut self, frame: &Frame) -> bool {
        self.send_bytes(&frame.bytes())
    }

    /// Sends a request in one HEADERS frame.
    pub fn request(&mut self, stream: u32, last: bool, fields: &[(&[u8], &[u8])]) -> bool {
        let flags = flag::END_HEADERS | if last { flag::END_STREAM } else { 0 };
        self.send(&Frame::new(kind::HEADERS, flags, stream, literals(fields.iter().copied())))
    }

    /// Sends a GET.
    pub fn get(&mut self, stream: u32, path: &str) -> bool {
        let fields: [(&[u8], &[u8]); 4] = [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":authority", b"a.test"),
            (b":path", path.as_bytes()),
        ];
        self.request(stream, true, &fields)
    }

    /// The next frame, those of SETTINGS and PING that want it answered; none if the connection has ended or broken.
    pub fn receive(&mut self) -> Option<Frame> {
        let header = self.read(9)?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let payload = self.read(length)?;
        let stream = u32::from_be_bytes([header[5] & 0x7f, header[6], header[7], header[8]]);
        let frame = Frame { kind: header[3], flags: header[4], stream, payload };
        match (frame.kind, frame.has(flag::ACK)) {
            (kind::SETTINGS, false) => _ = self.send(&Frame::new(kind::SETTINGS, flag::ACK, 0, [])),
            (kind::PING, false) => {
                _ = self.send(&Frame::new(kind::PING, flag::ACK, 0, frame.payload.clone()));
            }
            _ => {}
        }
        Some(frame)
    }

    /// The next frame of which this holds.
    pub fn until(&mut self, holds: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.receive()?;
            if holds(&frame) {
                return Some(frame);
            }
        }
    }

    /// Another handle on the same connection of a client, to read while this one writes.
    ///
    /// # Panics
    /// If there are no more.
    pub fn split(&self) -> Self {
        let Side::Client(stream) = &self.side else { panic!("a backend has one end only") };
        let stream = stream.try_clone().unwrap_or_else(|error| panic!("no second handle: {error}"));
        Self { side: Side::Client(stream) }
    }
}
