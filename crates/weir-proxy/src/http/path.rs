//! Paths of requests (RFC 3986 section 3.3): the path that is matched is the path that is forwarded.

use std::borrow::Cow;

use weir_model::{
    listener::{DotSegments, DoubleSlash, EncodedSlash, Normalize},
    route::{escaped, escapes, has_dot_segments, is_unreserved, resolve_dot_segments},
};

use crate::error::{Cause, ProxyError};

/// Tidies a path as the listener says. Of what is encoded, that is decoded which need not be, and what the listener names;
/// nothing is decoded twice. `None` if the path is already as it should be.
pub(crate) fn tidy(path: &[u8], normalize: Normalize) -> Result<Option<Vec<u8>>, ProxyError> {
    check_percent(path)?;
    let mut tidy = Cow::Borrowed(path);
    if path.windows(3).any(|three| needless(three).is_some()) {
        tidy = decode_needless(path).into();
    }
    match normalize.encoded_slash {
        EncodedSlash::Keep => {}
        EncodedSlash::Reject if encoded_slash(path).is_some() => return bad("%2F in the path"),
        EncodedSlash::Decode if encoded_slash(path).is_some() => tidy = decode_slashes(&tidy).into(),
        EncodedSlash::Reject | EncodedSlash::Decode => {}
    }
    if normalize.double_slash == DoubleSlash::Merge && tidy.windows(2).any(|pair| pair == b"//") {
        let mut merged = tidy.into_owned();
        merged.dedup_by(|next, before| *next == b'/' && *before == b'/');
        tidy = merged.into();
    }
    match normalize.dot_segments {
        DotSegments::Keep => {}
        DotSegments::Reject if has_dot_segments(&tidy) => return bad("a dot segment in the path"),
        DotSegments::Resolve if has_dot_segments(&tidy) => tidy = resolve_dot_segments(&tidy).into(),
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
    for byte in escapes(path) {
        match byte {
            Some(0) => return bad("%00 in the path"),
            Some(_) => {}
            None => return bad("a percent sign without two hexadecimal digits"),
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

/// What `%` and two hexadecimal digits stand for, if they need not be encoded.
fn needless(three: &[u8]) -> Option<u8> {
    escaped(three).filter(|byte| is_unreserved(*byte))
}

/// Decodes what need not be encoded (RFC 3986 section 6.2.2.2): a backend takes `/%61dmin` for `/admin`, and so must routes.
fn decode_needless(mut path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    while let [first, rest @ ..] = path {
        let decoded = path.get(..3).and_then(needless);
        out.push(decoded.unwrap_or(*first));
        path = if decoded.is_some() { &path[3..] } else { rest };
    }
    out
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
    fn dot_segments_are_resolved_and_what_need_not_be_encoded_is_not() {
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
            ("/%61dmi%6E/%7Ea%2Db%5F%30%2ehtml", "/admin/~a-b_0.html"),
            ("/%2561%20%3b%2F%c3%a9", "/%2561%20%3b%2F%c3%a9"),
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
