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
    Date,
    Server,
}

/// What the field of this name is to us. Names compare without case.
#[inline]
pub(crate) fn classify(name: &[u8]) -> Name {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match name.len() {
        2 if is("te") => Name::Hop,
        4 if is("host") => Name::Host,
        4 if is("date") => Name::Date,
        6 if is("expect") => Name::Expect,
        6 if is("server") => Name::Server,
        7 if is("upgrade") => Name::Upgrade,
        9 if is("forwarded") || is("x-real-ip") => Name::OtherForwarded,
        10 if is("connection") => Name::Connection,
        10 if is("keep-alive") => Name::Hop,
        14 if is("content-length") => Name::ContentLength,
        14 if is("http2-settings") => Name::Hop,
        15 if is("x-forwarded-for") => Name::ForwardedFor,
        16 if is("x-forwarded-host") => Name::ForwardedHost,
        16 if is("proxy-connection") => Name::Hop,
        17 if is("transfer-encoding") => Name::TransferEncoding,
        17 if is("x-forwarded-proto") => Name::ForwardedProto,
        18 if is("proxy-authenticate") => Name::Hop,
        19 if is("proxy-authorization") => Name::Hop,
        _ if name.contains(&b'_') => Name::Underscore,
        _ => Name::Other,
    }
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
    !matches!(classify(name), Name::Other | Name::Date)
        || FORBIDDEN.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// The members of a comma-separated list, without white space around them and without empty ones
/// (RFC 9110 section 5.6.1).
pub(crate) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}
