//! An HTTP/1.1 client for one connection, over TLS if asked: enough to know that a contestant answers, and with how many
//! bytes.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned, pki_types::ServerName};

/// The request that every client here sends; wrk's is the same but for the Host header.
pub(crate) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
/// Bytes of the backend's body.
pub(crate) const BODY: usize = 1024;

/// What requests travel on.
enum Wire {
    Plain(TcpStream),
    Secure(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A kept-alive connection.
pub(crate) struct Client {
    stream: Wire,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { stream: Wire::Plain(stream), buffer: Vec::new() })
    }

    /// Connects, over TLS if that is how it is spoken there.
    pub(crate) fn connect_as(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let plain = Self::connect(address)?;
        let (Some(config), Wire::Plain(stream)) = (tls, &plain.stream) else { return Ok(plain) };
        let connection = ClientConnection::new(config.clone(), ServerName::try_from("bench.test")?)?;
        let stream = StreamOwned::new(connection, stream.try_clone()?);
        Ok(Self { stream: Wire::Secure(Box::new(stream)), buffer: Vec::new() })
    }

    /// Whether an earlier session was taken up again, once something has been received.
    pub(crate) fn is_resumed(&self) -> bool {
        matches!(&self.stream, Wire::Secure(tls) if tls.conn.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Sends one request.
    pub(crate) fn send(&mut self) -> Result<()> {
        match &mut self.stream {
            Wire::Plain(stream) => stream.write_all(REQUEST)?,
            Wire::Secure(stream) => stream.write_all(REQUEST)?,
        }
        Ok(())
    }

    /// Reads one response; its length in bytes. Anything but a 200 with the whole body is an error.
    pub(crate) fn receive(&mut self) -> Result<u64> {
        Ok(self.read(response_length)? as u64)
    }

    /// Asks a server in clear text for another path than that of the bench; the body of its answer.
    pub(crate) fn ask(&mut self, path: &str) -> Result<&str> {
        let Wire::Plain(stream) = &mut self.stream else { bail!("only in clear text") };
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").as_bytes())?;
        let mut content = 0;
        let length = self.read(|bytes| {
            let parts = parts(bytes)?;
            content = parts.map_or(0, |(_, content)| content);
            Ok(parts.map(|(head, content)| head + content))
        })?;
        Ok(std::str::from_utf8(&self.buffer[length - content..length])?)
    }

    /// Reads until there is as much as `whole` says, once it can tell.
    fn read(&mut self, mut whole: impl FnMut(&[u8]) -> Result<Option<usize>>) -> Result<usize> {
        self.buffer.clear();
        let mut piece = [0; 4096];
        loop {
            if let Some(length) = whole(&self.buffer)?
                && self.buffer.len() >= length
            {
                return Ok(length);
            }
            let count = match &mut self.stream {
                Wire::Plain(stream) => stream.read(&mut piece)?,
                Wire::Secure(stream) => stream.read(&mut piece)?,
            };
            if count == 0 {
                bail!("the connection was closed after {} bytes of a response", self.buffer.len());
            }
            self.buffer.extend_from_slice(&piece[..count]);
        }
    }

    /// A field of the last response.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let head = self.buffer.windows(4).position(|window| window == b"\r\n\r\n")?;
        field(std::str::from_utf8(&self.buffer[..head]).ok()?, name)
    }
}

/// The value of a field in a head.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (candidate, value) = line.split_once(':')?;
        candidate.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Some requests on one connection; the length of the last response.
pub(crate) fn exchange(address: SocketAddr, requests: usize) -> Result<u64> {
    exchange_as(address, requests, None)
}

/// The same, over TLS if that is how it is spoken there.
pub(crate) fn exchange_as(
    address: SocketAddr,
    requests: usize,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<u64> {
    let mut client = Client::connect_as(address, tls)?;
    let mut length = 0;
    for _ in 0..requests {
        client.send()?;
        length = client.receive()?;
    }
    Ok(length)
}

/// The length of the response at the start of `bytes`, once its head is complete.
pub(crate) fn response_length(bytes: &[u8]) -> Result<Option<usize>> {
    match parts(bytes)? {
        Some((head, BODY)) => Ok(Some(head + BODY)),
        Some((_, other)) => bail!("a body of {other} bytes instead of {BODY}"),
        None => Ok(None),
    }
}

/// The lengths of head and body of the response at the start of `bytes`, once its head is complete.
fn parts(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..head]).context("a response head that is no text")?;
    if !text.starts_with("HTTP/1.1 200 ") {
        bail!("not a 200: {}", text.lines().next().unwrap_or_default());
    }
    let length = field(text, "content-length").and_then(|value| value.parse::<usize>().ok());
    Ok(Some((head + 4, length.context("a response without Content-Length")?)))
}
