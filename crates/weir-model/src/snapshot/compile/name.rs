//! Names for routes that have none: made from the match, so that they stay the same while the match does.

use std::collections::BTreeSet;

use crate::route::{Condition, Matcher, TextMatch};

/// Longer names are cut: they stand in every metric and log line.
const LONGEST: usize = 80;

/// A readable name: `api.example.com/v1/*`, `/v1/*+GET+X-Canary`, `any`. Alternatives are divided by `|`.
pub(super) fn of(conditions: &[Condition]) -> String {
    let name = conditions.iter().map(of_condition).collect::<Vec<_>>().join("|");
    match name.char_indices().nth(LONGEST) {
        _ if name.is_empty() => "any".into(),
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

/// The name, or with `#2`, `#3`, … behind it if it is taken.
pub(super) fn unique(name: String, taken: &BTreeSet<String>) -> String {
    if !taken.contains(&name) {
        return name;
    }
    (2..).map(|number: u64| format!("{name}#{number}")).find(|name| !taken.contains(name)).unwrap_or(name)
}

fn of_condition(condition: &Condition) -> String {
    let mut place = String::new();
    let mut more = Vec::new();
    for matcher in &condition.matchers {
        match matcher {
            Matcher::Host(hosts) => place += &listed(hosts),
            Matcher::Path(paths) => place += &listed(paths),
            other => more.push(detail(other)),
        }
    }
    if place.is_empty() {
        return if more.is_empty() { "any".into() } else { more.join("+") };
    }
    more.insert(0, place);
    more.join("+")
}

fn detail(matcher: &Matcher) -> String {
    match matcher {
        Matcher::Host(hosts) => listed(hosts),
        Matcher::Path(paths) => listed(paths),
        Matcher::Method(methods) => listed(methods),
        Matcher::Header(name, texts) | Matcher::Query(name, texts) | Matcher::Cookie(name, texts) => {
            match &texts[..] {
                [TextMatch::Exact(text)] => format!("{name}={}", text.escape_ascii()),
                _ => name.to_string(),
            }
        }
        Matcher::Source(networks) => listed(&networks.0),
        Matcher::Not(conditions) => format!("not({})", of(conditions)),
    }
}

fn listed<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}
