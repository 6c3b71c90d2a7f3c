//! PROXY headers as they are received from whoever is trusted to tell the truth about clients.

mod binary;
mod line;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use super::SIGNATURE;

/// What version 1 begins with.
const WORD: &[u8] = b"PROXY ";

/// What the bytes are so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The beginning of a header.
    NeedMore,
    /// Something that no header begins with.
    Absent,
    /// A header that cannot be believed.
    Bad(Bad),
    /// A whole one, and how many bytes it has.
    Whole(Header, usize),
}

/// What a header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// Where the client is, and where it came to. Without them those of the connection itself count: the sender speaks for
    /// itself, or of something that has no such addresses.
    pub(crate) ends: Option<(SocketAddr, SocketAddr)>,
    /// What it says beyond that.
    pub(crate) passed: Passed,
}

/// Facts about a connection that only the sender of its header knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// The protocol that was agreed on with the client.
    pub(crate) alpn: Option<Box<[u8]>>,
    /// The host that the client asked for.
    pub(crate) authority: Option<Box<[u8]>>,
    /// What the connection is called.
    pub(crate) unique_id: Option<Box<[u8]>>,
    /// The client speaks TLS.
    pub(crate) secure: bool,
}

impl Passed {
    /// True if nothing is known.
    pub(crate) const fn is_empty(&self) -> bool {
        self.alpn.is_none() && self.authority.is_none() && self.unique_id.is_none() && !self.secure
    }
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// A line that has not ended after 107 bytes, or not with CR LF.
    LineEnd,
    /// A line that does not say what it has to.
    Line,
    /// Its version or command is not known.
    Command,
    /// Its kind of address or transport is not known.
    Family,
    /// It is longer than [`binary::LARGEST`].
    TooLarge,
    /// It has no room for its addresses.
    TooShort,
    /// A fact reaches beyond its end, or has a length that it cannot have.
    Fact,
    /// A fact is said twice.
    Repeated,
    /// Its checksum is that of another header.
    Checksum,
}

impl Bad {
    /// In words.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::LineEnd => "a line without CR LF within 107 bytes",
            Self::Line => "a line that is not of version 1",
            Self::Command => "an unknown version or command",
            Self::Family => "an unknown kind of address",
            Self::TooLarge => "longer than 16 KiB",
            Self::TooShort => "too short for its addresses",
            Self::Fact => "a fact that does not fit",
            Self::Repeated => "a fact that is said twice",
            Self::Checksum => "a wrong checksum",
        }
    }
}

/// What this is, judged from its first byte on; looks at a number of bytes that is bounded by what a header may have.
pub(crate) fn read(received: &[u8]) -> Progress {
    if begins(received, WORD) {
        return if received.len() < WORD.len() { Progress::NeedMore } else { line::read(received) };
    }
    if begins(received, &SIGNATURE) {
        return if received.len() < SIGNATURE.len() { Progress::NeedMore } else { binary::read(received) };
    }
    Progress::Absent
}

/// True if what has come so far may become something that begins like this.
fn begins(received: &[u8], like: &[u8]) -> bool {
    received.iter().zip(like).all(|(a, b)| a == b)
}
