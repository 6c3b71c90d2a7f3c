//! What is wrong with a configuration, and where: the only way compiling says no.

use std::fmt;

/// A place in one of the files a draft was read from. Lines and columns count from 1; columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Index into the list of files that the reader kept.
    pub file: u16,
    /// Line, from 1; 0 when the thing stands in no file (a default).
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// How many characters the marked text is long; at least 1.
    pub length: u32,
}

/// A value together with the place it was written at.
#[derive(Clone, Debug, Default)]
pub struct Located<T> {
    /// The value itself.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Located<T> {
    /// A value at a place.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration can run, but hardly as meant.
    Warning,
    /// The configuration is refused.
    Error,
}

/// One problem: where, why, and what to do about it.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Whether it refuses the configuration.
    pub severity: Severity,
    /// The place to mark.
    pub span: Span,
    /// What is wrong, in one plain sentence without a full stop.
    pub cause: String,
    /// What to do about it; empty when the cause says it all.
    pub remedy: String,
    /// A second place that belongs to the problem (the earlier definition), with its caption.
    pub related: Option<(Span, String)>,
}

impl Problem {
    /// A problem that refuses the configuration.
    pub fn error(span: Span, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Error, span, cause: cause.into(), remedy: remedy.into(), related: None }
    }

    /// A problem that lets the configuration run.
    pub fn warning(span: Span, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, cause, remedy) }
    }

    /// A part of the configuration language that weir does not do yet. Nothing is accepted and ignored.
    pub fn not_yet(span: Span, what: impl fmt::Display) -> Self {
        Self::error(
            span,
            format!("{what} is part of the configuration language but this version does not do it yet"),
            "remove it",
        )
    }

    /// The same problem at another place.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = span;
        self
    }

    /// The same problem, pointing at a second place too.
    #[must_use]
    pub fn with_related(mut self, span: Span, caption: impl Into<String>) -> Self {
        self.related = Some((span, caption.into()));
        self
    }
}

/// The name that was probably meant: the nearest of the candidates, if it is near enough to be a slip of the hand.
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_suggested() {
        let known = ["timeouts", "trusted_proxies", "tls"];
        assert_eq!(nearest("timeuots", known), Some("timeouts"));
        assert_eq!(nearest("TLS", known), Some("tls"));
        assert_eq!(nearest("pool", known), None);
        assert_eq!(nearest("x", known), None);
    }
}
