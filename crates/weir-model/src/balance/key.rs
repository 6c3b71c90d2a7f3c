//! The key that a request or connection is placed by, and its hash.
//!
//! The hash is XXH3 with 64 bits and seed 0, of the bytes that each variant of [`Key`] names. It is the same in every
//! process and on every machine: several instances with the same file send the same client to the same backend.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use twox_hash::XxHash3_64;

use crate::route::{RequestFacts, cookie, decoded_into, parameter};

/// What is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The value of the first header field of this name, whatever its case.
    Header(Arc<str>),
    /// The value of the first cookie of this name.
    Cookie(Arc<str>),
    /// The value of the first query parameter of this name, decoded.
    Query(Arc<str>),
    /// The path that is matched, without query.
    Path,
    /// The client's address, after trust was applied.
    Source,
    /// Both ends of the client's connection: addresses and ports.
    FiveTuple,
    /// The server id inside the connection id of QUIC; where there is none of ours, both ends.
    QuicCid,
}

impl Key {
    /// True if connections have it, and not requests alone.
    pub const fn is_of_connections(&self) -> bool {
        matches!(self, Self::Source | Self::FiveTuple)
    }

    /// True if neither requests nor connections have it, but datagrams alone.
    pub const fn is_of_datagrams(&self) -> bool {
        matches!(self, Self::QuicCid)
    }

    /// What it is in words: `header X-User`.
    pub fn words(&self) -> String {
        match self {
            Self::Header(name) => format!("header {name}"),
            Self::Cookie(name) => format!("cookie {name}"),
            Self::Query(name) => format!("query parameter {name}"),
            Self::Path => "path".into(),
            Self::Source => "source".into(),
            Self::FiveTuple => "both ends of the connection".into(),
            Self::QuicCid => "server id of QUIC".into(),
        }
    }
}

/// As files write it.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Path => f.write_str("path"),
            Self::Source => f.write_str("source"),
            Self::FiveTuple => f.write_str("5tuple"),
            Self::QuicCid => f.write_str("quic_cid"),
        }
    }
}

/// Both ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The client's end.
    pub source: SocketAddr,
    /// Our end; none if it is not known.
    pub destination: Option<SocketAddr>,
}

/// The hash of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash {
    /// What policies place by.
    pub hash: u64,
    /// False if the request has no such header field, cookie or parameter, or an empty one: it is placed by the client's
    /// address instead.
    pub found: bool,
}

impl KeyHash {
    const fn of(hash: u64) -> Self {
        Self { hash, found: true }
    }
}

impl Key {
    /// The hash for a request. `flow` is asked for the connection that it came on, only if the key is about that.
    pub fn of_request(&self, facts: &impl RequestFacts, flow: impl FnOnce() -> Flow) -> KeyHash {
        let mut found = None;
        match self {
            Self::Header(name) => {
                facts.any_header(name, &mut |value| {
                    found = hash_text(value);
                    true
                });
            }
            Self::Cookie(name) => {
                facts.any_header("cookie", &mut |field| match cookie(field, name.as_bytes()) {
                    Some(value) => {
                        found = hash_text(value);
                        true
                    }
                    None => false,
                });
            }
            Self::Query(name) => {
                let value = facts.query().and_then(|query| parameter(query, name.as_bytes()));
                found = value.and_then(|value| {
                    let mut room = [0; 256];
                    hash_text(&decoded_into(value, &mut room))
                });
            }
            Self::Path => found = Some(XxHash3_64::oneshot(facts.path())),
            Self::Source => {}
            Self::FiveTuple | Self::QuicCid => return KeyHash::of(hash_flow(flow())),
        }
        match found {
            Some(hash) => KeyHash::of(hash),
            None => KeyHash { hash: hash_address(facts.source()), found: *self == Self::Source },
        }
    }

    /// The hash of a client's address: what [`Key::Source`] places by.
    pub fn of_address(source: IpAddr) -> u64 {
        hash_address(source)
    }

    /// The hash for a connection from this address; what only requests have is not found. `flow` is asked only if the key
    /// is about both ends.
    pub fn of_connection(&self, source: IpAddr, flow: impl FnOnce() -> Flow) -> KeyHash {
        match self {
            Self::FiveTuple | Self::QuicCid => KeyHash::of(hash_flow(flow())),
            _ => KeyHash { hash: hash_address(source), found: *self == Self::Source },
        }
    }
}

impl Key {
    /// The hash for a datagram that starts a flow, which has what a connection has. A datagram whose QUIC connection is at a
    /// backend already is not placed by a hash: see [`crate::pool::Pool::owner_of`].
    pub fn of_datagram(&self, flow: Flow) -> KeyHash {
        self.of_connection(flow.source.ip(), || flow)
    }
}

/// An empty value tells nobody apart: it counts as none.
fn hash_text(value: &[u8]) -> Option<u64> {
    (!value.is_empty()).then(|| XxHash3_64::oneshot(value))
}

/// The octets of the address; those of IPv4 also where it came as a mapped one.
fn hash_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => XxHash3_64::oneshot(&address.octets()),
        IpAddr::V6(address) => XxHash3_64::oneshot(&address.octets()),
    }
}

/// Source and destination, each 16 octets of address and two of port.
fn hash_flow(flow: Flow) -> u64 {
    let mut bytes = [0; 36];
    let ends = [Some(flow.source), flow.destination];
    for (end, room) in ends.into_iter().zip(bytes.chunks_exact_mut(18)) {
        let Some(end) = end else { continue };
        let octets = match end.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        room[..16].copy_from_slice(&octets);
        room[16..].copy_from_slice(&end.port().to_be_bytes());
    }
    XxHash3_64::oneshot(&bytes)
}
