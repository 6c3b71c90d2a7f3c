//! How the path of a request is tidied before it is matched. The same path is forwarded: what a route was chosen for is
//! what the backend gets.

/// What happens to a path, in this order: encoded slashes, double slashes, dot segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Normalize {
    /// `%2F` in a path.
    pub encoded_slash: EncodedSlash,
    /// `//` in a path.
    pub double_slash: DoubleSlash,
    /// `.` and `..` as segments of a path, with their dots encoded or not.
    pub dot_segments: DotSegments,
}

/// What becomes of `.` and `..` (RFC 3986 section 5.2.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DotSegments {
    /// They are carried out: `/public/../admin` is `/admin`.
    #[default]
    Resolve,
    /// They stay. A backend that carries them out itself then serves what no route was asked about.
    Keep,
    /// The request is answered with 400.
    Reject,
}

/// What becomes of `%2F`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncodedSlash {
    /// It stays, as part of its segment.
    #[default]
    Keep,
    /// It becomes a slash.
    Decode,
    /// The request is answered with 400.
    Reject,
}

/// What becomes of slashes that follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DoubleSlash {
    /// They stay, with empty segments between them.
    #[default]
    Keep,
    /// They become one.
    Merge,
}
