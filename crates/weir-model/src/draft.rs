//! What a file said, unchecked: every value with its place.

/// An unchecked configuration.
#[derive(Debug, Default)]
pub struct Draft {}
