//! Paths of requests (RFC 3986 section 3.3): the path that is matched is the path that is forwarded.

use std::borrow::Cow;

use weir_model::listener::{DotSegments, DoubleSlash, EncodedSlash, Normalize};

use crate::error::{Cause, ProxyError};

/// Tidies a path as the listener says, and decodes nothing that it does not name. `None` if the path is already as it
/// should be.
pub(crate) fn tidy(path: &[u8], normalize: Normalize) -> Result<Option<Vec<u8>>, ProxyError> {
    check_percent(path)?;
    let mut tidy = Cow::Borrowed(path);
    match normalize.encoded_slash {
        EncodedSlash::Keep => {}
        EncodedSlash::Reject if encoded_slash(path).is_some() => return bad("%2F in the path"),
        EncodedSlash::Decode if encoded_slash(path).is_some() => tidy = decode_slashes(path).into(),
        EncodedSlash::Reject | EncodedSlash::Decode => {}
    }
    if normalize.double_slash == DoubleSlash::Merge && tidy.windows(2).any(|pair| pair == b"//") {
        let mut merged = tidy.into_owned();
        merged.dedup_by(|next, before| *next == b'/' && *before == b'/');
        tidy = merged.into();
    }
    let dotted = || tidy.split(|byte| *byte == b'/').any(|segment| dots(segment) > 0);
    match normalize.dot_segments {
        DotSegments::Keep => {}
        DotSegments::Reject if dotted() => return bad("a dot segment in the path"),
        DotSegments::Resolve if dotted() => tidy = resolve(&tidy).into(),
        DotSegments::Reject | DotSegments::Resolve => {}
    }
    Ok(match tidy {
        Cow::Borrowed(_) => None,
        Cow::Owned(tidy) => Some(tidy),
    })
}

fn bad<T>(detail: &'static str) -> Result<T, ProxyError> {
    Err(ProxyError::with(Cause::ClientBadTarget, detail))
}

fn check_percent(path: &[u8]) -> Result<(), ProxyError> {
    for at in memchr::memchr_iter(b'%', path) {
        match path.get(at + 1..at + 3) {
            Some(b"00") => return bad("%00 in the path"),
            Some([high, low]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {}
            _ => return bad("a percent sign without two hexadecimal digits"),
        }
    }
    Ok(())
}

/// Where the first `%2F` is.
fn encoded_slash(path: &[u8]) -> Option<usize> {
    path.windows(3).position(|three| three.eq_ignore_ascii_case(b"%2f"))
}

fn decode_slashes(mut path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    while let Some(at) = encoded_slash(path) {
        out.extend_from_slice(&path[..at]);
        out.push(b'/');
        path = &path[at + 3..];
    }
    out.extend_from_slice(path);
    out
}

/// Carries dot segments out (RFC 3986 section 5.2.4), encoded dots included.
fn resolve(path: &[u8]) -> Vec<u8> {
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
    out
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

    fn tidied(path: &str, normalize: Normalize) -> String {
        let path = path.as_bytes();
        let out = tidy(path, normalize).expect("valid").unwrap_or_else(|| path.to_vec());
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
            assert_eq!(tidied(path, Normalize::default()), expected, "{path}");
            assert_eq!(tidied(expected, Normalize::default()), expected, "a second time changes nothing");
        }
        for path in ["/%zz", "/a%00b", "/%", "/%a"] {
            assert!(tidy(path.as_bytes(), Normalize::default()).is_err(), "{path}");
        }
    }

    #[test]
    fn slashes_are_decoded_and_merged_before_dots_are_resolved() {
        let eager = Normalize {
            encoded_slash: EncodedSlash::Decode,
            double_slash: DoubleSlash::Merge,
            dot_segments: DotSegments::Resolve,
        };
        for (path, expected) in [
            ("/public%2f..%2Fadmin", "/admin"),
            ("//a///b//", "/a/b/"),
            ("/a/%2F/b", "/a/b"),
            ("/a//../b", "/b"),
            ("/%252f", "/%252f"),
        ] {
            assert_eq!(tidied(path, eager), expected, "{path}");
            assert_eq!(tidied(expected, eager), expected, "a second time changes nothing");
        }
    }

    #[test]
    fn what_is_not_wanted_is_refused_or_kept() {
        let strict = Normalize {
            encoded_slash: EncodedSlash::Reject,
            double_slash: DoubleSlash::Keep,
            dot_segments: DotSegments::Reject,
        };
        for path in ["/a%2Fb", "/a%2fb", "/a/../b", "/a/%2e", "/."] {
            assert!(tidy(path.as_bytes(), strict).is_err(), "{path}");
        }
        assert_eq!(tidied("/a//b%20c", strict), "/a//b%20c");
        let lax = Normalize { dot_segments: DotSegments::Keep, ..Normalize::default() };
        assert_eq!(tidied("/a/../b", lax), "/a/../b");
    }
}
