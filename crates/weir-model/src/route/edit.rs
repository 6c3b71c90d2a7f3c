//! What a route changes on the way: header fields and the target.

use std::{borrow::Cow, sync::Arc};

use super::dots::{drop_dot_segments, has_dot_segments};
use crate::template::Template;

/// Edits of a message's header fields. Names are lower case; `set` replaces, `add` appends, `remove` drops.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Written once, in place of every field of that name.
    pub set: Vec<(Arc<str>, Template)>,
    /// Written after the fields that came.
    pub add: Vec<(Arc<str>, Template)>,
    /// Left out.
    pub remove: Vec<Arc<str>>,
}

impl HeaderEdits {
    /// True if nothing is edited.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }

    /// True if a field of this name (any case) that came with the message is not passed on.
    pub fn drops(&self, name: &[u8]) -> bool {
        self.remove.iter().any(|n| n.as_bytes().eq_ignore_ascii_case(name))
            || self.set.iter().any(|(n, _)| n.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// How the forwarded target differs from the one that came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// How the path changes.
    pub path: RewritePath,
    /// The Host that the backend sees.
    pub host: Option<Arc<str>>,
}

/// A change of a path. The query is never touched.
#[derive(Debug, Clone, Default)]
pub enum RewritePath {
    /// As it came.
    #[default]
    Keep,
    /// This path for every request.
    Whole(Arc<str>),
    /// The prefix that the route matched is replaced; the rest is kept.
    Prefix {
        /// The prefix matched, without a final slash; empty for `/*`.
        from: Arc<str>,
        /// What stands there instead.
        to: Arc<str>,
    },
    /// Every match of the expression is replaced; `$1` names a group.
    Regex {
        /// What is looked for.
        from: regex::Regex,
        /// What stands there instead.
        to: Arc<str>,
    },
}

impl PartialEq for RewritePath {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keep, Self::Keep) => true,
            (Self::Whole(ours), Self::Whole(theirs)) => ours == theirs,
            (Self::Prefix { from, to }, Self::Prefix { from: their_from, to: their_to }) => {
                from == their_from && to == their_to
            }
            (Self::Regex { from, to }, Self::Regex { from: their_from, to: their_to }) => {
                from.as_str() == their_from.as_str() && to == their_to
            }
            _ => false,
        }
    }
}

impl Eq for RewritePath {}

impl RewritePath {
    /// The path after the change. `path` is valid UTF-8 for every path that a codec let through as ASCII;
    /// others are kept as they are by the regex form.
    pub fn apply<'a>(&'a self, path: &'a [u8]) -> Cow<'a, [u8]> {
        match self {
            Self::Keep => Cow::Borrowed(path),
            Self::Whole(whole) => Cow::Borrowed(whole.as_bytes()),
            Self::Prefix { from, to } => match path.strip_prefix(from.as_bytes()) {
                Some(rest) => join(to.as_bytes(), rest),
                None => Cow::Borrowed(path),
            },
            Self::Regex { from, to } => match std::str::from_utf8(path) {
                Ok(text) => match from.replace_all(text, &**to) {
                    Cow::Borrowed(_) => Cow::Borrowed(path),
                    Cow::Owned(text) if text.starts_with('/') => without_new_dots(path, text.into_bytes()),
                    Cow::Owned(text) => without_new_dots(path, format!("/{text}").into_bytes()),
                },
                Err(_) => Cow::Borrowed(path),
            },
        }
    }
}

/// What is put together anew makes no dot segments of what had none: the listener has judged the path before, and
/// `/files../x` shall lead nobody out of the folder that stands for `/files`.
fn without_new_dots<'a>(before: &[u8], after: Vec<u8>) -> Cow<'a, [u8]> {
    if has_dot_segments(&after) && !has_dot_segments(before) {
        return Cow::Owned(drop_dot_segments(&after));
    }
    Cow::Owned(after)
}

/// Joins two parts of a path with exactly one slash between them.
fn join<'a>(to: &[u8], rest: &[u8]) -> Cow<'a, [u8]> {
    let mut out = to.strip_suffix(b"/").unwrap_or(to).to_vec();
    match rest.first() {
        None if out.is_empty() => out.push(b'/'),
        None if to.ends_with(b"/") => out.push(b'/'),
        None | Some(b'/') => {}
        Some(_) => out.push(b'/'),
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_makes_no_dot_segments() {
        for (from, to, path, expected) in [
            ("^/files", "/pub/", "/files../secret", "/pub/secret"),
            ("^/files", "/pub/", "/files/a", "/pub//a"),
            ("^/strip", "", "/strip../x", "/x"),
            ("^/half/(.)", "/x/.$1.", "/half/./secret", "/x/.../secret"),
            ("^/half/x", "/x/..", "/half/x/secret", "/x/secret"),
            ("^/code/25", "/x/", "/code/25%2e%2E/y", "/x/y"),
            ("^/a", "/b", "/a...", "/b..."),
            // The listener keeps them, and so does this.
            ("^/a", "/b", "/a/../c", "/b/../c"),
        ] {
            let edit = RewritePath::Regex { from: regex::Regex::new(from).unwrap(), to: to.into() };
            assert_eq!(&*edit.apply(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }
}
