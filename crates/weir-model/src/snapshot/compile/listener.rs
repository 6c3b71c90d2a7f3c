//! Listeners: what is bound, time-outs and limits, and which keys mean nothing for the protocol.

use std::sync::Arc;

use super::{PoolNames, address, kept, route, value, within};
use crate::{
    draft::ListenerDraft,
    listener::{Listener, ListenerLimits, Protocol, Timeouts},
    problem::{Problem, Span},
    route::RouteTable,
    status::Registry,
};

/// One listener.
pub(super) fn listener(
    draft: &ListenerDraft,
    pools: &PoolNames<'_>,
    registry: &mut Registry,
    problems: &mut Vec<Problem>,
) -> Listener {
    let missing = |key: &str, remedy: &str| {
        let cause = format!("the listener `{}` has no `{key}`", draft.name.value);
        Problem::error(draft.name.span, cause, remedy)
    };
    if draft.binds.is_empty() && !draft.broken {
        problems.push(missing("bind", "add an address: `bind: \":8080\"`"));
    }
    if draft.protocol.is_none() && !draft.broken {
        problems.push(missing("protocol", "add `protocol: http` or `protocol: tcp`"));
    }
    let binds =
        draft.binds.iter().filter_map(|text| kept(address::binds(text), problems)).flatten().collect();
    let protocol = draft.protocol.as_ref().map_or(Protocol::Http, |protocol| protocol.value);
    if draft.protocol.as_ref().is_some_and(|protocol| protocol.value == Protocol::Tcp) {
        refuse_http_keys(draft, problems);
    }
    let trusted = draft.trusted_proxies.iter().flat_map(|networks| &networks.value);
    Listener {
        name: draft.name.value.as_str().into(),
        binds,
        protocol,
        timeouts: timeouts(draft, protocol),
        limits: limits(draft, problems),
        trusted_proxies: address::networks(trusted, problems),
        routes: RouteTable::new(
            route::routes(draft, protocol, pools, registry, problems).into_iter().map(Arc::new).collect(),
        ),
        status: registry.listener(&draft.name.value),
    }
}

fn timeouts(draft: &ListenerDraft, protocol: Protocol) -> Timeouts {
    let defaults = Timeouts::defaults(protocol);
    let draft = &draft.timeouts;
    Timeouts {
        header: value(&draft.header, defaults.header),
        idle: value(&draft.idle, defaults.idle),
        body_idle: value(&draft.body_idle, defaults.body_idle),
        body_min_rate: value(&draft.body_min_rate, defaults.body_min_rate),
        send_idle: value(&draft.send_idle, defaults.send_idle),
        tunnel: value(&draft.tunnel, defaults.tunnel),
    }
}

fn limits(draft: &ListenerDraft, problems: &mut Vec<Problem>) -> ListenerLimits {
    let defaults = ListenerLimits::default();
    let bytes = within(&draft.limits.header_bytes, 1024..=1 << 20, "`header_bytes`", problems);
    let count = within(&draft.limits.headers, 1..=1000, "`headers`", problems);
    ListenerLimits {
        header_bytes: bytes.map_or(defaults.header_bytes, |bytes| bytes as usize),
        headers: count.map_or(defaults.headers, |count| count as usize),
        body: value(&draft.limits.body, defaults.body),
    }
}

/// What only HTTP has means nothing on a byte stream.
fn refuse_http_keys(draft: &ListenerDraft, problems: &mut Vec<Problem>) {
    let span = |key: &'static str, span: Option<Span>| span.map(|span| (key, span));
    let timeouts = &draft.timeouts;
    let limits = &draft.limits;
    let given = [
        span("timeouts.header", timeouts.header.as_ref().map(|setting| setting.span)),
        span("timeouts.body_idle", timeouts.body_idle.as_ref().map(|setting| setting.span)),
        span("timeouts.body_min_rate", timeouts.body_min_rate.as_ref().map(|setting| setting.span)),
        span("timeouts.tunnel", timeouts.tunnel.as_ref().map(|setting| setting.span)),
        span("limits.header_bytes", limits.header_bytes.as_ref().map(|setting| setting.span)),
        span("limits.headers", limits.headers.as_ref().map(|setting| setting.span)),
        span("limits.body", limits.body.as_ref().map(|setting| setting.span)),
        span("trusted_proxies", draft.trusted_proxies.as_ref().map(|setting| setting.span)),
    ];
    if let Some(send_idle) = &timeouts.send_idle {
        problems.push(Problem::not_yet(send_idle.span, "`send_idle` for `protocol: tcp`"));
    }
    for (key, span) in given.into_iter().flatten() {
        let cause = format!("`{key}` has no meaning for `protocol: tcp`, which knows no requests");
        problems.push(Problem::error(span, cause, "remove it, or use `protocol: http`"));
    }
}
