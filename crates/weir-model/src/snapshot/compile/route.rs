//! Routes: names, conditions, actions, and what changes on the way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{PoolNames, address, condition, header, kept, name, shadow, within};
use crate::{
    draft::{
        ActionDraft, ArmDraft, ConditionDraft, ListenerDraft, PathEditDraft, RedirectDraft, RespondDraft,
        RouteDraft, Text,
    },
    listener::Protocol,
    problem::{Located, Problem, Span},
    route::{
        Action, Condition, HeaderEdits, PathMatch, Redirect, Respond, Rewrite, RewritePath, Route, Split,
    },
    status::Registry,
};

/// The routes of one listener, in order of evaluation; the short form `pool` is a last route that takes the rest.
pub(super) fn routes(
    listener: &ListenerDraft,
    protocol: Protocol,
    pools: &PoolNames<'_>,
    registry: &mut Registry,
    problems: &mut Vec<Problem>,
) -> Vec<Route> {
    let short = listener.pool.as_ref().map(|pool| RouteDraft {
        span: pool.span,
        actions: vec![Located::new(ActionDraft::Pool(pool.clone()), pool.span)],
        ..RouteDraft::default()
    });
    if listener.routes.is_empty() && short.is_none() && !listener.broken {
        let cause = format!("the listener `{}` has neither `routes` nor a `pool`", listener.name.value);
        problems.push(Problem::error(listener.name.span, cause, "add `pool: NAME`, or `routes`"));
    }
    let drafts: Vec<_> = listener.routes.iter().chain(&short).collect();
    let mut taken = given_names(&drafts, problems);
    let mut routes = Vec::with_capacity(drafts.len());
    let mut places = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let before = problems.len();
        let conditions = conditions(draft, protocol, problems);
        let trusted = !draft.broken && problems.len() == before;
        let name = draft.name.as_ref().map_or_else(
            || {
                let name = name::unique(name::of(&conditions), &taken);
                taken.insert(name.clone());
                name
            },
            |name| name.value.clone(),
        );
        places.push(shadow::Place { span: draft.span, trusted });
        let status = registry.route(&listener.name.value, &name);
        let action = action(draft, &conditions, protocol, pools, problems);
        let (request_headers, response_headers, rewrite) = on_the_way(draft, &conditions, protocol, problems);
        routes.push(Route {
            name: name.into(),
            conditions,
            action,
            rewrite,
            request_headers,
            response_headers,
            status,
        });
    }
    shadow::check(&routes, &places, problems);
    routes
}

/// The names that the file gives, which generated ones must stay clear of.
fn given_names(drafts: &[&RouteDraft], problems: &mut Vec<Problem>) -> BTreeSet<String> {
    let mut spans: BTreeMap<&str, Span> = BTreeMap::new();
    for text in drafts.iter().filter_map(|draft| draft.name.as_ref()) {
        if text.value.is_empty() {
            problems.push(Problem::error(
                text.span,
                "the name of a route is empty",
                "give it a name, or leave it out",
            ));
        }
        if let Some(first) = spans.insert(&text.value, text.span) {
            let cause = format!("there are two routes named `{}` in one listener", text.value);
            let problem = Problem::error(text.span, cause, "rename one of them");
            problems.push(problem.with_related(first, "the first one is here"));
        }
    }
    spans.into_keys().map(str::to_owned).collect()
}

fn conditions(draft: &RouteDraft, protocol: Protocol, problems: &mut Vec<Problem>) -> Vec<Condition> {
    if protocol == Protocol::Tcp {
        draft.conditions.iter().for_each(|condition| refuse_http_matches(condition, problems));
    }
    let conditions: Vec<_> =
        draft.conditions.iter().map(|draft| condition::condition(draft, problems)).collect();
    // One condition that asks nothing takes everything: the others do not matter, and no list says so fastest.
    if conditions.iter().any(|condition| condition.matchers.is_empty()) { Vec::new() } else { conditions }
}

fn refuse_http_matches(condition: &ConditionDraft, problems: &mut Vec<Problem>) {
    let text = |texts: &[Text]| texts.first().map(|text| text.span);
    let pair = |pairs: &[crate::draft::NamedTexts]| pairs.first().map(|(name, _)| name.span);
    let asked = [
        ("host", text(&condition.host)),
        ("path", text(&condition.path)),
        ("method", text(&condition.method)),
        ("headers", pair(&condition.headers)),
        ("query", pair(&condition.query)),
        ("cookies", pair(&condition.cookies)),
    ];
    for (key, span) in asked {
        if let Some(span) = span {
            let cause =
                format!("a match on `{key}` has no meaning for `protocol: tcp`, which reads no bytes");
            problems.push(Problem::error(span, cause, "match on `source`, or use `protocol: http`"));
        }
    }
    condition.not.iter().for_each(|not| refuse_http_matches(not, problems));
}

/// The one action; an action that is wrong becomes an empty response, which is never served because compiling fails.
fn action(
    draft: &RouteDraft,
    conditions: &[Condition],
    protocol: Protocol,
    pools: &PoolNames<'_>,
    problems: &mut Vec<Problem>,
) -> Action {
    let nothing = || Action::Respond(Respond { status: 503, body: Arc::default(), headers: Vec::new() });
    let Some(first) = draft.actions.first() else {
        if !draft.broken {
            let remedy = "add one of `pool`, `split`, `redirect`, `respond`";
            problems.push(Problem::error(draft.span, "the route has no action", remedy));
        }
        return nothing();
    };
    if let Some(second) = draft.actions.get(1) {
        let cause =
            format!("the route has two actions, `{}` and `{}`", first.value.word(), second.value.word());
        let problem = Problem::error(second.span, cause, "keep one of them, or make two routes");
        problems.push(problem.with_related(first.span, "the first action is here"));
    }
    if protocol == Protocol::Tcp && !matches!(first.value, ActionDraft::Pool(_) | ActionDraft::Split(_)) {
        let cause =
            format!("`{}` has no meaning for `protocol: tcp`, which knows no requests", first.value.word());
        problems.push(Problem::error(first.span, cause, "use `pool` or `split`, or `protocol: http`"));
    }
    match &first.value {
        ActionDraft::Pool(name) => pools.find(name, problems).map_or_else(nothing, Action::Pool),
        ActionDraft::Split(arms) => Action::Split(split(arms, first.span, draft.broken, pools, problems)),
        ActionDraft::Redirect(draft) => Action::Redirect(redirect(draft, first.span, conditions, problems)),
        ActionDraft::Respond(draft) => Action::Respond(respond(draft, problems)),
    }
}

fn split(
    drafts: &[ArmDraft],
    span: Span,
    broken: bool,
    pools: &PoolNames<'_>,
    problems: &mut Vec<Problem>,
) -> Split {
    let mut arms = Vec::new();
    for arm in drafts {
        let weight = within(&arm.weight, 0..=1_000_000, "the weight", problems).unwrap_or(1);
        if let Some(pool) = arm.pool.as_ref().and_then(|name| pools.find(name, problems)) {
            arms.push((pool, weight));
        }
    }
    let complete = !broken && arms.len() == drafts.len();
    if complete && arms.is_empty() {
        let remedy = "add at least one: `split: [{ pool: v1, weight: 95 }, { pool: v2, weight: 5 }]`";
        problems.push(Problem::error(span, "the split has no pool", remedy));
    } else if complete && arms.iter().all(|(_, weight)| *weight == 0) {
        let cause = "every pool of the split has weight 0, so that none takes traffic";
        problems.push(Problem::error(span, cause, "give at least one of them a weight of 1 or more"));
    }
    Split { arms }
}

fn redirect(
    draft: &RedirectDraft,
    span: Span,
    conditions: &[Condition],
    problems: &mut Vec<Problem>,
) -> Redirect {
    let scheme = draft.scheme.as_ref().filter(|scheme| {
        let known = matches!(scheme.value.as_str(), "http" | "https");
        if !known {
            let cause = format!("`{}` is not a scheme to redirect to", scheme.value);
            problems.push(Problem::error(scheme.span, cause, "write `http` or `https`"));
        }
        known
    });
    let code = draft.code.as_ref().map_or(302, |code| code.value);
    if let (Some(code), false) = (&draft.code, matches!(code, 301 | 302 | 303 | 307 | 308)) {
        let cause = format!("{} is not the code of a redirect", code.value);
        problems.push(Problem::error(code.span, cause, "use 301, 302, 303, 307 or 308"));
    }
    let path = path_edit(&draft.path, conditions, problems);
    let changes = draft.scheme.is_some()
        || draft.host.is_some()
        || draft.port.is_some()
        || draft.path.whole.is_some()
        || draft.path.prefix.is_some();
    if !changes {
        let cause = "the redirect changes nothing, so that clients would go round in circles";
        problems.push(Problem::error(span, cause, "add `scheme`, `host`, `port`, `path` or `path_prefix`"));
    }
    Redirect {
        scheme: scheme.map(|scheme| scheme.value.as_str().into()),
        host: draft.host.as_ref().and_then(|host| kept(plain_host(host), problems)),
        port: within(&draft.port, 1..=65_535, "the port", problems).and_then(|port| u16::try_from(port).ok()),
        path,
        code: u16::try_from(code).unwrap_or(302),
    }
}

fn respond(draft: &RespondDraft, problems: &mut Vec<Problem>) -> Respond {
    let status =
        within(&draft.status, 200..=599, "the status", problems).and_then(|code| u16::try_from(code).ok());
    let status = status.unwrap_or(200);
    if let (Some(body), 204 | 205 | 304) = (&draft.body, status) {
        let cause = format!("a response with status {status} has no body");
        problems.push(Problem::error(body.span, cause, "leave `body` out, or use another status"));
    }
    Respond {
        status,
        body: draft.body.as_ref().map_or_else(Arc::default, |body| body.value.as_bytes().into()),
        headers: header::fields(&draft.headers, header::Message::Response, problems),
    }
}

fn on_the_way(
    draft: &RouteDraft,
    conditions: &[Condition],
    protocol: Protocol,
    problems: &mut Vec<Problem>,
) -> (HeaderEdits, HeaderEdits, Option<Rewrite>) {
    let request = [
        ("request_headers", draft.request_headers.as_ref().map(|edits| edits.span)),
        ("rewrite", draft.rewrite.as_ref().map(|rewrite| rewrite.span)),
    ];
    let response = [("response_headers", draft.response_headers.as_ref().map(|edits| edits.span))];
    let forwards = draft
        .actions
        .first()
        .is_none_or(|action| matches!(action.value, ActionDraft::Pool(_) | ActionDraft::Split(_)));
    let why = match protocol {
        Protocol::Tcp => Some("for `protocol: tcp`, which knows no requests"),
        Protocol::Http if !forwards => Some("here: the request is answered and not forwarded"),
        Protocol::Http => None,
    };
    let response = response.into_iter().filter(|_| protocol == Protocol::Tcp);
    if let Some(why) = why {
        for (key, span) in request.into_iter().chain(response) {
            if let Some(span) = span {
                problems.push(Problem::error(span, format!("`{key}` has no meaning {why}"), "remove it"));
            }
        }
    }
    let rewrite = draft.rewrite.as_ref().map(|rewrite| Rewrite {
        path: path_edit(&rewrite.value.path, conditions, problems),
        host: rewrite.value.host.as_ref().and_then(|host| kept(host_and_port(host), problems)),
    });
    (
        header::edits(draft.request_headers.as_ref(), header::Message::Request, problems),
        header::edits(draft.response_headers.as_ref(), header::Message::Response, problems),
        rewrite,
    )
}

fn path_edit(draft: &PathEditDraft, conditions: &[Condition], problems: &mut Vec<Problem>) -> RewritePath {
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

fn new_path(text: &Text) -> Result<Arc<str>, Problem> {
    let refuse = |remedy: &str| {
        Err(Problem::error(text.span, format!("`{}` is not a path to write", text.value), remedy))
    };
    if !text.value.starts_with('/') {
        return refuse("a path begins with `/`");
    }
    if text.value.contains(['?', '#']) {
        return refuse("a path ends before `?` and `#`; the query is kept as it came");
    }
    if text.value.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return refuse("spaces and letters beyond ASCII are percent-encoded, as in `%20`");
    }
    Ok(text.value.as_str().into())
}

fn plain_host(text: &Text) -> Result<Arc<str>, Problem> {
    let is_host = address::is_name(&text.value) || text.value.parse::<std::net::IpAddr>().is_ok();
    if is_host || (text.value.starts_with('[') && text.value.ends_with(']')) {
        return Ok(text.value.as_str().into());
    }
    let cause = format!("`{}` is not a host", text.value);
    Err(Problem::error(
        text.span,
        cause,
        "write a name such as `www.example.com`; the port has a key of its own",
    ))
}

fn host_and_port(text: &Text) -> Result<Arc<str>, Problem> {
    let (host, port) = match text.value.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text.value.as_str(), None),
    };
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host_fine =
        address::is_name(host) || bracketed.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    if host_fine && port.is_none_or(|port| port.parse::<u16>().is_ok()) {
        return Ok(text.value.as_str().into());
    }
    let cause = format!("`{}` is not a Host", text.value);
    Err(Problem::error(
        text.span,
        cause,
        "write a name such as `internal.example`, with `:PORT` if it needs one",
    ))
}
