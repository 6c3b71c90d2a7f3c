//! Texts with variables of an exchange: `$name`, `${name}`; `$$` is a dollar.
//!
//! Compiled once; rendering appends to a buffer. What a peer sent is escaped where it is put, by [`Escape`]: what the
//! file says itself is never changed.

mod escape;
mod parse;
mod variable;

use std::{fmt, sync::Arc};

pub use escape::Escape;
pub use variable::{Description, Place, Protocols, VARIABLES, Variable, is_variable};

/// A compiled text.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    /// As the file says it.
    source: Arc<str>,
    parts: Arc<[Part]>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Value(Variable),
}

/// What is known of an exchange or a connection.
pub trait Values {
    /// Appends the value of a variable as it is; nothing if there is none.
    fn put(&self, variable: &Variable, out: &mut Vec<u8>);
}

impl Default for Template {
    fn default() -> Self {
        Self::literal("")
    }
}

impl Template {
    /// A text without variables, dollars included.
    pub fn literal(text: &str) -> Self {
        let parts: Vec<_> = (!text.is_empty()).then(|| Part::Text(text.into())).into_iter().collect();
        Self { source: text.replace('$', "$$").into(), parts: parts.into() }
    }

    /// The text, if it is the same for every exchange.
    #[inline]
    pub fn as_literal(&self) -> Option<&str> {
        match &*self.parts {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// As the file says it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Every variable in it, in order.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Value(variable) => Some(variable),
        })
    }

    /// Appends the text with every value escaped. Where a value is empty `absent` is written.
    pub fn render(&self, values: &impl Values, escape: Escape, absent: &str, out: &mut Vec<u8>) {
        for part in &*self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Value(variable) => {
                    let start = out.len();
                    values.put(variable, out);
                    if out.len() == start {
                        out.extend_from_slice(absent.as_bytes());
                    } else {
                        escape.apply(out, start);
                    }
                }
            }
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

#[cfg(test)]
mod tests;
