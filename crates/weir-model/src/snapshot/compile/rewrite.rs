//! How a route changes the target on the way: path and Host.

use std::{collections::BTreeSet, sync::Arc};

use super::{address, condition, kept};
use crate::{
    draft::{PathEditDraft, RouteDraft, Text},
    problem::{Located, Problem},
    route::{Condition, PathMatch, Rewrite, RewritePath, escapes},
    template::{Place, Template},
};

/// How the forwarded target changes.
pub(super) fn rewrite(
    draft: &RouteDraft,
    conditions: &[Condition],
    problems: &mut Vec<Problem>,
) -> Option<Rewrite> {
    let Located { value: draft, .. } = draft.rewrite.as_ref()?;
    Some(Rewrite {
        path: path_edit(&draft.path, conditions, problems),
        host: draft.host.as_ref().and_then(|host| kept(host_and_port(host), problems)),
    })
}

/// How a path changes: at most one way.
pub(super) fn path_edit(
    draft: &PathEditDraft,
    conditions: &[Condition],
    problems: &mut Vec<Problem>,
) -> RewritePath {
    let given = [
        ("path", draft.whole.as_ref().map(|text| text.span)),
        ("path_prefix", draft.prefix.as_ref().map(|text| text.span)),
        ("path_regex", draft.regex.as_ref().map(|(from, _)| from.span)),
    ];
    let mut given = given.into_iter().filter_map(|(key, span)| Some((key, span?)));
    if let (Some((first, span)), Some((second, second_span))) = (given.next(), given.next()) {
        let cause = format!("the path is changed in two ways, by `{first}` and by `{second}`");
        problems.push(
            Problem::error(second_span, cause, "keep one of them").with_related(span, "it is changed here"),
        );
    }
    problems.extend(draft.whole.iter().chain(&draft.prefix).filter_map(literal_variable));
    let edit = match draft {
        PathEditDraft { whole: Some(text), .. } => new_path(text).map(RewritePath::Whole),
        PathEditDraft { prefix: Some(text), .. } => prefix_edit(text, conditions),
        PathEditDraft { regex: Some((from, to)), .. } => regex_edit(from, to),
        _ => Ok(RewritePath::Keep),
    };
    kept(edit, problems).unwrap_or_default()
}

/// A prefix can only be replaced if the route matched exactly one.
fn prefix_edit(text: &Text, conditions: &[Condition]) -> Result<RewritePath, Problem> {
    let to = new_path(text)?;
    let mut prefixes = BTreeSet::new();
    let mut only_prefixes = !conditions.is_empty();
    for condition in conditions {
        let paths = condition.paths().unwrap_or_default();
        only_prefixes &= !paths.is_empty();
        for path in paths {
            match path {
                PathMatch::Prefix(prefix) => _ = prefixes.insert(prefix),
                PathMatch::Exact(_) | PathMatch::Regex(_) => only_prefixes = false,
            }
        }
    }
    let refuse = |cause: &str, remedy: &str| Err(Problem::error(text.span, cause, remedy));
    match (only_prefixes, prefixes.len()) {
        (true, 1) => {
            let from = prefixes.first().map(|prefix| Arc::from(&***prefix)).unwrap_or_default();
            Ok(RewritePath::Prefix { from, to })
        }
        (true, _) => refuse(
            "`path_prefix` replaces the prefix that the route matched, and this route matches several",
            "make one route of each prefix",
        ),
        (false, _) => refuse(
            "`path_prefix` replaces the prefix that the route matched, and this route does not match one",
            "add `path: /something/*` to the match, or use `path` or `path_regex` here",
        ),
    }
}

fn regex_edit(from: &Text, to: &Text) -> Result<RewritePath, Problem> {
    let regex = regex::RegexBuilder::new(&from.value).size_limit(1 << 20).build();
    let from = regex.map_err(|error| condition::not_an_expression(&from.value, from.span, &error))?;
    if let Some(group) = unknown_group(&from, &to.value) {
        let cause = format!("`${group}` names a group that the expression does not have");
        let remedy =
            "groups are numbered from `$1`; write `${1}` before a letter or digit, and `$$` for a dollar";
        return Err(Problem::error(to.span, cause, remedy));
    }
    judge_path_text(to)?;
    Ok(RewritePath::Regex { from, to: to.value.as_str().into() })
}

/// The first group in a replacement that the expression lacks; read by the rules of [`regex::Captures::expand`].
fn unknown_group<'t>(regex: &regex::Regex, to: &'t str) -> Option<&'t str> {
    let mut rest = to;
    while let Some(dollar) = rest.find('$') {
        let after = &rest[dollar + 1..];
        if let Some(escaped) = after.strip_prefix('$') {
            rest = escaped;
            continue;
        }
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let word_end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let group = braced.map_or(&after[..word_end], |(group, _)| group);
        let known = match group.parse::<usize>() {
            Ok(number) => number < regex.captures_len(),
            Err(_) => regex.capture_names().flatten().any(|name| name == group),
        };
        if !known {
            return Some(group);
        }
        rest = after;
    }
    None
}

/// A dollar may stand in a path; before the name of a variable it is hardly meant so.
fn literal_variable(text: &Text) -> Option<Problem> {
    let named = text.value.match_indices('$').find_map(|(at, _)| {
        let rest = &text.value[at + 1..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let variable = Located::new(format!("${}", &rest[..end]), text.span);
        Template::parse(&variable, Place::Log).is_ok().then_some(variable.value)
    })?;
    let cause = format!("a path has no variables: `{named}` is sent as it stands here");
    Some(Problem::warning(text.span, cause, "use `path_regex` to keep parts of the path, or leave it out"))
}

fn new_path(text: &Text) -> Result<Arc<str>, Problem> {
    if !text.value.starts_with('/') {
        return Err(not_a_path(text, "a path begins with `/`"));
    }
    judge_path_text(text)?;
    Ok(text.value.as_str().into())
}

/// Whether this can stand in the path of a request line as it is.
fn judge_path_text(text: &Text) -> Result<(), Problem> {
    if text.value.contains(['?', '#']) {
        return Err(not_a_path(text, "a path ends before `?` and `#`; the query is kept as it came"));
    }
    if text.value.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(not_a_path(text, "spaces and letters beyond ASCII are percent-encoded, as in `%20`"));
    }
    if escapes(text.value.as_bytes()).any(|byte| byte.is_none()) {
        return Err(not_a_path(text, "`%` stands before two hexadecimal digits; the sign itself is `%25`"));
    }
    Ok(())
}

fn not_a_path(text: &Text, remedy: &str) -> Problem {
    Problem::error(text.span, format!("`{}` is not a path to write", text.value.escape_debug()), remedy)
}

pub(super) fn host_and_port(text: &Text) -> Result<Arc<str>, Problem> {
    let (host, port) = match text.value.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text.value.as_str(), None),
    };
    if address::is_host(host) && port.is_none_or(|port| port.parse::<u16>().is_ok()) {
        return Ok(text.value.as_str().into());
    }
    let cause = format!("`{}` is not a Host", text.value);
    Err(Problem::error(
        text.span,
        cause,
        "write a name such as `internal.example`, with `:PORT` if it needs one",
    ))
}
