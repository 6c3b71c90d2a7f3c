//! gRPC as far as a proxy knows of it: what a call looks like, and what its status means beside those of HTTP.
//!
//! A status stands in the trailers of an answer, or in its head where there is nothing else to say. Its numbers are those of
//! the protocol, 0 to 16; whatever else somebody sends is [`OTHER`].

/// The call was cancelled.
pub const CANCELLED: u8 = 1;
/// Nobody says more of what went wrong.
pub const UNKNOWN: u8 = 2;
/// The deadline was over before the call was.
pub const DEADLINE_EXCEEDED: u8 = 4;
/// There is no such thing.
pub const NOT_FOUND: u8 = 5;
/// The caller may not do that.
pub const PERMISSION_DENIED: u8 = 7;
/// There is too much of something.
pub const RESOURCE_EXHAUSTED: u8 = 8;
/// There is no such method.
pub const UNIMPLEMENTED: u8 = 12;
/// Something is broken.
pub const INTERNAL: u8 = 13;
/// The service cannot be had now; it may be worth another try.
pub const UNAVAILABLE: u8 = 14;
/// It is not known who the caller is.
pub const UNAUTHENTICATED: u8 = 16;
/// Stands for every status that the protocol does not know.
pub const OTHER: u8 = 17;

/// The words of the statuses, by their numbers, in lower case; the last one is for [`OTHER`].
pub const WORDS: [&str; 18] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
    "other",
];

/// True if a request or an answer with this Content-Type is one of gRPC: `application/grpc`, with `+proto` or the like behind
/// it. That of gRPC-Web is another one.
pub fn is_call(content_type: &[u8]) -> bool {
    behind(content_type, b"application/grpc")
}

/// True if a request or an answer with this Content-Type is one of gRPC-Web, in bytes or in text.
pub fn is_web(content_type: &[u8]) -> bool {
    behind(content_type, b"application/grpc-web") || behind(content_type, b"application/grpc-web-text")
}

/// True if this is the media type, whatever parameters or suffix it has.
fn behind(content_type: &[u8], media_type: &[u8]) -> bool {
    let Some((start, rest)) = content_type.split_at_checked(media_type.len()) else { return false };
    start.eq_ignore_ascii_case(media_type) && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
}

/// Service and method of a call, from its path: `/shop.Cart/Add`.
pub fn names(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = path.strip_prefix(b"/")?;
    let slash = memchr::memrchr(b'/', rest)?;
    let (service, method) = (&rest[..slash], &rest[slash + 1..]);
    (!service.is_empty() && !method.is_empty()).then_some((service, method))
}

/// The status that a field `grpc-status` says.
pub fn status(text: &[u8]) -> u8 {
    match text {
        [digit @ b'0'..=b'9'] => digit - b'0',
        [b'1', digit @ b'0'..=b'6'] => 10 + digit - b'0',
        _ => OTHER,
    }
}

/// The word of a status.
pub fn word(status: u8) -> &'static str {
    WORDS.get(usize::from(status)).copied().unwrap_or("other")
}

/// The status of HTTP that means what this one does: what outlier detection and retries take it for.
pub const fn http(status: u8) -> u16 {
    match status {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// The status of a call whose answer was one of HTTP alone, as the protocol says it.
pub const fn of_http(status: u16) -> u8 {
    match status {
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        429 | 502 | 503 | 504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_known_by_their_content_type() {
        for yes in
            ["application/grpc", "application/grpc+proto", "Application/gRPC; x=y", "application/grpc ;x"]
        {
            assert!(is_call(yes.as_bytes()) && !is_web(yes.as_bytes()), "{yes}");
        }
        for web in ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text; x"] {
            assert!(is_web(web.as_bytes()) && !is_call(web.as_bytes()), "{web}");
        }
        for no in ["", "application/grp", "application/grpcx", "application/grpc-", "application/json"] {
            assert!(!is_call(no.as_bytes()) && !is_web(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn a_path_names_service_and_method() {
        assert_eq!(names(b"/shop.Cart/Add"), Some((&b"shop.Cart"[..], &b"Add"[..])));
        assert_eq!(names(b"/a/b/c"), Some((&b"a/b"[..], &b"c"[..])));
        for none in ["", "/", "/a", "/a/", "//a", "a/b"] {
            assert_eq!(names(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn statuses_are_numbers_up_to_sixteen() {
        for number in 0..17u8 {
            assert_eq!(status(number.to_string().as_bytes()), number);
            assert!((200..600).contains(&http(number)));
        }
        for other in ["", "17", "01", "-1", "x", "140", " 0", "1 "] {
            assert_eq!(status(other.as_bytes()), OTHER, "{other}");
        }
        assert_eq!([word(0), word(14), word(OTHER), word(200)], ["ok", "unavailable", "other", "other"]);
        assert_eq!((http(OTHER), http(UNAVAILABLE), http(DEADLINE_EXCEEDED)), (500, 503, 504));
        assert_eq!([200, 404, 503, 418].map(of_http), [UNKNOWN, UNIMPLEMENTED, UNAVAILABLE, UNKNOWN]);
    }
}
