//! Path patterns.

/// A path pattern.
#[derive(Debug)]
pub enum PathMatch {}
