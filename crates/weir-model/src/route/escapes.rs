//! Percent-encoding (RFC 3986 section 2.1).

/// The byte that `%` and two hexadecimal digits stand for, if these three are that.
pub const fn escaped(three: &[u8]) -> Option<u8> {
    let [b'%', high, low] = three else { return None };
    match (digit(*high), digit(*low)) {
        (Some(high), Some(low)) => Some(high << 4 | low),
        _ => None,
    }
}

/// What each percent sign of a text stands for; `None` for one that is not followed by two hexadecimal digits.
pub fn escapes(text: &[u8]) -> impl Iterator<Item = Option<u8>> {
    memchr::memchr_iter(b'%', text).map(|at| text.get(at..at + 3).and_then(escaped))
}

/// True for what means the same encoded and not (RFC 3986 section 2.3).
pub const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
