//! What a balancer sees of QUIC: the connection id of a datagram, and the server id in it.
//!
//! Headers are read by what holds for every version (RFC 8999). A server that takes part writes its id into the connection
//! ids that it gives out, after their first octet and in clear text, as draft-ietf-quic-load-balancers says: the three
//! highest bits of that octet count configurations (7 stands for an id without a server), and at least four octets of
//! nonce follow. Clients that change their address keep the connection id, and so come to the same server.

use std::fmt;

use twox_hash::XxHash3_64;

/// Octets of a server id, unless the file gives one of another length.
pub const USUAL_LENGTH: usize = 8;
/// Octets of a server id at most.
pub const MOST: usize = 15;
/// Octets of a connection id that are the server's own, at least.
const NONCE: usize = 4;
/// Octets of a connection id at most (RFC 9000). Other versions may have longer ones, which cannot have an id of ours.
const LONGEST: usize = 20;
/// The configuration that says that there is no server id.
const UNROUTABLE: u8 = 0b111;

/// Which server a connection belongs to, as its connection id says it: 1 to 15 octets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerId {
    /// Those that are not used are zero.
    octets: [u8; MOST],
    length: u8,
}

impl ServerId {
    /// One of these octets; none if there are too few or too many.
    pub fn new(octets: &[u8]) -> Option<Self> {
        let mut room = [0; MOST];
        room.get_mut(..octets.len()).filter(|room| !room.is_empty())?.copy_from_slice(octets);
        Some(Self { octets: room, length: octets.len() as u8 })
    }

    /// The same as hexadecimal digits, two for each octet.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let digits = digits.as_bytes();
        if !digits.len().is_multiple_of(2) || digits.len() > 2 * MOST {
            return None;
        }
        let mut octets = [0; MOST];
        for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            *octet = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Self::new(&octets[..digits.len() / 2])
    }

    /// The one that follows from a name: XXH3 with 64 bits and seed 0, big-endian, and from the ninth octet on the same with
    /// seed 1. None unless the length is 1 to 15.
    pub fn of_name(name: &str, length: usize) -> Option<Self> {
        let halves = [0, 1].map(|seed| XxHash3_64::oneshot_with_seed(seed, name.as_bytes()).to_be_bytes());
        halves.as_flattened().get(..length).and_then(Self::new)
    }

    /// Its octets.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}

/// As files write it: `0a1b2c3d`.
impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.octets().iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The octets of a datagram where a server id of this length would stand; none if it holds no connection id that could
/// have one.
pub fn server_id(datagram: &[u8], length: usize) -> Option<&[u8]> {
    let (first, rest) = datagram.split_first()?;
    let id = if first & 0x80 == 0 {
        // The connection id is as long as the server wants it: whoever reads further has to know.
        rest
    } else {
        let (long, rest) = rest.get(4..)?.split_first()?;
        rest.get(..usize::from(*long)).filter(|id| id.len() <= LONGEST)?
    };
    let (configuration, id) = id.split_first()?;
    let is_whole = id.len() >= length + NONCE;
    (configuration >> 5 != UNROUTABLE && is_whole).then(|| &id[..length])
}

#[cfg(test)]
mod tests;
