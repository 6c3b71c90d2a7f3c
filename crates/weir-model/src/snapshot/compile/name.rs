//! Names for routes that have none: made from the match, so that they stay the same while the match does.

use std::collections::BTreeMap;

use crate::{
    route::{Condition, Matcher, TextMatch},
    secret::is_secret,
};

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

/// The names that are taken in one listener.
#[derive(Debug, Default)]
pub(super) struct Taken(BTreeMap<String, u64>);

impl Taken {
    /// Takes a name that the file gives.
    pub(super) fn take(&mut self, name: &str) {
        self.0.entry(name.to_owned()).or_insert(1);
    }

    /// Takes the name, or with `#2`, `#3`, … behind it if it is taken.
    pub(super) fn unique(&mut self, name: String) -> String {
        let Some(last) = self.0.get_mut(&name) else {
            self.take(&name);
            return name;
        };
        *last += 1;
        let numbered = format!("{name}#{last}");
        // Somebody may have given just that name; then the next number is tried.
        if self.0.contains_key(&numbered) {
            return self.unique(name);
        }
        self.take(&numbered);
        numbered
    }
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
                [TextMatch::Exact(text)] if !is_secret(name) => format!("{name}={}", text.escape_ascii()),
                _ => name.to_string(),
            }
        }
        Matcher::Source(networks) => listed(networks.as_slice()),
        Matcher::ServerName(hosts) => format!("sni:{}", listed(hosts)),
        Matcher::Protocol(names) => format!("alpn:{}", listed(names)),
        Matcher::Certificate(_) => "client_cert".into(),
        Matcher::Grpc(calls) => format!("grpc:{calls}"),
        Matcher::Not(conditions) => format!("not({})", of(conditions)),
    }
}

fn listed<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::Taken;

    #[test]
    fn names_are_numbered_around_those_that_are_given() {
        let mut taken = Taken::default();
        taken.take("any#2");
        let names: Vec<_> = (0..4).map(|_| taken.unique("any".into())).collect();
        assert_eq!(names, ["any", "any#3", "any#4", "any#5"]);
    }
}
