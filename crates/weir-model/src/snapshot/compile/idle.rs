//! Keys of pools that have no effect beside the others: somebody expects something of them that does not happen.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    balance::Policy,
    draft::PoolDraft,
    health::Probe,
    pool::{Backend, Endpoint, Pool, UpstreamProtocol},
    problem::Problem,
};

/// Warns about what is written in pools; a default is for the pools that it has an effect in.
pub(super) fn pools(drafts: &BTreeMap<&str, &PoolDraft>, pools: &[Arc<Pool>], problems: &mut Vec<Problem>) {
    for ((name, draft), pool) in drafts.iter().zip(pools).filter(|((_, draft), _)| !draft.broken) {
        problems.extend(weight(name, draft, pool));
        problems.extend(queue(name, draft, pool));
        problems.extend(plain(name, draft, pool));
    }
}

/// Weights, where the order alone counts. A weight of 0 keeps traffic away there too, and zones are weighed in any case.
fn weight(name: &str, draft: &PoolDraft, pool: &Pool) -> Option<Problem> {
    let mut weights = draft.backends.iter().filter_map(|backend| backend.weight.as_ref());
    let weight = weights
        .find(|weight| weight.value > 1)
        .filter(|_| pool.balance.policy == Policy::First && pool.zones.is_none())?;
    let cause =
        format!("`weight` has no effect: the pool `{name}` gives traffic by order, with `balance: first`");
    Some(Problem::warning(weight.span, cause, "remove it, or use another policy"))
}

/// A queue that nobody could ever wait in: for room, or for the first that is known of a backend.
fn queue(name: &str, draft: &PoolDraft, pool: &Pool) -> Option<Problem> {
    let awaited = |backend: &Backend| {
        backend.max_connections != u32::MAX || matches!(backend.endpoint, Endpoint::Name(..))
    };
    let limited = pool.limits.connections != u32::MAX
        || pool.discover.is_some()
        || pool.health.as_ref().is_some_and(|check| !check.initially_up)
        || pool.backends.iter().any(awaited);
    // `none` asks for nothing.
    let pending = draft.limits.pending.as_ref().filter(|count| count.value != u32::MAX);
    let timeout = draft.limits.queue_timeout.as_ref().filter(|time| !time.value.is_none());
    let pending = pending.map(|setting| ("pending", setting.span));
    let timeout = timeout.map(|setting| ("queue_timeout", setting.span));
    let (key, span) = pending.or(timeout).filter(|_| !limited)?;
    let cause = format!(
        "`limits.{key}` has no effect: nothing limits the connections of the pool `{name}`, so that nobody waits"
    );
    let remedy = "add `limits.connections`, or `max_connections` to the backends, or remove it";
    Some(Problem::warning(span, cause, remedy))
}

/// A check that goes without what is not there.
fn plain(name: &str, draft: &PoolDraft, pool: &Pool) -> Option<Problem> {
    let plain = draft.health.as_ref()?.plain.as_ref().filter(|plain| plain.value)?;
    // Those that cannot be plain are refused.
    if matches!(pool.health.as_ref()?.probe, Probe::Tls | Probe::Udp(_)) {
        return None;
    }
    let idle =
        pool.tls.is_none() && pool.send_proxy.is_none() && pool.protocol == UpstreamProtocol::default();
    let cause =
        format!("`plain` has no effect: the pool `{name}` has no `tls`, `send_proxy_protocol` or `protocol`");
    idle.then(|| Problem::warning(plain.span, cause, "remove it"))
}
