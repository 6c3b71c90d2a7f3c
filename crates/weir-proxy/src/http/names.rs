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
    /// Passed on like any other; it is only to be known whether there is one.
    Date,
    /// Passed on, and counted down where a request may be answered on its way (RFC 9110 section 7.6.2).
    MaxForwards,
    /// Hop-by-hop beside those above (RFC 9110 section 7.6.1), and what belongs to the hop by its meaning:
    /// Keep-Alive, Proxy-Connection, Proxy-Authorization, Proxy-Authenticate, TE, HTTP2-Settings.
    Hop,
    ForwardedFor,
    ForwardedProto,
    ForwardedHost,
    /// Forwarded, X-Real-IP, and whatever else begins with X-Forwarded-, such as -Port, -Prefix and -Client-Cert: believed only from
    /// trusted proxies.
    OtherForwarded,
    /// A name with `_`: servers that turn names into variables confuse it with the one that has `-`.
    Underscore,
}

/// Every name that is something to us, in lower case.
const KNOWN: [(&[u8], Name); 19] = [
    (b"te", Name::Hop),
    (b"date", Name::Date),
    (b"host", Name::Host),
    (b"expect", Name::Expect),
    (b"upgrade", Name::Upgrade),
    (b"forwarded", Name::OtherForwarded),
    (b"x-real-ip", Name::OtherForwarded),
    (b"connection", Name::Connection),
    (b"keep-alive", Name::Hop),
    (b"max-forwards", Name::MaxForwards),
    (b"content-length", Name::ContentLength),
    (b"http2-settings", Name::Hop),
    (b"x-forwarded-for", Name::ForwardedFor),
    (b"x-forwarded-host", Name::ForwardedHost),
    (b"proxy-connection", Name::Hop),
    (b"transfer-encoding", Name::TransferEncoding),
    (b"x-forwarded-proto", Name::ForwardedProto),
    (b"proxy-authenticate", Name::Hop),
    (b"proxy-authorization", Name::Hop),
];

/// Where in [`KNOWN`] the one name stands that has this [`slot`], counted from 1; 0 where there is none.
const SLOTS: [u8; 64] = {
    let mut slots = [0; 64];
    let mut index = 0;
    while index < KNOWN.len() {
        let slot = slot(KNOWN[index].0);
        assert!(slots[slot] == 0, "two names in one slot");
        slots[slot] = index as u8 + 1;
        index += 1;
    }
    slots
};

/// Its length and its first letter tell a known name from every other known one.
const fn slot(name: &[u8]) -> usize {
    let first = if name.is_empty() { 0 } else { name[0] | 0x20 };
    (name.len() + 7 * first as usize) % 64
}

/// What the field of this name is to us. Names compare without case.
///
/// A table and not a `match`: which field comes next is what a processor cannot guess.
#[inline(always)]
pub(crate) fn classify(name: &[u8]) -> Name {
    match SLOTS[slot(name)] {
        0 if name.len() > FORWARDED.len() && name[0] | 0x20 == b'x' => other_forwarded(name),
        0 => Name::Other,
        number => kind_if_known(name, number),
    }
}

/// What the known name of this number is to us, if it is this name.
#[inline(never)]
fn kind_if_known(name: &[u8], number: u8) -> Name {
    let (known, kind) = KNOWN[usize::from(number) - 1];
    if name.len() == known.len() && is(name, known) { kind } else { other_forwarded(name) }
}

/// How the names begin by which proxies say where a request came from.
const FORWARDED: &[u8] = b"x-forwarded-";

#[cold]
fn other_forwarded(name: &[u8]) -> Name {
    let begins = name.get(..FORWARDED.len()).is_some_and(|start| start.eq_ignore_ascii_case(FORWARDED));
    if begins { Name::OtherForwarded } else { Name::Other }
}

/// True if a token is this name, which is written in lower case and as long. Setting one bit lowers letters and leaves the
/// other bytes of our names alone; no byte of a token but the upper-case letter becomes the same letter that way.
#[inline]
fn is(name: &[u8], known: &[u8]) -> bool {
    const LOWER: u64 = 0x2020_2020_2020_2020;
    let word = |text: &[u8], at: usize| text.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let same = |at| word(name, at).map(|word| word | LOWER) == word(known, at);
    // Words, of which the last two may overlap; no name of ours has more than three.
    match name.len() {
        0..8 => name.iter().zip(known).all(|(byte, known)| byte | 0x20 == *known),
        length @ 8..=16 => same(0) && same(length - 8),
        length => length <= 24 && same(0) && same(8) && same(length - 8),
    }
}

/// True for fields that speak of the connection, which are nothing to a stream of HTTP/2 (RFC 9113 section 8.2.2).
pub(crate) fn is_of_connection(name: &[u8]) -> bool {
    match classify(name) {
        Name::Connection | Name::TransferEncoding | Name::Upgrade => true,
        // Two of those speak of who the client is.
        Name::Hop => !name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"proxy-auth")),
        _ => false,
    }
}

/// True for fields that must not come in a trailer section (RFC 9110 section 6.5.1): framing, routing,
/// authentication, and how the content is to be read.
pub(crate) fn forbidden_in_trailer(name: &[u8]) -> bool {
    const FORBIDDEN: [&str; 11] = [
        "trailer",
        "authorization",
        "cookie",
        "set-cookie",
        "cache-control",
        "content-encoding",
        "content-type",
        "content-range",
        "range",
        "location",
        "www-authenticate",
    ];
    !matches!(classify(name), Name::Other | Name::Date)
        || FORBIDDEN.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
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
        // What nearly all of them say.
        match value {
            b"keep-alive" => return self.keep_alive = true,
            b"close" => return self.close = true,
            _ => {}
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_tells_where_a_request_came_from_is_known() {
        for end in [
            "Port",
            "Prefix",
            "Server",
            "Client-Cert",
            "TLS-Client-Cert-Info",
            "Whatever-Anybody-May-Think-Of-Next",
        ] {
            assert_eq!(classify(format!("X-Forwarded-{end}").as_bytes()), Name::OtherForwarded, "{end}");
        }
        for other in ["X-Forwarded-", "X-Forwarded", "X-Forward-For-Me", "Y-Forwarded-Port"] {
            assert_eq!(classify(other.as_bytes()), Name::Other, "{other}");
        }
    }

    #[test]
    fn names_are_known_in_any_case_and_no_others() {
        for (name, kind) in KNOWN {
            assert_eq!(classify(name), kind);
            assert_eq!(classify(&name.to_ascii_uppercase()), kind);
            for at in 0..name.len() {
                let mut other = name.to_vec();
                other[at] ^= 0x40;
                for other in [&other, &name[..at]] {
                    let forwarded = other.starts_with(FORWARDED) && other.len() > FORWARDED.len();
                    let kind = if forwarded { Name::OtherForwarded } else { Name::Other };
                    assert_eq!(classify(other), kind, "{}", other.escape_ascii());
                }
            }
        }
    }
}
