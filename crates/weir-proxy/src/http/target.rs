//! Request targets and hosts (RFC 9112 section 3.2, RFC 3986).

use weir_model::listener::{DoubleSlash, Normalize};

use crate::error::{Cause, ProxyError};

/// A byte that may stand in a path or query as it is.
const fn plain(byte: u8) -> bool {
    // Above US-ASCII, controls and space never; `#` would start a fragment; the rest that RFC 3986 leaves out but
    // browsers send (`"<>[]^`{|}` and the backslash) passes untouched.
    byte > b' ' && byte < 0x7f && byte != b'#'
}

/// Bytes of a host name as it is used: letters, digits and `-._~%`.
const HOST: [bool; 256] = {
    let mut host = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        host[byte] =
            matches!(byte as u8, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' | b'%');
        byte += 1;
    }
    host
};

/// The parts of a target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// From the absolute form.
    pub(crate) authority: Option<&'a [u8]>,
    pub(crate) path: &'a [u8],
    pub(crate) query: Option<&'a [u8]>,
    /// True if the path has to go through [`super::path::tidy`].
    pub(crate) untidy: bool,
}

/// Takes a target apart. `options` is true for the one method that may ask for `*`, `secure` where it came through TLS.
pub(crate) fn split(
    target: &[u8],
    options: bool,
    secure: bool,
    normalize: Normalize,
) -> Result<Target<'_>, ProxyError> {
    if target == b"*" && options {
        return Ok(Target { authority: None, path: target, query: None, untidy: false });
    }
    let (authority, rest) = match target.first() {
        Some(b'/') => (None, target),
        _ => absolute(target, secure)?,
    };
    if rest.iter().any(|byte| !plain(*byte)) {
        return Err(ProxyError::with(Cause::ClientBadTarget, "a byte that has to be percent-encoded"));
    }
    let (path, query) = match memchr::memchr(b'?', rest) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let path = match path {
        // RFC 9112 section 3.2.4: asked of the server as a whole.
        b"" if options && query.is_none() => b"*",
        b"" => b"/",
        path => path,
    };
    let untidy = memchr::memchr(b'%', path).is_some()
        || path.windows(2).any(|pair| pair == b"/.")
        || (normalize.double_slash == DoubleSlash::Merge && path.windows(2).any(|pair| pair == b"//"));
    Ok(Target { authority, path, query, untidy })
}

/// The absolute form: scheme, authority, and the rest (empty, or from `/` or `?` on). The scheme is that of the connection.
fn absolute(target: &[u8], secure: bool) -> Result<(Option<&[u8]>, &[u8]), ProxyError> {
    let bad = |detail| Err(ProxyError::with(Cause::ClientBadTarget, detail));
    let Some(at) = memchr::memmem::find(target, b"://") else {
        return bad("neither a path nor an absolute URI");
    };
    let (scheme, rest) = (&target[..at], &target[at + 3..]);
    let end = memchr::memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let is_secure = scheme.eq_ignore_ascii_case(b"https");
    if !is_secure && !scheme.eq_ignore_ascii_case(b"http") {
        return bad("a scheme that is not http");
    }
    if is_secure != secure {
        return Err(Cause::ClientMisdirected.into());
    }
    if authority.is_empty() {
        return bad("an absolute URI without a host");
    }
    Ok((Some(authority), rest))
}

/// The host of an authority in lower case, without port, appended to `host`. Refuses what is not `host [":" port]`
/// (RFC 3986 section 3.2, without user information).
pub(crate) fn host_of(authority: &[u8], host: &mut Vec<u8>) -> Result<(), ProxyError> {
    let bad = || Err(ProxyError::new(Cause::ClientBadHost));
    let (name, port) = if authority.first() == Some(&b'[') {
        let Some(end) = memchr::memchr(b']', authority) else { return bad() };
        let inside = &authority[1..end];
        if !inside.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
            || inside.is_empty()
        {
            return bad();
        }
        (&authority[..=end], &authority[end + 1..])
    } else {
        let end = memchr::memchr(b':', authority).unwrap_or(authority.len());
        let name = &authority[..end];
        if name.is_empty() || !name.iter().all(|byte| HOST[*byte as usize]) {
            return bad();
        }
        (name, &authority[end..])
    };
    let port_is_fine = match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => {
            let number =
                |sum: u32, byte: &u8| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0'));
            digits.len() <= 5 && digits.iter().try_fold(0, number).is_some_and(|port| port <= 65_535)
        }
        _ => false,
    };
    if !port_is_fine {
        return bad();
    }
    let from = host.len();
    host.extend_from_slice(name);
    host[from..].make_ascii_lowercase();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_lowered_and_checked() {
        for (authority, expected) in
            [("A.Test", "a.test"), ("a.test:80", "a.test"), ("[::1]:8080", "[::1]"), ("a_b:", "a_b")]
        {
            let mut host = Vec::new();
            assert!(host_of(authority.as_bytes(), &mut host).is_ok(), "{authority}");
            assert_eq!(host, expected.as_bytes());
        }
        for authority in [
            "",
            "a test/evil",
            "u@a.test",
            "a.test, evil",
            "a.test:99999",
            "a:1x",
            "[::1",
            "[]",
            "[::1]x",
            "a:1:2",
        ] {
            assert!(host_of(authority.as_bytes(), &mut Vec::new()).is_err(), "{authority}");
        }
    }
}
