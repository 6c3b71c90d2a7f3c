//! Text to template, or what is wrong with it.

use super::{Part, Place, Template, VARIABLES, Variable};
use crate::{
    draft::Text,
    problem::{Problem, nearest},
};

impl Template {
    /// Compiles a text that stands in `place`.
    ///
    /// # Errors
    /// A `$` that begins no variable, an unknown one, or one whose value is not known there yet.
    pub fn parse(text: &Text, place: Place) -> Result<Self, Problem> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text.value.as_str();
        while let Some((before, after)) = rest.split_once('$') {
            plain.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                plain.push('$');
                rest = after;
                continue;
            }
            let (name, after) = named(after).map_err(|(cause, remedy)| wrong(text, cause, remedy))?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain).into()));
            }
            parts.push(Part::Value(variable(text, name, place)?));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Ok(Self { source: text.value.as_str().into(), parts: parts.into() })
    }
}

fn wrong(text: &Text, cause: impl Into<String>, remedy: impl Into<String>) -> Problem {
    Problem::error(text.span, cause, remedy)
}

/// The name that `text`, which follows a dollar, begins with, and what follows it.
fn named(text: &str) -> Result<(&str, &str), (&'static str, &'static str)> {
    if let Some(braced) = text.strip_prefix('{') {
        let unclosed = ("`${` is not closed", "write `${name}`, or `$$` for a dollar");
        return braced.split_once('}').filter(|(name, _)| !name.is_empty()).ok_or(unclosed);
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    if end == 0 {
        return Err(("`$` begins a variable here", "write `$$` for a dollar"));
    }
    Ok(text.split_at(end))
}

fn variable(text: &Text, name: &str, place: Place) -> Result<Variable, Problem> {
    let Some((variable, from)) = Variable::find(name) else {
        let names = VARIABLES.iter().map(|row| row.name);
        let plain = names.filter(|name| !name.ends_with('>'));
        let remedy = match nearest(name, plain) {
            Some(near) => format!("did you mean `${near}`? `$$` is a dollar"),
            None => "docs/logging.md lists the variables; write `$$` for a dollar".to_owned(),
        };
        return Err(wrong(text, format!("there is no variable `${name}`"), remedy));
    };
    if place < from {
        let cause = format!("`${name}` is not known yet in {}", place.words());
        return Err(wrong(text, cause, format!("it is first known in {}", from.words())));
    }
    Ok(match variable {
        // Field names have no `_` that a variable could mean: weir drops such fields of requests.
        Variable::Header(name) => Variable::Header(field_name(&name)),
        Variable::ResponseHeader(name) => Variable::ResponseHeader(field_name(&name)),
        other => other,
    })
}

fn field_name(name: &str) -> Box<str> {
    name.replace('_', "-").to_ascii_lowercase().into()
}
