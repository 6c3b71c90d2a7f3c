//! One condition of a route: every matcher in it holds.

/// Every matcher holds.
#[derive(Debug, Default)]
pub struct Condition {
    /// What must hold.
    pub matchers: Vec<Matcher>,
}

/// One thing asked about a request.
#[derive(Debug)]
pub enum Matcher {}

/// How a text is compared.
#[derive(Debug)]
pub enum TextMatch {}
