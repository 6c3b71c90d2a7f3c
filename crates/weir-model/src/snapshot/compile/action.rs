//! Actions: what becomes of a request that a route took.

use std::sync::Arc;

use super::{PoolNames, address, header, kept, rewrite::path_edit, within};
use crate::{
    draft::{ActionDraft, ArmDraft, RedirectDraft, RespondDraft, RouteDraft, Text},
    listener::Protocol,
    problem::{Problem, Span},
    route::{Action, Body, Condition, Matcher, PathMatch, Redirect, Respond, RewritePath, Split},
    template::{Escape, Place, Template},
};

/// The one action; an action that is wrong becomes an empty response, which is never served because compiling fails.
pub(super) fn action(
    draft: &RouteDraft,
    conditions: &[Condition],
    protocol: Protocol,
    pools: &PoolNames<'_>,
    problems: &mut Vec<Problem>,
) -> Action {
    let nothing = || Action::Respond(Respond { status: 503, body: Body::default(), headers: Vec::new() });
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
    if !protocol.has_requests() && !matches!(first.value, ActionDraft::Pool(_) | ActionDraft::Split(_)) {
        let cause = format!(
            "`{}` has no meaning for `protocol: {}`, which knows no requests",
            first.value.word(),
            protocol.word()
        );
        problems.push(Problem::error(first.span, cause, "use `pool` or `split`, or `protocol: http`"));
    }
    match &first.value {
        ActionDraft::Pool(name) => pools.find(name, problems).map_or_else(nothing, Action::Pool),
        ActionDraft::Split(arms) => Action::Split(split(arms, first.span, draft.broken, pools, problems)),
        ActionDraft::Redirect(redirect) => {
            let redirect = self::redirect(redirect, first.span, conditions, problems);
            if draft.response_headers.is_none() && leads_back(&redirect, conditions) {
                let cause =
                    "the redirect leads to what was asked for, so that clients would go round in circles";
                problems.push(Problem::error(
                    first.span,
                    cause,
                    "name another path, or a `host` or `scheme`",
                ));
            }
            Action::Redirect(redirect)
        }
        ActionDraft::Respond(respond) => {
            let respond = self::respond(respond, draft, problems);
            if respond.status < 300 && conditions.iter().any(Condition::names_connect) {
                let cause =
                    "a 2xx to CONNECT promises a tunnel, and there is none behind an answer of its own";
                let remedy = "answer with another status, or name a pool";
                problems.push(Problem::error(first.span, cause, remedy));
            }
            Action::Respond(respond)
        }
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

/// True if every request that the route takes is sent to where it came to. Without that being certain, false: what is asked
/// again may have another method, other header fields or cookies.
fn leads_back(redirect: &Redirect, conditions: &[Condition]) -> bool {
    if redirect.scheme.is_some() || redirect.host.is_some() || redirect.port.is_some() {
        return false;
    }
    let stays = |matcher: &Matcher| {
        matches!(matcher, Matcher::Host(_) | Matcher::Path(_) | Matcher::Source(_) | Matcher::Query(..))
    };
    if !conditions.iter().flat_map(|condition| &condition.matchers).all(stays) {
        return false;
    }
    match &redirect.path {
        RewritePath::Prefix { from, to } => from == to || from.is_empty() && &**to == "/",
        RewritePath::Whole(whole) => {
            let is_it = |path: &PathMatch| matches!(path, PathMatch::Exact(path) if **path == **whole);
            !conditions.is_empty()
                && conditions.iter().all(|condition| {
                    condition.paths().is_some_and(|paths| !paths.is_empty() && paths.iter().all(is_it))
                })
        }
        RewritePath::Keep | RewritePath::Regex { .. } => false,
    }
}

fn respond(draft: &RespondDraft, route: &RouteDraft, problems: &mut Vec<Problem>) -> Respond {
    let status =
        within(&draft.status, 200..=599, "the status", problems).and_then(|code| u16::try_from(code).ok());
    let status = status.unwrap_or(200);
    if let (Some(body), 204 | 205 | 304) = (&draft.body, status) {
        let cause = format!("a response with status {status} has no body");
        problems.push(Problem::error(body.span, cause, "leave `body` out, or use another status"));
    }
    let text = draft.body.as_ref().and_then(|body| kept(Template::parse(body, Place::Answer), problems));
    Respond {
        status,
        body: body(text.unwrap_or_default(), draft, route),
        headers: header::fields(&draft.headers, header::Message::Response, Place::Answer, problems),
    }
}

/// A body with the escaping that its Content-Type asks for. What is not known to be harmless is treated as HTML.
fn body(text: Template, draft: &RespondDraft, route: &RouteDraft) -> Body {
    if text.as_literal().is_some() {
        return Body { text, ..Body::default() };
    }
    let edits = route.response_headers.as_ref().map(|edits| &edits.value);
    let edits = edits.into_iter().flat_map(|edits| edits.set.iter().chain(&edits.add));
    let mut types = draft.headers.iter().chain(edits);
    let content_type = types.find(|(name, _)| name.value.eq_ignore_ascii_case("content-type"));
    let Some((_, content_type)) = content_type else {
        return Body { text, escape: Escape::None, content_type: Some("text/plain; charset=utf-8") };
    };
    let content_type = content_type.value.to_ascii_lowercase();
    let escape = match content_type.split(';').next().unwrap_or_default().trim() {
        "text/plain" => Escape::None,
        json if json.ends_with("/json") || json.ends_with("+json") => Escape::Json,
        _ => Escape::Html,
    };
    Body { text, escape, content_type: None }
}

fn plain_host(text: &Text) -> Result<Arc<str>, Problem> {
    if address::is_host(&text.value) {
        return Ok(text.value.as_str().into());
    }
    let cause = format!("`{}` is not a host", text.value);
    Err(Problem::error(
        text.span,
        cause,
        "write a name such as `www.example.com`; the port has a key of its own",
    ))
}
