//! Query parameters and cookies, read in place.

use std::borrow::Cow;

use super::escapes::escaped;

/// Every parameter of a query, still encoded: `a=1&b` gives `(a, 1)` and `(b, "")`.
pub(super) fn parameters(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| halves(pair, b'='))
}

/// Every cookie of one Cookie field (RFC 6265 section 4.2.1). Quotes around a value are not part of it.
pub(super) fn cookies(field: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    field.split(|byte| *byte == b';').filter(|pair| pair.contains(&b'=')).map(|pair| {
        let (name, value) = halves(pair, b'=');
        let value = value.trim_ascii();
        let bare = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        (name.trim_ascii(), bare.unwrap_or(value))
    })
}

/// The value of a cookie in one Cookie field.
pub fn cookie<'f>(field: &'f [u8], name: &[u8]) -> Option<&'f [u8]> {
    cookies(field).find(|(own, _)| *own == name).map(|(_, value)| value)
}

/// The value of a parameter of a query, still encoded.
pub fn parameter<'q>(query: &'q [u8], name: &[u8]) -> Option<&'q [u8]> {
    parameters(query).find(|(own, _)| decodes_to(own, name)).map(|(_, value)| value)
}

/// True if the encoded text means `plain`: `%2F` is a slash and `+` a space, as forms write them. A broken escape
/// stands for itself.
pub(super) fn decodes_to(encoded: &[u8], plain: &[u8]) -> bool {
    decoded_bytes(encoded).eq(plain.iter().copied())
}

/// What the encoded text means; copied only if it is encoded at all.
pub(super) fn decoded(encoded: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', encoded).is_none() {
        return Cow::Borrowed(encoded);
    }
    Cow::Owned(decoded_bytes(encoded).collect())
}

/// What the encoded text means; copied into `room` if it is encoded, and to the heap only if that is too small for it.
pub(crate) fn decoded_into<'b>(encoded: &'b [u8], room: &'b mut [u8]) -> Cow<'b, [u8]> {
    if memchr::memchr2(b'%', b'+', encoded).is_none() || encoded.len() > room.len() {
        return decoded(encoded);
    }
    let bytes = decoded_bytes(encoded).zip(room.iter_mut()).map(|(byte, place)| *place = byte);
    let length = bytes.count();
    Cow::Borrowed(&room[..length])
}

fn decoded_bytes(encoded: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = encoded;
    std::iter::from_fn(move || {
        let (byte, after) = match rest {
            [] => return None,
            [b'%', _, _, after @ ..] => escaped(&rest[..3]).map_or((b'%', &rest[1..]), |byte| (byte, after)),
            [b'+', after @ ..] => (b' ', after),
            [byte, after @ ..] => (*byte, after),
        };
        rest = after;
        Some(byte)
    })
}

fn halves(pair: &[u8], at: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(at, pair) {
        Some(place) => (&pair[..place], &pair[place + 1..]),
        None => (pair, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_compared_decoded() {
        let all: Vec<_> = parameters(b"a=1&&b&c=x%2Fy+z=").collect();
        assert_eq!(all, [(&b"a"[..], &b"1"[..]), (b"b", b""), (b"c", b"x%2Fy+z=")]);
        assert_eq!(&*decoded(b"x%2Fy+z="), b"x/y z=");
        assert!(decodes_to(b"%41%zz%4", b"A%zz%4") && !decodes_to(b"ab", b"a") && !decodes_to(b"a", b"ab"));
    }

    #[test]
    fn cookies_are_read_as_browsers_write_them() {
        let all: Vec<_> = cookies(b"a=1; b=\"two\";c = 3 ; junk; d=x=y").collect();
        let expected: [(&[u8], &[u8]); 4] = [(b"a", b"1"), (b"b", b"two"), (b"c", b"3"), (b"d", b"x=y")];
        assert_eq!(all, expected);
    }
}
