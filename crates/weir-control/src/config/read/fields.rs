//! The keys of one map, checked against the keys that the language has there.

use weir_model::{
    draft::{Setting, Text},
    problem::{Located, Problem, Span, nearest},
};

use super::{
    Reader,
    keys::{self, Keys},
};
use crate::config::yaml::{Entry, Node, Value};

/// The entries of one map.
pub(super) struct Fields<'n> {
    entries: &'n [Entry],
    /// True if one of the keys was refused.
    pub(super) strange: bool,
}

impl<'n> Fields<'n> {
    /// Refuses keys that the language does not have here, or that weir does not do yet.
    pub(super) fn check(reader: &mut Reader, entries: &'n [Entry], keys: &'static Keys) -> Self {
        let mut strange = false;
        for (place, entry) in entries.iter().enumerate() {
            let key = entry.key.value.as_str();
            if keys.ready.contains(&key) {
                continue;
            }
            strange = true;
            let problem = if keys.has_later(key) {
                Problem::not_yet(entry.key.span, format!("`{key}`"))
            } else if let Some((what, why)) = keys.without_default(key) {
                let cause = format!("`{key}` cannot stand in `defaults`: {why}");
                Problem::error(entry.key.span, cause, format!("write it in {what}"))
            } else {
                let before = place.checked_sub(1).and_then(|before| entries.get(before));
                unknown(entry, before, keys)
            };
            reader.problems.push(problem);
        }
        Self { entries, strange }
    }

    /// The entry of a key.
    pub(super) fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key.value == key)
    }

    /// The value of a key.
    pub(super) fn node(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// What `read` makes of a key's value, with the place of key and value together.
    pub(super) fn setting<T>(
        &self,
        reader: &mut Reader,
        key: &str,
        read: impl FnOnce(&mut Reader, &'n Node) -> Option<T>,
    ) -> Setting<T> {
        let entry = self.entry(key)?;
        let value = read(reader, &entry.value)?;
        Some(Located::new(value, together(entry.key.span, entry.value.span)))
    }

    /// The text of a key.
    pub(super) fn text(&self, reader: &mut Reader, key: &str) -> Option<Text> {
        reader.text(self.node(key)?)
    }

    /// One text or several.
    pub(super) fn texts(&self, reader: &mut Reader, key: &str) -> Vec<Text> {
        let nodes = self.node(key).map_or(&[][..], |node| reader.one_or_more(node));
        nodes.iter().filter_map(|node| reader.text(node)).collect()
    }

    /// Any number of texts, none included; a single one needs no brackets.
    pub(super) fn some_texts(&self, reader: &mut Reader, key: &str) -> Vec<Text> {
        match self.node(key) {
            Some(Node { value: Value::List(items), .. }) if items.is_empty() => Vec::new(),
            _ => self.texts(reader, key),
        }
    }

    /// A number of a key, marked where the number stands.
    pub(super) fn number(&self, reader: &mut Reader, key: &str) -> Option<Located<u32>> {
        let node = self.node(key)?;
        reader.number(node).map(|number| Located::new(number, node.span))
    }
}

/// From a key to its value, if both stand on one line.
fn together(key: Span, value: Span) -> Span {
    if key.file == value.file && key.line == value.line && value.column >= key.column {
        return Span { length: value.column + value.length - key.column, ..key };
    }
    key
}

fn unknown(entry: &Entry, before: Option<&Entry>, keys: &'static Keys) -> Problem {
    let key = entry.key.value.as_str();
    let cause = format!("unknown key `{key}` in {}", keys.what);
    let elsewhere = keys::with(key, keys);
    let remedy = if key == "<<" {
        "merge keys are not part of YAML 1.2; repeat the keys, or use an alias for a whole value".into()
    } else if key == "listeners" && std::ptr::eq(keys, &raw const keys::ROUTE) {
        "remove it: this route stands in its listener; routes at the top of a file name theirs".into()
    } else if let Some(near) = nearest(key, keys.ready.iter().chain(keys.later).copied()) {
        format!("did you mean `{near}`?")
    } else if let Some(before) = before.filter(|before| matches!(before.value.value, Value::Empty)) {
        format!("if it belongs to `{}`, indent it", before.key.value)
    } else if let Some(elsewhere) = elsewhere {
        format!("`{key}` belongs in {}", elsewhere.what)
    } else {
        format!("the keys here are {}", listed(keys.ready))
    };
    Problem::error(entry.key.span, cause, remedy)
}

/// Words as they are shown in a sentence.
pub(super) fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
