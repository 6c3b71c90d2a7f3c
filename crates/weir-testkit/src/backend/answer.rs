//! What a backend answers to a request, and what it does with the connection then.

use std::time::Duration;

use super::Connection;
use crate::Message;

/// An answer: bytes, their pace, and what follows.
#[derive(Clone, Debug)]
pub struct Answer {
    what: What,
    pause: Option<Duration>,
    then: Then,
}

#[derive(Clone, Debug)]
enum What {
    Bytes(Vec<u8>),
    Echo,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Keep,
    Close,
    Reset,
    Hang,
}

impl Answer {
    /// These bytes; the connection stays open.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self { what: What::Bytes(bytes.into()), pause: None, then: Then::Keep }
    }

    /// 200 with this body.
    pub fn ok(body: &str) -> Self {
        Self::bytes(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// 200 with the request, as it arrived, for a body.
    pub const fn echo() -> Self {
        Self { what: What::Echo, pause: None, then: Then::Keep }
    }

    /// Nothing, for ever.
    pub const fn hang() -> Self {
        Self { what: What::Bytes(Vec::new()), pause: None, then: Then::Hang }
    }

    /// Nothing, and an orderly close.
    pub fn close() -> Self {
        Self::bytes([]).then_close()
    }

    /// A byte at a time, each after a pause.
    #[must_use]
    pub const fn slowly(mut self, pause: Duration) -> Self {
        self.pause = Some(pause);
        self
    }

    /// Closes in order afterwards.
    #[must_use]
    pub const fn then_close(mut self) -> Self {
        self.then = Then::Close;
        self
    }

    /// Resets the connection afterwards.
    #[must_use]
    pub const fn then_reset(mut self) -> Self {
        self.then = Then::Reset;
        self
    }

    /// Keeps the connection afterwards and says nothing more.
    #[must_use]
    pub const fn then_hang(mut self) -> Self {
        self.then = Then::Hang;
        self
    }

    /// Gives the answer to a request; the connection comes back if it stays open.
    pub fn give(&self, mut connection: Connection, request: &Message) -> Option<Connection> {
        let echoed;
        let bytes = match &self.what {
            What::Bytes(bytes) => bytes,
            What::Echo => {
                echoed = echo(request);
                &echoed
            }
        };
        let sent = match self.pause {
            Some(pause) => connection.send_slowly(bytes, pause),
            None => connection.send(bytes),
        };
        if !sent {
            return None;
        }
        match self.then {
            Then::Keep => Some(connection),
            Then::Close => None,
            Then::Reset => {
                connection.reset();
                None
            }
            Then::Hang => {
                connection.read_to_end();
                None
            }
        }
    }
}

fn echo(request: &Message) -> Vec<u8> {
    let mut body = format!("{}\r\n", request.start).into_bytes();
    for (name, value) in &request.headers {
        body.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    body.extend_from_slice(b"\r\n");
    body.extend_from_slice(&request.body);
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
    let no_body = request.method() == "HEAD";
    [head.into_bytes(), if no_body { Vec::new() } else { body }].concat()
}
