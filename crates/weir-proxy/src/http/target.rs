//! Request targets and hosts (RFC 9112 section 3.2, RFC 3986): the path that is matched is the path that is forwarded.

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
    /// True if the path has to go through [`normalise`].
    pub(crate) untidy: bool,
}

/// Takes a target apart. `options` is true for the one method that may ask for `*`.
pub(crate) fn split(target: &[u8], options: bool) -> Result<Target<'_>, ProxyError> {
    if target == b"*" && options {
        return Ok(Target { authority: None, path: target, query: None, untidy: false });
    }
    let (authority, rest) = match target.first() {
        Some(b'/') => (None, target),
        _ => absolute(target)?,
    };
    if rest.iter().any(|byte| !plain(*byte)) {
        return Err(ProxyError::with(Cause::ClientBadTarget, "a byte that has to be percent-encoded"));
    }
    let (path, query) = match memchr::memchr(b'?', rest) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let path = if path.is_empty() { b"/" } else { path };
    let untidy = memchr::memchr(b'%', path).is_some() || memchr::memmem::find(path, b"/.").is_some();
    Ok(Target { authority, path, query, untidy })
}

/// The absolute form: scheme, authority, and the rest (empty, or from `/` or `?` on).
fn absolute(target: &[u8]) -> Result<(Option<&[u8]>, &[u8]), ProxyError> {
    let bad = |detail| Err(ProxyError::with(Cause::ClientBadTarget, detail));
    let Some(at) = memchr::memmem::find(target, b"://") else {
        return bad("neither a path nor an absolute URI");
    };
    let (scheme, rest) = (&target[..at], &target[at + 3..]);
    let end = memchr::memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if scheme.eq_ignore_ascii_case(b"https") {
        return Err(Cause::ClientMisdirected.into());
    }
    if !scheme.eq_ignore_ascii_case(b"http") {
        return bad("a scheme that is not http");
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

/// Resolves dot segments (RFC 3986 section 5.2.4), encoded dots included, and decodes nothing else. `None` if the path
/// is already as it should be.
pub(crate) fn normalise(path: &[u8]) -> Result<Option<Vec<u8>>, ProxyError> {
    let bad = |detail| Err(ProxyError::with(Cause::ClientBadTarget, detail));
    for at in memchr::memchr_iter(b'%', path) {
        match path.get(at + 1..at + 3) {
            Some(b"00") => return bad("%00 in the path"),
            Some([high, low]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {}
            _ => return bad("a percent sign without two hexadecimal digits"),
        }
    }
    if !path.split(|byte| *byte == b'/').any(|segment| dots(segment) > 0) {
        return Ok(None);
    }
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut segments = path[1..].split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        match dots(segment) {
            0 => {
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
            2 => out.truncate(out.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            _ => {}
        }
        // A dot segment at the end leaves the folder it names.
        if segments.peek().is_none() {
            out.push(b'/');
        }
    }
    Ok(Some(out))
}

/// 1 for `.`, 2 for `..`, in any encoding; 0 for everything else.
fn dots(segment: &[u8]) -> usize {
    let (mut count, mut rest) = (0, segment);
    while !rest.is_empty() {
        rest = match rest {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return 0,
        };
        count += 1;
    }
    if count <= 2 { count } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tidy(path: &str) -> String {
        let path = path.as_bytes();
        let out = normalise(path).expect("valid").unwrap_or_else(|| path.to_vec());
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn dot_segments_are_resolved_and_nothing_else() {
        for (path, expected) in [
            ("/public/../admin", "/admin"),
            ("/public/%2e%2E/admin", "/admin"),
            ("/public/.%2e/admin", "/admin"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("/a/./b/.", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/..", "/"),
            ("/a/...", "/a/..."),
            ("/.hidden", "/.hidden"),
            ("//admin", "//admin"),
            ("/public%2f..%2fadmin", "/public%2f..%2fadmin"),
            ("/public%252f..%252fadmin", "/public%252f..%252fadmin"),
            ("/public/..;/admin", "/public/..;/admin"),
        ] {
            assert_eq!(tidy(path), expected, "{path}");
            assert_eq!(tidy(expected), expected, "normalising twice changes nothing");
        }
        for path in ["/%zz", "/a%00b", "/%", "/%a"] {
            assert!(normalise(path.as_bytes()).is_err(), "{path}");
        }
    }

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
