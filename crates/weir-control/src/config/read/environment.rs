//! `${NAME}` and `${NAME:-default}`: values from the environment.

use std::borrow::Cow;

use weir_model::problem::{Problem, Span};

use super::Reader;

/// True for the number of a group of an expression, as in `${1}`.
pub(super) fn is_group(inner: &str) -> bool {
    inner.starts_with(|c: char| c.is_ascii_digit())
}

impl Reader {
    /// The text with its variables replaced. `$$`, which is a dollar, is left for the caller, and dollars that come from
    /// the environment are doubled, so that they are not read as something else. `kept` tells
    /// which braces mean something else and stay.
    pub(super) fn expand<'t>(
        &mut self,
        text: &'t str,
        span: Span,
        kept: fn(&str) -> bool,
    ) -> Option<Cow<'t, str>> {
        if !text.contains("${") {
            return Some(Cow::Borrowed(text));
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            let Some(inner) = from.strip_prefix("${") else {
                // A dollar that is followed by another one, or that stands for itself.
                let length = if from.starts_with("$$") { 2 } else { 1 };
                out.push_str(&from[..length]);
                rest = &from[length..];
                continue;
            };
            let Some((inner, after)) = inner.split_once('}') else {
                let remedy = "add `}`; `$$` is a dollar that stands for itself";
                self.error(span, "`${` begins an environment variable and is not closed", remedy);
                return None;
            };
            if kept(inner) {
                out.push_str(&from[..inner.len() + 3]);
            } else {
                out.push_str(&self.variable(inner, span)?.replace('$', "$$"));
            }
            rest = after;
        }
        out.push_str(rest);
        Some(Cow::Owned(out))
    }

    /// What `NAME` or `NAME:-default` stands for.
    fn variable(&mut self, inner: &str, span: Span) -> Option<String> {
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        let word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if name.is_empty() || !word || name.starts_with(|c: char| c.is_ascii_digit()) {
            let cause = format!("`${{{inner}}}` names no environment variable");
            let remedy = "write `${NAME}` or `${NAME:-default}`; `$$` is a dollar that stands for itself";
            self.error(span, cause, remedy);
            return None;
        }
        if default.is_some_and(|default| default.replace("$$", "").contains("${")) {
            let cause =
                format!("the default of `{name}` holds another variable, which would not be replaced");
            self.error(
                span,
                cause,
                "write the default out, or give it to the variable where weir is started",
            );
            return None;
        }
        let value = self.place.surroundings.variables.get(name);
        match (value, default) {
            // As in a shell, a variable that is empty takes the default too.
            (Some(value), default) if !value.is_empty() || default.is_none() => Some(value.clone()),
            (_, Some(default)) => Some(default.replace("$$", "$")),
            (_, None) => {
                let cause = format!("the environment variable `{name}` is not set");
                let remedy = format!("set it, or write what to use without it: `${{{name}:-…}}`");
                self.problems.push(Problem::error(span, cause, remedy));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

    use super::*;
    use crate::config::{Surroundings, read::Place};

    fn expanded(text: &str, kept: fn(&str) -> bool) -> Result<String, String> {
        let variables = [("PORT", "8080"), ("EMPTY", ""), ("MONEY", "a$b"), ("BRACES", "${PORT}")]
            .map(|(k, v)| (k.into(), v.into()));
        let surroundings =
            Arc::new(Surroundings { variables: BTreeMap::from(variables), ..Surroundings::default() });
        let place = Place { folder: PathBuf::new(), surroundings, alone: true };
        let mut reader = Reader { problems: Vec::new(), place, paths: Vec::new() };
        let text = reader.expand(text, Span::default(), kept).map(Cow::into_owned);
        text.ok_or_else(|| reader.problems[0].cause.clone())
    }

    #[test]
    fn variables_are_replaced_once_and_dollars_stay() {
        for (text, expected) in [
            ("plain", "plain"),
            (":${PORT}", ":8080"),
            ("${PORT}${PORT}", "80808080"),
            ("${NONE:-9}", "9"),
            ("${NONE:-}", ""),
            ("${EMPTY:-full}", "full"),
            ("${EMPTY}", ""),
            ("$${PORT}", "$${PORT}"),
            ("$$${PORT}", "$$8080"),
            ("${MONEY}", "a$$b"),
            ("${BRACES}", "$${PORT}"),
            ("${NONE:-a$$b}", "a$$b"),
            ("$x ${PORT} y$", "$x 8080 y$"),
        ] {
            assert_eq!(expanded(text, |_| false).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn groups_of_an_expression_are_no_variables() {
        assert_eq!(expanded("${1}/${PORT}", is_group).as_deref(), Ok("${1}/8080"));
        assert!(expanded("${1}", |_| false).is_err());
    }

    #[test]
    fn what_is_no_variable_or_not_set_is_refused() {
        for text in [
            "${NONE}",
            "${PORT",
            "${}",
            "${A-b}",
            "${ PORT }",
            "${1}",
            "${:-x}",
            "${NONE:-${PORT}}",
            "${PORT:-${NONE}}",
        ] {
            assert!(expanded(text, |_| false).is_err(), "{text}");
        }
    }
}
