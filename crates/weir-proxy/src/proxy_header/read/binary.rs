//! Version 2: a fixed part, addresses, and facts as type, length and value (section 2.2).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    super::{SIGNATURE, kind},
    Bad, Header, Passed, Progress,
};

/// The fixed part.
const FIXED: usize = SIGNATURE.len() + 4;
/// The most bytes of a whole header: room for the certificate of a client, and not for a flood.
pub(super) const LARGEST: usize = 16 * 1024;

/// The longest host, and the longest name of a connection (section 2.2.5).
const LONGEST_AUTHORITY: usize = 255;
const LONGEST_ID: usize = 128;

/// The header that these bytes begin with; they begin with [`SIGNATURE`].
pub(super) fn read(received: &[u8]) -> Progress {
    let fixed = &received[SIGNATURE.len()..received.len().min(FIXED)];
    let local = match fixed.first() {
        None => return Progress::NeedMore,
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Progress::Bad(Bad::Command),
    };
    let Some(family) = fixed.get(1).copied() else { return Progress::NeedMore };
    // What the sender of its own connection says there is not looked at.
    if !local && (family >> 4 > 3 || family & 0xf > 2) {
        return Progress::Bad(Bad::Family);
    }
    let Some(length) = fixed.get(2..4) else { return Progress::NeedMore };
    let whole = FIXED + usize::from(u16::from_be_bytes([length[0], length[1]]));
    if whole > LARGEST {
        return Progress::Bad(Bad::TooLarge);
    }
    let Some(header) = received.get(..whole) else { return Progress::NeedMore };
    match judge(header, if local { 0 } else { family }, local) {
        Ok(told) => Progress::Whole(told, whole),
        Err(bad) => Progress::Bad(bad),
    }
}

/// What a whole header says.
fn judge(header: &[u8], family: u8, local: bool) -> Result<Header, Bad> {
    let block = &header[FIXED..];
    let (ends, room) = match family {
        0x11 | 0x12 => {
            let (bytes, _) = block.split_first_chunk::<12>().ok_or(Bad::TooShort)?;
            let [a, b, c, d, e, f, g, h, ports @ ..] = *bytes;
            let source = Ipv4Addr::new(a, b, c, d).into();
            let destination = Ipv4Addr::new(e, f, g, h).into();
            (Some(with_ports(source, destination, ports)), 12)
        }
        0x21 | 0x22 => {
            let (source, rest) = block.split_first_chunk::<16>().ok_or(Bad::TooShort)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(Bad::TooShort)?;
            let (ports, _) = rest.split_first_chunk::<4>().ok_or(Bad::TooShort)?;
            let [source, destination] =
                [source, destination].map(|address| Ipv6Addr::from(*address).to_canonical());
            (Some(with_ports(source, destination, *ports)), 36)
        }
        // Unix sockets: they have no addresses that mean anything here.
        0x31 | 0x32 if block.len() < 216 => return Err(Bad::TooShort),
        0x31 | 0x32 => (None, 216),
        // Nothing that is known: what stands there may be facts, or anything (section 2.2).
        0x00 => {
            let facts = facts(header, FIXED);
            return match facts {
                Err(Bad::Checksum) => Err(Bad::Checksum),
                Ok(passed) if !local => Ok(Header { ends: None, passed }),
                _ => Ok(Header::default()),
            };
        }
        _ => return Ok(Header::default()),
    };
    let passed = facts(header, FIXED + room)?;
    // A datagram cannot have come here over a stream: the real ends count.
    let ends = ends.filter(|_| family & 0xf == 1);
    Ok(Header { ends, passed })
}

fn with_ports(
    source: std::net::IpAddr,
    destination: std::net::IpAddr,
    ports: [u8; 4],
) -> (SocketAddr, SocketAddr) {
    let [a, b, c, d] = ports;
    let [from, to] = [[a, b], [c, d]].map(u16::from_be_bytes);
    ((source, from).into(), (destination, to).into())
}

/// The facts from here to the end of the header.
fn facts(header: &[u8], from: usize) -> Result<Passed, Bad> {
    let mut passed = Passed::default();
    let (mut at, mut seen, mut sum) = (from, 0u8, None);
    while at < header.len() {
        let rest = &header[at..];
        let ([kind, high, low], behind) = rest.split_first_chunk().ok_or(Bad::Fact)?;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let value = behind.get(..length).ok_or(Bad::Fact)?;
        let known = [kind::ALPN, kind::AUTHORITY, kind::CRC32C, kind::UNIQUE_ID, kind::SSL];
        if let Some(place) = known.iter().position(|known| known == kind) {
            if seen & 1 << place != 0 {
                return Err(Bad::Repeated);
            }
            seen |= 1 << place;
        }
        match *kind {
            kind::ALPN => passed.alpn = Some(bounded(value, LONGEST_AUTHORITY)?),
            kind::AUTHORITY => passed.authority = Some(bounded(value, LONGEST_AUTHORITY)?),
            kind::UNIQUE_ID => passed.unique_id = Some(bounded(value, LONGEST_ID)?),
            kind::CRC32C => {
                let said = value.try_into().map_err(|_| Bad::Fact)?;
                sum = Some((at + 3, u32::from_be_bytes(said)));
            }
            kind::SSL => passed.secure = secure(value)?,
            _ => {}
        }
        at += 3 + length;
    }
    match sum {
        Some((at, said)) if checksum(header, at) != said => Err(Bad::Checksum),
        _ => Ok(passed),
    }
}

fn bounded(value: &[u8], longest: usize) -> Result<Box<[u8]>, Bad> {
    if value.len() <= longest { Ok(value.into()) } else { Err(Bad::Fact) }
}

/// Whether the client speaks TLS (section 2.2.6); the facts inside have to fit.
fn secure(value: &[u8]) -> Result<bool, Bad> {
    let (fixed, mut inner) = value.split_first_chunk::<5>().ok_or(Bad::Fact)?;
    while !inner.is_empty() {
        let ([_, high, low], behind) = inner.split_first_chunk().ok_or(Bad::Fact)?;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        inner = behind.get(length..).ok_or(Bad::Fact)?;
    }
    Ok(fixed[0] & 1 != 0)
}

/// The checksum of a header whose own value at this place counts as zeros (section 2.2.3).
fn checksum(header: &[u8], at: usize) -> u32 {
    let sum = crc32c::crc32c(&header[..at]);
    let sum = crc32c::crc32c_append(sum, &[0; 4]);
    crc32c::crc32c_append(sum, &header[at + 4..])
}
