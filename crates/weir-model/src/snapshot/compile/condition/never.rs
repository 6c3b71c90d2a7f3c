//! Patterns that no request can ever match, by how requests are read before routes are asked.

use crate::{
    draft::{NamedTexts, TextDraft},
    listener::{DotSegments, DoubleSlash, EncodedSlash, Normalize},
    problem::Problem,
    route::{escapes, has_dot_segments, is_unreserved},
};

/// Why no request can ever have such a path; said as what to do about it.
pub(super) fn path(path: &str, normalize: Normalize) -> Option<&'static str> {
    // What is behind the prefix may be empty, and then its last slash is not there either.
    let path = path.strip_suffix("/*").unwrap_or(path);
    if path.contains(['?', '#']) {
        return Some("a path ends before `?` and `#`; use `query` for parameters");
    }
    if path.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Some(
            "write it as it is sent: spaces and letters beyond ASCII are percent-encoded, as in `%20`",
        );
    }
    if escapes(path.as_bytes()).any(|byte| matches!(byte, None | Some(0))) {
        return Some(
            "requests with `%00`, or a `%` without two hexadecimal digits, are refused with 400; write `%25` for a percent sign",
        );
    }
    if escapes(path.as_bytes()).flatten().any(is_unreserved) {
        return Some(
            "letters, digits, `-`, `.`, `_` and `~` are decoded before paths are compared: write them as they are",
        );
    }
    let lower = path.to_ascii_lowercase();
    if lower.contains("%2f") {
        match normalize.encoded_slash {
            EncodedSlash::Keep => {}
            EncodedSlash::Decode => return Some("`%2F` becomes `/` before paths are compared: write `/`"),
            EncodedSlash::Reject => {
                return Some("`normalize.encoded_slash: reject` refuses requests with `%2F`: remove it");
            }
        }
    }
    if path.contains("//") && normalize.double_slash == DoubleSlash::Merge {
        return Some("`//` becomes `/` before paths are compared: write one slash");
    }
    match normalize.dot_segments {
        DotSegments::Resolve if has_dot_segments(path.as_bytes()) => {
            Some("`.` and `..` are resolved before paths are compared; leave them out")
        }
        DotSegments::Reject if has_dot_segments(path.as_bytes()) => {
            Some("`normalize.dot_segments: reject` refuses requests with `.` and `..`; leave them out")
        }
        _ => None,
    }
}

/// Values that no field of a request has: space around it is not part of it, and control characters are refused.
pub(super) fn headers(drafts: &[NamedTexts], problems: &mut Vec<Problem>) {
    let spaced = |c: char| matches!(c, ' ' | '\t');
    refuse(drafts, problems, |text| {
        let (value, whole) = match text {
            TextDraft::Exact(value) => (value, true),
            TextDraft::Prefix(value) => (value, false),
            TextDraft::Regex(_) | TextDraft::Present(_) => return None,
        };
        if value.contains(|c: char| c.is_ascii_control() && c != '\t') {
            return Some("no header field holds a line break or another control character");
        }
        let around = value.starts_with(spaced) || whole && value.ends_with(spaced);
        around.then_some("space around the value of a header field is no part of it")
    });
}

/// Values that no cookie has.
pub(super) fn cookies(drafts: &[NamedTexts], problems: &mut Vec<Problem>) {
    refuse(drafts, problems, |text| match text {
        TextDraft::Exact(value) | TextDraft::Prefix(value) => value
            .contains(|c: char| c == ';' || c.is_ascii_control() && c != '\t')
            .then_some("no cookie holds a `;`, a line break or another control character"),
        TextDraft::Regex(_) | TextDraft::Present(_) => None,
    });
}

fn refuse(
    drafts: &[NamedTexts],
    problems: &mut Vec<Problem>,
    why: impl Fn(&TextDraft) -> Option<&'static str>,
) {
    for text in drafts.iter().flat_map(|(_, texts)| texts) {
        if let Some(why) = why(&text.value) {
            let cause = format!("this can never match: {why}");
            problems.push(Problem::error(text.span, cause, "write the value as requests carry it"));
        }
    }
}
