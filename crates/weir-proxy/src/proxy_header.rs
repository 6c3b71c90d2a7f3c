//! The PROXY header (HAProxy's "The PROXY protocol", versions 1 and 2): who a connection is for, before its first byte.

mod read;
mod write;

pub(crate) use read::{Header, Passed, Progress, read};
pub(crate) use write::{Told, own, write};

/// What version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The kinds of facts beyond addresses, by the numbers of section 2.2.
mod kind {
    pub(super) const ALPN: u8 = 0x01;
    pub(super) const AUTHORITY: u8 = 0x02;
    pub(super) const CRC32C: u8 = 0x03;
    pub(super) const UNIQUE_ID: u8 = 0x05;
    pub(super) const SSL: u8 = 0x20;
}
