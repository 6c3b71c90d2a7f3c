//! The configuration language: nodes to a draft. One file per kind of object.
//!
//! Reading judges form only (which keys there are, what a duration looks like) and collects every problem; what
//! the values mean together is for weir-model's compile.

mod defaults;
mod discover;
mod environment;
mod fields;
mod file;
pub(super) mod keys;
mod listener;
mod log;
mod pool;
mod process;
mod retry;
mod route;
mod scalar;
mod tls;

use std::{path::PathBuf, sync::Arc};

use weir_model::{
    draft::{Draft, Text},
    problem::{Located, Problem, Severity, Span},
};

use self::fields::Fields;
pub(super) use self::{
    discover::list,
    file::{content, remedy as unreadable},
    scalar::parse_duration,
};
use super::{
    Loaded, Surroundings,
    yaml::{Node, Value},
};

/// Where a file stands.
#[derive(Clone)]
pub(super) struct Place {
    /// The folder that its paths are relative to.
    pub(super) folder: PathBuf,
    /// What it is read in.
    pub(super) surroundings: Arc<Surroundings>,
    /// True if there is no other file.
    pub(super) alone: bool,
}

/// Adds what one file says to what was read, and returns what it includes.
pub(super) fn read(root: &Node, place: Place, loaded: &mut Loaded) -> Vec<Text> {
    let mut reader = Reader { problems: Vec::new(), place, paths: Vec::new() };
    let included = whole(&mut reader, root, &mut loaded.draft);
    loaded.problems.append(&mut reader.problems);
    reader.paths.iter().for_each(|path| loaded.files.watch(path));
    included
}

fn whole(reader: &mut Reader, root: &Node, draft: &mut Draft) -> Vec<Text> {
    if let (Value::Empty, false) = (&root.value, reader.place.alone) {
        return Vec::new();
    }
    if let Value::Empty = root.value {
        let remedy = "the smallest useful file names a listener and a pool, as `examples/` shows";
        reader.error(root.span, "the file says nothing", remedy);
    } else if let Some(fields) = reader.fields(root, &keys::TOP) {
        listener::listeners(reader, &fields, draft);
        pool::pools(reader, &fields, draft);
        route::shared(reader, &fields, draft);
        defaults::defaults(reader, &fields, &mut draft.defaults);
        process::process(reader, &fields, &mut draft.process);
        log::logs(reader, &fields, &mut draft.process.logs);
        let (included, broken) = reader.watched(|reader| fields.some_texts(reader, "include"));
        // A misspelt `pools` leaves every pool unread: then no name can be called unknown.
        let strange = fields.strange;
        draft.listeners_incomplete |= broken || strange && fields.entry("listeners").is_none();
        draft.pools_incomplete |= broken || strange && fields.entry("pools").is_none();
        draft.routes_incomplete |= broken || strange && fields.entry("routes").is_none();
        return included;
    }
    draft.listeners_incomplete = true;
    draft.pools_incomplete = true;
    draft.routes_incomplete = true;
    Vec::new()
}

/// Collects problems while nodes are read.
struct Reader {
    problems: Vec<Problem>,
    place: Place,
    /// Files that were asked for.
    paths: Vec<PathBuf>,
}

impl Reader {
    fn error(&mut self, span: Span, cause: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem::error(span, cause, remedy));
    }

    /// Runs `read` and tells whether it found any error.
    fn watched<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> (T, bool) {
        let before = self.problems.len();
        let value = read(self);
        (value, self.problems[before..].iter().any(|problem| problem.severity == Severity::Error))
    }

    fn expected(&mut self, what: &str, node: &Node) {
        let remedy = match &node.value {
            Value::List(items) if matches!(items.first().map(|item| &item.value), Some(Value::Map(_))) => {
                "a text that begins with `[` needs quotes"
            }
            Value::Map(_) if what.starts_with("a text") => "a text that begins with `{` needs quotes",
            Value::Empty => "write it behind the key, or remove the key",
            Value::Scalar { .. } | Value::Map(_) if what.starts_with("a list") => {
                "write it in brackets, `[…]`, or on lines that begin with `- `"
            }
            Value::Scalar { text, .. } if text.is_empty() => "write it between the quotes, or remove the key",
            _ => "",
        };
        self.error(node.span, format!("expected {what}, found {}", found(node)), remedy);
    }

    /// The keys of a map; those that are unknown or not done yet are refused here.
    fn fields<'n>(&mut self, node: &'n Node, keys: &'static keys::Keys) -> Option<Fields<'n>> {
        match &node.value {
            Value::Map(entries) => Some(Fields::check(self, entries, keys)),
            _ => {
                let cause = format!("expected {} as a map, found {}", keys.what, found(node));
                let remedy = match keys.ready {
                    [] => "write `{}`: it has no keys".to_owned(),
                    keys => format!("its keys are {}", fields::listed(keys)),
                };
                self.error(node.span, cause, remedy);
                None
            }
        }
    }

    /// A map whose keys are names that the user gives.
    fn named<'n>(&mut self, node: &'n Node, what: &str) -> Vec<(Located<String>, &'n Node)> {
        match &node.value {
            Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), &entry.value)).collect(),
            Value::Empty => Vec::new(),
            _ => {
                self.expected(&format!("a map of {what}"), node);
                Vec::new()
            }
        }
    }

    /// A list.
    fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.value {
            Value::List(items) => items,
            _ => {
                self.expected(&format!("a list of {what}"), node);
                &[]
            }
        }
    }

    /// One thing, or a list of at least one.
    fn one_or_more<'n>(&mut self, node: &'n Node) -> &'n [Node] {
        match &node.value {
            Value::List(items) if items.is_empty() => {
                self.error(node.span, "the list is empty", "write at least one value, or remove the key");
                items
            }
            Value::List(items) => items,
            _ => std::slice::from_ref(node),
        }
    }
}

/// What a node is, for "expected …, found …".
fn found(node: &Node) -> String {
    match &node.value {
        Value::Empty => "nothing".into(),
        Value::Scalar { text, plain: true } => format!("`{text}`"),
        Value::Scalar { text, plain: false } => format!("the text `{text}`"),
        Value::List(_) => "a list".into(),
        Value::Map(_) => "a map".into(),
    }
}
