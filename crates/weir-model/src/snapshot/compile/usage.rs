//! Pools against the listeners that use them: pools nobody uses, and keys that mean nothing for their users.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{balance, overlap::pools_of};
use crate::{
    draft::{Draft, PoolDraft, Text},
    listener::{Listener, Protocol},
    pool::{Backend, Endpoint, Pool, PoolIndex},
    problem::{Problem, Severity, Span},
};

/// Warns about unused pools, and refuses HTTP keys in pools that only byte streams use.
pub(super) fn pools(
    draft: &Draft,
    listeners: &[Arc<Listener>],
    pool_drafts: &BTreeMap<&str, &PoolDraft>,
    pools: &[Arc<Pool>],
    problems: &mut Vec<Problem>,
) {
    let used_by = |requests: bool| -> BTreeSet<PoolIndex> {
        let listeners = listeners.iter().filter(|listener| listener.protocol.has_requests() == requests);
        listeners.flat_map(|listener| pools_of(listener)).collect()
    };
    let (http, tcp) = (used_by(true), used_by(false));
    let of_tls = listeners.iter().filter(|listener| listener.protocol == Protocol::Tls);
    let passed_through: BTreeSet<PoolIndex> = of_tls.flat_map(|listener| pools_of(listener)).collect();
    // A listener that could not be read may use any pool, and one with a misspelt name meant one of them.
    let certain = !draft.listeners_incomplete
        && draft.listeners.iter().all(|listener| !listener.broken)
        && !draft.routes_incomplete
        && draft.routes.iter().all(|shared| !shared.route.broken)
        && problems.iter().all(|problem| problem.severity != Severity::Error);
    for (index, (name, pool)) in pool_drafts.iter().enumerate() {
        match (http.contains(&index), tcp.contains(&index)) {
            (false, false) if certain => {
                let cause = format!("no route uses the pool `{name}`");
                problems.push(Problem::warning(pool.name.span, cause, "remove it, or name it in a route"));
            }
            (false, true) => refuse_http_keys(name, pool, problems),
            (true, true) => warn_of_key(name, pool, problems),
            _ => {}
        }
        refuse_datagram_keys(name, pool, (index, listeners), problems);
        if passed_through.contains(&index) {
            problems.extend(encrypted_twice(name, pool));
        }
        refuse_port_of_sockets(pool, &pools[index], problems);
    }
}

/// TLS around what is TLS already. Somebody may want just that.
fn encrypted_twice(name: &str, pool: &PoolDraft) -> Option<Problem> {
    let tls = pool.tls.as_ref().filter(|tls| !tls.value.off)?;
    let cause = format!(
        "a listener with `protocol: tls` passes encrypted connections to the pool `{name}`, whose `tls` encrypts them once more"
    );
    let remedy = "remove `tls` here, or end the TLS of clients with `protocol: tcp` or `https`";
    Some(Problem::warning(tls.span, cause, remedy))
}

/// A port to check, where no backend has ports.
fn refuse_port_of_sockets(draft: &PoolDraft, pool: &Pool, problems: &mut Vec<Problem>) {
    let is_socket = |backend: &Backend| matches!(backend.endpoint, Endpoint::Unix(_));
    let port = draft.health.as_ref().and_then(|health| health.port.as_ref());
    if let Some(port) = port.filter(|_| {
        pool.discover.is_none() && !pool.backends.is_empty() && pool.backends.iter().all(is_socket)
    }) {
        let cause = "`port` has no meaning for backends on unix sockets";
        problems.push(Problem::error(port.span, cause, "remove it"));
    }
}

/// A key that datagrams alone have, in a pool for anything else.
fn refuse_datagram_keys(
    name: &str,
    draft: &PoolDraft,
    (index, listeners): (PoolIndex, &[Arc<Listener>]),
    problems: &mut Vec<Problem>,
) {
    let key = draft.balance.as_ref().and_then(|balance| balance.value.key.as_ref());
    let Some(key) = key.filter(|key| balance::key(key).is_ok_and(|key| key.is_of_datagrams())) else {
        return;
    };
    let Some(user) = listeners.iter().find(|listener| pools_of(listener).contains(&index)) else { return };
    let cause = format!(
        "`key: {}` has no meaning for the pool `{name}`: the listener `{}` uses it with `protocol: {}`, and only \
         datagrams have a connection id",
        key.value,
        user.name,
        user.protocol.word()
    );
    problems.push(Problem::error(key.span, cause, "use `source` or `5tuple`"));
}

/// The key that backends are chosen by, if only requests have one.
fn request_key(pool: &PoolDraft) -> Option<&Text> {
    let key = pool.balance.as_ref()?.value.key.as_ref()?;
    balance::key(key).is_ok_and(|key| !key.is_of_connections() && !key.is_of_datagrams()).then_some(key)
}

/// Connections are placed by their source where requests have a key.
fn warn_of_key(name: &str, draft: &PoolDraft, problems: &mut Vec<Problem>) {
    if let Some(key) = request_key(draft) {
        let cause = format!(
            "connections have no `{}`: those that listeners with `protocol: tcp` give to the pool `{name}` are placed by \
             their source",
            key.value
        );
        let remedy = "use two pools, or `key: source` in this one";
        problems.push(Problem::warning(key.span, cause, remedy));
    }
}

fn refuse_http_keys(name: &str, pool: &PoolDraft, problems: &mut Vec<Problem>) {
    let given: [(&str, Option<Span>); 7] = [
        ("response_timeout", pool.response_timeout.as_ref().map(|setting| setting.span)),
        ("stream_idle", pool.stream_idle.as_ref().map(|setting| setting.span)),
        ("protocol", pool.protocol.as_ref().map(|setting| setting.span)),
        ("sticky", pool.sticky.as_ref().map(|sticky| sticky.span)),
        ("keepalive", pool.keepalive.as_ref().map(|setting| setting.span)),
        ("limits.requests", pool.limits.requests.as_ref().map(|setting| setting.span)),
        ("balance.key", request_key(pool).map(|key| key.span)),
    ];
    for (key, span) in given {
        if let Some(span) = span {
            let cause = format!(
                "`{key}` has no meaning for the pool `{name}`: only listeners with `protocol: tcp` use it, which know \
                 no requests"
            );
            problems.push(Problem::error(span, cause, "remove it"));
        }
    }
}
