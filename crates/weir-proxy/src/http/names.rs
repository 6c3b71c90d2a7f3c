//! The header fields that mean something to a proxy.

/// What a field is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// Passed on.
    Other,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Upgrade,
    Expect,
    /// Hop-by-hop beside those above (RFC 9110 section 7.6.1), and what belongs to the hop by its meaning:
    /// Keep-Alive, Proxy-Connection, Proxy-Authorization, Proxy-Authenticate, TE, HTTP2-Settings.
    Hop,
    ForwardedFor,
    ForwardedProto,
    ForwardedHost,
    /// Forwarded and X-Real-IP: believed only from trusted proxies.
    OtherForwarded,
    /// A name with `_`: servers that turn names into variables confuse it with the one that has `-`.
    Underscore,
}

/// What the field of this name is to us. Names compare without case.
#[inline]
pub(crate) fn classify(name: &[u8]) -> Name {
    // The length and the first letter rule out nearly every name without a comparison.
    match (name.len(), name.first().map_or(0, |first| first | 0x20)) {
        (2, b't') if is(name, b"te") => Name::Hop,
        (4, b'h') if is(name, b"host") => Name::Host,
        (6, b'e') if is(name, b"expect") => Name::Expect,
        (7, b'u') if is(name, b"upgrade") => Name::Upgrade,
        (9, b'f') if is(name, b"forwarded") => Name::OtherForwarded,
        (9, b'x') if is(name, b"x-real-ip") => Name::OtherForwarded,
        (10, b'c') if is(name, b"connection") => Name::Connection,
        (10, b'k') if is(name, b"keep-alive") => Name::Hop,
        (14, b'c') if is(name, b"content-length") => Name::ContentLength,
        (14, b'h') if is(name, b"http2-settings") => Name::Hop,
        (15, b'x') if is(name, b"x-forwarded-for") => Name::ForwardedFor,
        (16, b'x') if is(name, b"x-forwarded-host") => Name::ForwardedHost,
        (16, b'p') if is(name, b"proxy-connection") => Name::Hop,
        (17, b't') if is(name, b"transfer-encoding") => Name::TransferEncoding,
        (17, b'x') if is(name, b"x-forwarded-proto") => Name::ForwardedProto,
        (18, b'p') if is(name, b"proxy-authenticate") => Name::Hop,
        (19, b'p') if is(name, b"proxy-authorization") => Name::Hop,
        _ => Name::Other,
    }
}

/// True if a token is this name, which is written in lower case. Setting one bit lowers letters and leaves the other
/// bytes of our names alone; no byte of a token but the upper-case letter becomes the same letter that way.
#[inline]
fn is<const N: usize>(name: &[u8], known: &[u8; N]) -> bool {
    <&[u8; N]>::try_from(name).is_ok_and(|name| {
        let differences = name.iter().zip(known).map(|(byte, known)| (byte | 0x20) ^ known);
        differences.fold(0, |all, difference| all | difference) == 0
    })
}

/// True for fields that must not come in a trailer section (RFC 9110 section 6.5.1): framing, routing,
/// authentication, and how the content is to be read.
pub(crate) fn forbidden_in_trailer(name: &[u8]) -> bool {
    const FORBIDDEN: [&str; 12] = [
        "trailer",
        "authorization",
        "cookie",
        "set-cookie",
        "cache-control",
        "content-encoding",
        "content-type",
        "content-range",
        "max-forwards",
        "range",
        "location",
        "www-authenticate",
    ];
    classify(name) != Name::Other || FORBIDDEN.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// The members of a comma-separated list, without white space around them and without empty ones
/// (RFC 9110 section 5.6.1).
pub(crate) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// What Connection says about the connection itself (RFC 9110 section 7.6.1).
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    pub(crate) upgrade: bool,
}

impl ConnectionOptions {
    /// Reads one field value; everything else in it nominates a field.
    pub(crate) fn read(&mut self, value: &[u8], mut nominate: impl FnMut(&[u8])) {
        for member in members(value) {
            match member {
                _ if member.eq_ignore_ascii_case(b"close") => self.close = true,
                _ if member.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                _ if member.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                _ => nominate(member),
            }
        }
    }

    /// Whether the connection stays (RFC 9112 section 9.3).
    pub(crate) const fn keep_alive(self, http10: bool) -> bool {
        !self.close && (!http10 || self.keep_alive)
    }
}
