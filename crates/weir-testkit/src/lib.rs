//! For tests only: clients that say anything, backends that answer anything, and a log of every byte that arrived.
//!
//! Plain threads and blocking sockets, so that a test reads from top to bottom and nothing here shares a runtime with
//! what is tested. Deadlines are generous: they end a test that hangs, they measure nothing. This crate does not know
//! weir; it speaks to whatever listens at an address.

mod backend;
mod certificates;
mod client;
mod dns;
mod folder;
pub mod frames;
mod hello;
mod message;
mod tls;
mod wire;

pub use backend::{Answer, BlackHole, Connection, FakeBackend, Refusing};
pub use certificates::{Authority, Issued, Wanted};
pub use client::RawClient;
pub use dns::{DnsData, DnsRecord, DnsReply, DnsServer};
pub use folder::Folder;
pub use hello::{ClientHello, fatal_alert};
pub use message::Message;
pub use tls::{TlsClient, TlsFacts, TlsServer, TlsVersion};
pub use wire::End;

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything may take before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// What a server says to this key of a WebSocket (RFC 6455 section 4.2.2).
pub fn websocket_accept(key: &str) -> String {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// Waits until something holds; panics with `what` if it does not within [`DEADLINE`].
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
