//! Routes: names, conditions, actions, and what changes on the way.

use std::collections::BTreeMap;

use super::{
    action::action,
    condition, header,
    listener::{Context, normalize},
    name,
    retry::{self, retry},
    rewrite::rewrite,
    shadow, tls, value,
};
use crate::{
    draft::{ActionDraft, ConditionDraft, ListenerDraft, NamedTexts, RouteDraft, Text, filled},
    listener::{Normalize, Protocol},
    problem::{Located, Problem, Span},
    route::{Action, Condition, HeaderEdits, Route},
    status::Registry,
    time::Millis,
};

/// The routes of one listener, in order of evaluation: its own, those it shares, and the short form `pool`, which is a
/// last route that takes the rest.
pub(super) fn routes(
    listener: &ListenerDraft,
    protocol: Protocol,
    context: &Context<'_>,
    registry: &mut Registry,
    problems: &mut Vec<Problem>,
) -> Vec<Route> {
    let short = listener.pool.as_ref().map(|pool| RouteDraft {
        span: pool.span,
        actions: vec![Located::new(ActionDraft::Pool(pool.clone()), pool.span)],
        ..RouteDraft::default()
    });
    let shared = context.shared.of(&listener.name.value);
    let drafts: Vec<_> = listener.routes.iter().chain(shared.iter().copied()).chain(&short).collect();
    let own = listener.routes.len();
    if drafts.is_empty() && !listener.broken && context.shared.complete {
        let cause = format!("the listener `{}` has neither `routes` nor a `pool`", listener.name.value);
        problems.push(Problem::error(listener.name.span, cause, "add `pool: NAME`, or `routes`"));
    }
    let mut taken = given_names(&drafts, problems);
    let mut routes = Vec::with_capacity(drafts.len());
    let mut places = Vec::with_capacity(drafts.len());
    for (number, draft) in drafts.into_iter().enumerate() {
        let before = problems.len();
        draft.conditions.iter().for_each(|condition| tls::matches(condition, listener, protocol, problems));
        let conditions = conditions(draft, protocol, normalize(listener), problems);
        let trusted = !draft.broken && problems.len() == before;
        places.push(shadow::Place {
            span: draft.span,
            trusted,
            shared: (own..own + shared.len()).contains(&number),
        });
        let name = draft
            .name
            .as_ref()
            .map_or_else(|| taken.unique(name::of(&conditions)), |name| name.value.clone());
        refuse_meaningless(draft, protocol, problems);
        let draft = &filled(draft, &context.defaults.route, |route, from| {
            route.fill(from, protocol, forwards(route));
        });
        problems.extend(retry::too_late(draft));
        let action = action(draft, &conditions, protocol, context.pools, problems);
        let mut targets: Vec<_> = action.pools().map(|pool| context.pools.name(pool)).collect();
        if targets.is_empty() {
            targets.push("");
        }
        let status =
            targets.into_iter().map(|pool| registry.route(&listener.name.value, &name, pool)).collect();
        let request_headers =
            header::edits(draft.request_headers.as_ref(), header::Message::Request, problems);
        let response_headers =
            header::edits(draft.response_headers.as_ref(), header::Message::Response, problems);
        routes.push(Route {
            name: name.into(),
            has_variables: has_variables(&action, &[&request_headers, &response_headers]),
            action,
            rewrite: rewrite(draft, &conditions, problems),
            request_headers,
            response_headers,
            grpc_web: value(&draft.grpc_web, false),
            timeout: value(&draft.timeout, Millis::NONE),
            retry: retry(draft.retry.as_ref(), problems),
            conditions,
            status,
        });
    }
    shadow::check(&listener.name.value, &routes, &places, problems);
    routes
}

/// What a route says of messages that it never sees.
fn refuse_meaningless(draft: &RouteDraft, protocol: Protocol, problems: &mut Vec<Problem>) {
    let forwarded = [
        ("request_headers", draft.request_headers.as_ref().map(|setting| setting.span)),
        ("rewrite", draft.rewrite.as_ref().map(|setting| setting.span)),
        ("grpc_web", draft.grpc_web.as_ref().map(|setting| setting.span)),
        ("timeout", draft.timeout.as_ref().map(|setting| setting.span)),
        ("retry", draft.retry.as_ref().map(|setting| setting.span)),
    ];
    let response = [("response_headers", draft.response_headers.as_ref().map(|setting| setting.span))];
    let why = match protocol {
        Protocol::Tcp => "for `protocol: tcp`, which knows no requests",
        Protocol::Tls => "for `protocol: tls`, which knows no requests",
        Protocol::Http | Protocol::Https if !forwards(draft) => {
            "here: the request is answered and not forwarded"
        }
        Protocol::Http | Protocol::Https => return,
    };
    let response = response.into_iter().filter(|_| !protocol.has_requests());
    for (key, span) in forwarded.into_iter().chain(response) {
        if let Some(span) = span {
            problems.push(Problem::error(span, format!("`{key}` has no meaning {why}"), "remove it"));
        }
    }
}

/// True if the request goes on to a backend, as far as can be told.
fn forwards(draft: &RouteDraft) -> bool {
    let first = draft.actions.first();
    first.is_none_or(|action| matches!(action.value, ActionDraft::Pool(_) | ActionDraft::Split(_)))
}

/// True if anything that is written holds a variable.
fn has_variables(action: &Action, edits: &[&HeaderEdits]) -> bool {
    let edited = edits.iter().flat_map(|edits| edits.set.iter().chain(&edits.add));
    let (answered, body) = match action {
        Action::Respond(respond) => (&respond.headers[..], Some(&respond.body.text)),
        _ => (&[][..], None),
    };
    let mut texts = edited.chain(answered).map(|(_, value)| value).chain(body);
    texts.any(|text| text.as_literal().is_none())
}

/// The names that the file gives, which generated ones must stay clear of.
fn given_names(drafts: &[&RouteDraft], problems: &mut Vec<Problem>) -> name::Taken {
    let mut spans: BTreeMap<&str, Span> = BTreeMap::new();
    for text in drafts.iter().filter_map(|draft| draft.name.as_ref()) {
        if text.value.is_empty() {
            problems.push(Problem::error(
                text.span,
                "the name of a route is empty",
                "give it a name, or leave it out",
            ));
        }
        if super::unspeakable(&text.value) {
            let cause = format!("`{}` is not a name for a route", text.value.escape_debug());
            problems.push(Problem::error(text.span, cause, format!("names hold {}", super::UNSPEAKABLE)));
        }
        if let Some(first) = spans.insert(&text.value, text.span) {
            let cause = format!("there are two routes named `{}` in one listener", text.value);
            let problem = Problem::error(text.span, cause, "rename one of them");
            problems.push(problem.with_related(first, "the first one is here"));
        }
    }
    let mut taken = name::Taken::default();
    spans.into_keys().for_each(|name| taken.take(name));
    taken
}

fn conditions(
    draft: &RouteDraft,
    protocol: Protocol,
    normalize: Normalize,
    problems: &mut Vec<Problem>,
) -> Vec<Condition> {
    if !protocol.has_requests() {
        draft.conditions.iter().for_each(|condition| refuse_http_matches(condition, protocol, problems));
    }
    let conditions: Vec<_> =
        draft.conditions.iter().map(|draft| condition::condition(draft, normalize, problems)).collect();
    // One condition that asks nothing takes everything: the others do not matter, and no list says so fastest.
    if conditions.iter().any(|condition| condition.matchers.is_empty()) { Vec::new() } else { conditions }
}

fn refuse_http_matches(condition: &ConditionDraft, protocol: Protocol, problems: &mut Vec<Problem>) {
    let text = |texts: &[Text]| texts.first().map(|text| text.span);
    let pair = |pairs: &[NamedTexts]| pairs.first().map(|(name, _)| name.span);
    let asked = [
        ("host", text(&condition.host)),
        ("path", text(&condition.path)),
        ("method", text(&condition.method)),
        ("headers", pair(&condition.headers)),
        ("query", pair(&condition.query)),
        ("cookies", pair(&condition.cookies)),
        ("grpc", condition.grpc.as_ref().map(|draft| draft.span)),
    ];
    for (key, span) in asked {
        if let Some(span) = span {
            let cause = format!(
                "a match on `{key}` has no meaning for `protocol: {}`, which reads no requests",
                protocol.word()
            );
            problems.push(Problem::error(span, cause, "match on `source`, or use `protocol: http`"));
        }
    }
    condition.not.iter().for_each(|not| refuse_http_matches(not, protocol, problems));
}
