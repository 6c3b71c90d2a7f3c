//! Upgrades in place: a new process of the program on disk takes the listening sockets over, and the old one finishes what it
//! has.
//!
//! ```text
//!  old process (Heir)                                   new process (Ancestor)
//!  start the program, a socket as its standard input ─> runs with the same arguments
//!  sockets, health of backends, keys of tickets ──────> reads its files, binds what is missing, starts its threads
//!                      <───────────────────────── ready │ failed, and why: the old one goes on
//!  go, what operators set ────────────────────────────> listens, accepts
//!                      <─────────────────────── serving
//!  stops accepting; its connections go on for upgrade.drain
//! ```
//!
//! Both have the same sockets until the old one lets go, so that no connection is ever refused or reset. Whatever goes wrong
//! before `serving`, the new process is ended and the old one has never stopped accepting.

mod ancestor;
mod channel;
mod heir;
mod program;

use std::fmt;

use serde::{Deserialize, Serialize};
use weir_proxy::tls::TicketKey;

pub(crate) use ancestor::Ancestor;
pub(crate) use heir::{Heir, Patience};
pub(crate) use program::Program;

/// The variable that tells the new process whom it takes over from: the number of the old process.
const VARIABLE: &str = "WEIR_UPGRADE";
/// What is said here; a process that says something else is not understood.
const PROTOCOL: u32 = 1;

/// What the old process hands over. The files come along with it, in the order of these lists.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Handover {
    /// [`PROTOCOL`] of the old process.
    protocol: u32,
    /// Bound addresses.
    pub(crate) sockets: Vec<SocketRecord>,
    /// Where the admin API is bound, as the file says it.
    pub(crate) admin: Option<String>,
    /// What is known of backends.
    pub(crate) backends: Vec<BackendRecord>,
    /// The keys of TLS session tickets, the current one first.
    #[serde(default)]
    pub(crate) tickets: Vec<TicketRecord>,
}

/// A key of TLS session tickets. Nobody but the two processes sees it: they talk over a socket that has no name.
#[derive(Serialize, Deserialize)]
pub(crate) struct TicketRecord {
    name: [u8; 16],
    key: [u8; 32],
    since: u64,
}

impl fmt::Debug for TicketRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketRecord").field("since", &self.since).finish_non_exhaustive()
    }
}

impl From<TicketKey> for TicketRecord {
    fn from(TicketKey { name, key, since }: TicketKey) -> Self {
        Self { name, key, since }
    }
}

impl From<TicketRecord> for TicketKey {
    fn from(TicketRecord { name, key, since }: TicketRecord) -> Self {
        Self { name, key, since }
    }
}

/// The sockets of one bound address.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SocketRecord {
    /// What both processes call it.
    pub(crate) label: String,
    /// How many there are.
    pub(crate) count: usize,
}

/// What is known of a backend.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BackendRecord {
    pub(crate) pool: String,
    pub(crate) name: String,
    /// Another machine of the same name is another backend.
    pub(crate) endpoint: String,
    /// `up` or `down` by its checks; nothing if none has decided yet.
    pub(crate) health: Option<String>,
    /// Why.
    pub(crate) reason: String,
    /// How much longer live traffic keeps it out, in milliseconds, and why, if it does.
    #[serde(default)]
    pub(crate) ejected: Option<(u64, String)>,
    /// What its host name stands for.
    pub(crate) addresses: Vec<std::net::SocketAddr>,
    /// What was found out about it; nothing if it stands in the file.
    #[serde(default)]
    pub(crate) found: Option<FoundRecord>,
}

/// What a pool's discovery has found out about a backend.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FoundRecord {
    pub(crate) weight: u32,
    pub(crate) backup: bool,
    pub(crate) zone: Option<String>,
    /// As the configuration says it.
    pub(crate) state: String,
    /// Nothing for no limit.
    pub(crate) max_connections: Option<u32>,
    #[serde(default)]
    pub(crate) server_id: Option<String>,
}

/// What operators have set for a backend, and what the file said then.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OrdersRecord {
    pub(crate) pool: String,
    pub(crate) name: String,
    /// Another machine of the same name is another backend.
    pub(crate) endpoint: String,
    pub(crate) state: Option<(String, String)>,
    pub(crate) weight: Option<(u32, u32)>,
}

/// What the new process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// It can serve, and waits for the word.
    Ready { version: String },
    /// It cannot serve.
    Failed { error: String },
    /// It accepts. The sockets with these labels are its own now, and perhaps the one of the admin API.
    Serving { taken: Vec<String>, admin: bool },
}

/// The word that the new process waits for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// Begin. This is what operators have set by now; from here on they are not listened to here.
    Go { orders: Vec<OrdersRecord> },
}
