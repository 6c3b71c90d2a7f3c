//! Version 1: a line of text (section 2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Bad, Header, Passed, Progress, WORD};

/// The longest line with its end.
const LONGEST: usize = 107;

/// The line that these bytes begin with; they begin with [`WORD`].
pub(super) fn read(received: &[u8]) -> Progress {
    let within = &received[..received.len().min(LONGEST)];
    // A carriage return or a line feed alone ends nothing, and stands in no line.
    let Some(end) = memchr::memchr2(b'\r', b'\n', within) else {
        return if received.len() < LONGEST { Progress::NeedMore } else { Progress::Bad(Bad::LineEnd) };
    };
    match within.get(end..end + 2) {
        Some(b"\r\n") => {}
        None if within[end] == b'\r' && received.len() < LONGEST => return Progress::NeedMore,
        _ => return Progress::Bad(Bad::LineEnd),
    }
    match judge(&within[WORD.len()..end]) {
        Some(ends) => Progress::Whole(Header { ends, passed: Passed::default() }, end + 2),
        None => Progress::Bad(Bad::Line),
    }
}

/// What stands behind the first word; none if it is not what the protocol says. No addresses are part of it if the sender does
/// not know them.
fn judge(line: &[u8]) -> Option<Option<(SocketAddr, SocketAddr)>> {
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Some(None);
    }
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let address: fn(&str) -> Option<IpAddr> = match words.next()? {
        "TCP4" => |word| word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => |word| word.parse::<Ipv6Addr>().ok().map(|address| address.to_canonical()),
        _ => return None,
    };
    let (source, destination) = (address(words.next()?)?, address(words.next()?)?);
    let (from, to) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then_some(Some(((source, from).into(), (destination, to).into())))
}

/// A port in its one and only spelling.
fn port(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| plain)
}
