//! WebSockets over a stream (RFC 8441): to a backend of HTTP/1.1, the stream asks as RFC 6455 says.

use std::io;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::StatusCode;

use super::{Channel, channel::failure, head};

/// What is appended to a key before it is hashed (RFC 6455 section 1.3).
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What answers this key.
pub(crate) fn accept(key: &str) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{MAGIC}").as_bytes()))
}

impl Channel {
    /// Makes up a key, and remembers what answers it.
    pub(super) fn expect_socket(&self, draw: u64) -> String {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&draw.to_le_bytes());
        nonce[8..].copy_from_slice(&draw.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        let key = STANDARD.encode(nonce);
        let _ = self.socket.set(accept(&key));
        key
    }

    /// True unless a WebSocket was asked for and this is not what answers it.
    pub(crate) fn is_answered_by(&self, accept: &[u8]) -> bool {
        self.socket.get().is_none_or(|expected| expected.as_bytes() == accept)
    }

    /// Opens the stream for what both sides have agreed on: the head of a 101 or of a 2xx, as text.
    ///
    /// # Errors
    /// If the stream is over.
    pub(crate) fn send_switch(&self, text: &[u8]) -> io::Result<()> {
        let mut response = head::read_response(text).ok_or(io::ErrorKind::InvalidData)?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            *response.status_mut() = StatusCode::OK;
        }
        response.headers_mut().remove("sec-websocket-accept");
        let Some(respond) = &self.respond else { return Err(io::ErrorKind::NotConnected.into()) };
        let stream = respond.borrow_mut().send_response(response, false).map_err(failure)?;
        self.open_outgoing(stream);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_answered() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
