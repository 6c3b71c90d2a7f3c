//! What a reload changes, in words: one line for the log, a page for `weir check --diff`, JSON for programs.

use std::fmt::{Display, Write as _};

use serde_json::{Value, json};
use weir_model::snapshot::diff::{Changes, Diff};

/// Names shown in one line before the rest is counted.
const SHOWN: usize = 8;

/// One line: what changes, or that nothing does.
pub fn line(diff: &Diff) -> String {
    if diff.is_empty() {
        return "nothing changes".to_owned();
    }
    let mut parts = Vec::new();
    let mut part = |verb: &str, names: Vec<String>| {
        if !names.is_empty() {
            parts.push(format!("{verb} {}", shortened(names)));
        }
    };
    let Binds { opened, closed, moved, switched, joined, left, kept: _ } = Binds::of(diff);
    part("binds", opened);
    part("closes", closed);
    part("moves", moved);
    part("drains", switched);
    part("shares", joined);
    part("no longer shares", left);
    for (kind, changes) in kinds(diff) {
        part(&format!("adds {kind}"), changes.added);
        part(&format!("removes {kind}"), changes.removed);
        part(&format!("changes {kind}"), changes.changed);
    }
    part("sets", diff.settings.iter().map(ToString::to_string).collect());
    part("leaves for the next start", diff.next_start.iter().map(ToString::to_string).collect());
    parts.join("; ")
}

/// A line for each thing that changes, and one that counts what stays.
pub fn page(diff: &Diff) -> String {
    let mut out = String::new();
    let mut lines = |verb: &str, kind: &str, names: Vec<String>| {
        for name in names {
            let kind = if kind.is_empty() { String::new() } else { format!("{kind} ") };
            let _ = writeln!(out, "{verb:<8}{kind}{name}");
        }
    };
    let Binds { opened, closed, moved, switched, joined, left, kept } = Binds::of(diff);
    lines("bind", "", opened);
    lines("close", "", closed);
    lines("move", "", moved);
    lines("drain", "", switched);
    lines("share", "", joined);
    lines("leave", "", left);
    lines("keep", "", kept);
    for (kind, changes) in kinds(diff) {
        lines("add", kind, changes.added);
        lines("remove", kind, changes.removed);
        lines("change", kind, changes.changed);
    }
    lines("set", "", diff.settings.iter().map(ToString::to_string).collect());
    let later = |key: &&str| format!("{key}, which takes effect at the next start only");
    lines("wait", "for", diff.next_start.iter().map(later).collect());
    let kept = [
        count(diff.listeners.kept, "listener"),
        count(diff.routes.kept, "route"),
        count(diff.pools.kept, "pool"),
        count(diff.backends.kept, "backend"),
    ];
    let _ = writeln!(out, "keep    {} as they are", kept.join(", "));
    out
}

/// The same for programs.
pub fn json(diff: &Diff) -> Value {
    let Binds { opened, closed, moved, switched, joined, left, kept } = Binds::of(diff);
    let mut value = json!({
        "nothing": diff.is_empty(),
        "binds": {
            "opened": opened, "closed": closed, "moved": moved, "protocol_changed": switched,
            "joined": joined, "left": left, "kept": kept,
        },
        "settings": { "changed": diff.settings, "next_start": diff.next_start },
    });
    for (kind, changes) in [
        ("listeners", of_changes(&diff.listeners, ToString::to_string)),
        ("routes", of_changes(&diff.routes, pair)),
        ("pools", of_changes(&diff.pools, ToString::to_string)),
        ("backends", of_changes(&diff.backends, pair)),
    ] {
        value[kind] = changes;
    }
    value
}

fn of_changes<N>(changes: &Changes<N>, name: impl Fn(&N) -> String) -> Value {
    let changed = changes.changed.iter().map(|(what, keys)| json!({ "name": name(what), "keys": keys }));
    json!({
        "added": changes.added.iter().map(&name).collect::<Vec<_>>(),
        "removed": changes.removed.iter().map(&name).collect::<Vec<_>>(),
        "changed": changed.collect::<Vec<_>>(),
        "kept": changes.kept,
    })
}

/// Binds in words.
struct Binds {
    opened: Vec<String>,
    closed: Vec<String>,
    moved: Vec<String>,
    switched: Vec<String>,
    joined: Vec<String>,
    left: Vec<String>,
    kept: Vec<String>,
}

impl Binds {
    fn of(diff: &Diff) -> Self {
        let binds = &diff.binds;
        let of = |(key, listener): &(_, std::sync::Arc<str>)| with_owner(key, listener);
        Self {
            opened: binds.opened.iter().map(of).collect(),
            closed: binds.closed.iter().map(of).collect(),
            moved: binds.moved.iter().map(|(key, from, to)| format!("{key} from {from} to {to}")).collect(),
            switched: binds.switched.iter().map(of).collect(),
            joined: binds.joined.iter().map(of).collect(),
            left: binds.left.iter().map(of).collect(),
            kept: binds.kept.iter().map(of).collect(),
        }
    }
}

fn with_owner(key: &impl Display, listener: &str) -> String {
    format!("{key} ({listener})")
}

/// Changes of one kind in words.
struct Words {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

impl Words {
    fn of<N>(changes: &Changes<N>, name: impl Fn(&N) -> String) -> Self {
        let keys = |(what, keys): &(N, Vec<&str>)| format!("{} ({})", name(what), keys.join(", "));
        Self {
            added: changes.added.iter().map(&name).collect(),
            removed: changes.removed.iter().map(&name).collect(),
            changed: changes.changed.iter().map(keys).collect(),
        }
    }
}

fn kinds(diff: &Diff) -> [(&'static str, Words); 4] {
    [
        ("listener", Words::of(&diff.listeners, ToString::to_string)),
        ("route", Words::of(&diff.routes, pair)),
        ("pool", Words::of(&diff.pools, ToString::to_string)),
        ("backend", Words::of(&diff.backends, pair)),
    ]
}

fn pair((owner, name): &(std::sync::Arc<str>, std::sync::Arc<str>)) -> String {
    format!("{owner}/{name}")
}

fn shortened(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let shown = names.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
