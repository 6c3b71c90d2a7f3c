//! Pools: backends, checks, connection policy.

mod members;
mod sticky;

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use super::{address, balance, condition, header, kept, value, within};
use crate::{
    draft::{
        BackendDraft, HealthDraft, HttpProbeDraft, KeepaliveDraft, PoolDraft, PoolLimitsDraft, ProbeDraft,
        Text,
    },
    health::{HealthCheck, HttpProbe, Probe},
    pool::{Backend, Endpoint, Keepalive, Pool, PoolLimits},
    problem::{Problem, Span},
    status::{Health, Registry, State},
    time::Millis,
};

const WEIGHTS: RangeInclusive<u64> = 0..=1_000_000;
const PORTS: RangeInclusive<u64> = 1..=65_535;

/// One pool.
pub(super) fn pool(
    draft: &PoolDraft,
    own_zone: Option<&Arc<str>>,
    registry: &mut Registry,
    problems: &mut Vec<Problem>,
) -> Pool {
    let health = draft
        .health
        .as_ref()
        .filter(|health| !health.off)
        .and_then(|health| check(health, draft.broken, problems));
    let backends = backends(draft, health.as_ref(), registry, problems);
    members::judge(draft, &backends, problems);
    let balance = balance::balance(draft.balance.as_ref(), problems);
    let shares = backends.iter().map(|backend| (backend.name.clone(), backend.weight)).collect();
    Pool {
        name: draft.name.value.as_str().into(),
        hash_table: registry.table(&draft.name.value, balance.policy, shares),
        balance,
        zones: members::zones(draft, own_zone, &backends, problems),
        sticky: sticky::sticky(draft.sticky.as_ref(), &draft.name.value, &backends, problems),
        backends,
        health,
        panic: value(&draft.panic, 0),
        connect_timeout: value(&draft.connect_timeout, Millis::secs(2)),
        response_timeout: value(&draft.response_timeout, Millis::secs(60)),
        stream_idle: value(&draft.stream_idle, Millis::secs(300)),
        drain: value(&draft.drain, Millis::secs(30)),
        keepalive: draft
            .keepalive
            .as_ref()
            .map_or_else(Keepalive::default, |keepalive| reuse(&keepalive.value)),
        limits: limits(&draft.limits),
        status: registry.pool(&draft.name.value),
    }
}

fn backends(
    draft: &PoolDraft,
    health: Option<&HealthCheck>,
    registry: &mut Registry,
    problems: &mut Vec<Problem>,
) -> Vec<Backend> {
    let mut names: BTreeMap<Arc<str>, Span> = BTreeMap::new();
    let mut backends = Vec::with_capacity(draft.backends.len());
    for backend_draft in &draft.backends {
        let Some(endpoint) = kept(address::endpoint(&backend_draft.address), problems) else {
            continue;
        };
        let (name, span) = name_of(backend_draft, &endpoint);
        if let Some(first) = names.insert(name.clone(), span) {
            let cause = format!("the pool `{}` has two backends named `{name}`", draft.name.value);
            let problem = Problem::error(span, cause, "remove one of them, or give it a `name` of its own");
            problems.push(problem.with_related(first, "the first one is here"));
            continue;
        }
        let weight = within(&backend_draft.weight, WEIGHTS, "the weight", problems).unwrap_or(1);
        let zone = backend_draft.zone.as_ref().and_then(|zone| kept(self::zone(zone), problems));
        let status = registry.backend(&draft.name.value, &name, &endpoint, first_health(health, &endpoint));
        backends.push(Backend {
            name,
            endpoint,
            weight,
            state: value(&backend_draft.state, State::default()),
            backup: value(&backend_draft.backup, false),
            max_connections: value(&backend_draft.max_connections, u32::MAX),
            zone,
            status,
        });
    }
    backends
}

/// The name of a zone.
pub(super) fn zone(text: &Text) -> Result<Arc<str>, Problem> {
    if text.value.is_empty() || text.value.contains(char::is_control) {
        let cause = format!("`{}` is not the name of a zone", text.value.escape_debug());
        return Err(Problem::error(text.span, cause, "write for example `zone: a`"));
    }
    Ok(text.value.as_str().into())
}

fn name_of(draft: &BackendDraft, endpoint: &Endpoint) -> (Arc<str>, Span) {
    match (&draft.name, endpoint) {
        (Some(name), _) => (name.value.as_str().into(), name.span),
        (None, endpoint) => (endpoint.to_string().into(), draft.address.span),
    }
}

/// A host name has no address before it was looked up, so it cannot start up.
fn first_health(check: Option<&HealthCheck>, endpoint: &Endpoint) -> Health {
    match (check, endpoint) {
        (_, Endpoint::Name(..)) => Health::Unknown,
        (Some(check), _) if !check.initially_up => Health::Unknown,
        _ => Health::Up,
    }
}

fn check(draft: &HealthDraft, broken: bool, problems: &mut Vec<Problem>) -> Option<HealthCheck> {
    if let [first, second, ..] = &draft.probes[..] {
        let problem = Problem::error(second.span, "a health check asks one thing", "remove one of the two");
        problems.push(problem.with_related(first.span, "it already asks this"));
    }
    let probe = match draft.probes.first().map(|probe| &probe.value) {
        Some(ProbeDraft::Tcp) => Probe::Tcp,
        Some(ProbeDraft::Http(http)) => Probe::Http(http_probe(http, broken, problems)),
        None => {
            if !broken {
                let remedy = "add `http: /healthz`, or `tcp: {}` for a port that only has to be open";
                problems.push(Problem::error(
                    draft.span,
                    "the health check does not say what it asks",
                    remedy,
                ));
            }
            return None;
        }
    };
    let times = 1..=1000;
    Some(HealthCheck {
        probe,
        interval: value(&draft.interval, Millis::secs(5)),
        timeout: value(&draft.timeout, Millis::secs(2)),
        fall: within(&draft.fall, times.clone(), "`fall`", problems).unwrap_or(3),
        rise: within(&draft.rise, times, "`rise`", problems).unwrap_or(2),
        port: within(&draft.port, PORTS, "the port", problems).and_then(|port| u16::try_from(port).ok()),
        initially_up: value(&draft.initially_up, false),
    })
}

fn http_probe(draft: &HttpProbeDraft, broken: bool, problems: &mut Vec<Problem>) -> HttpProbe {
    let method = draft.method.as_ref().and_then(|text| kept(condition::method(text), problems));
    let method = method.unwrap_or_else(|| "GET".into());
    if let (Some(body), "HEAD") = (&draft.body, &*method) {
        let cause = "the answer to HEAD has no body that could be compared";
        problems.push(Problem::error(body.span, cause, "use GET, or leave `body` out"));
    }
    let expect: Vec<_> = draft.expect.iter().filter_map(|text| kept(codes(text), problems)).collect();
    let path = draft.path.as_ref().and_then(|path| kept(probe_path(path), problems));
    if draft.path.is_none() && !broken {
        // The reader makes sure of a span: a probe without any key is still written somewhere.
        let span = draft.span;
        problems.push(Problem::error(
            span,
            "the check does not say which path it asks for",
            "add `path: /healthz`",
        ));
    }
    HttpProbe {
        path: path.unwrap_or_else(|| "/".into()),
        host: draft.host.as_ref().and_then(|host| kept(header::value(host), problems)),
        method,
        headers: header::probe_fields(&draft.headers, problems),
        expect: if expect.is_empty() { vec![(200, 299)] } else { expect },
        body: draft.body.as_ref().map(|body| body.value.as_str().into()),
    }
}

fn probe_path(text: &Text) -> Result<Arc<str>, Problem> {
    let fine =
        text.value.starts_with('/') && text.value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if fine {
        return Ok(text.value.as_str().into());
    }
    let cause = format!("`{}` is not a path to ask for", text.value);
    Err(Problem::error(text.span, cause, "write a path such as `/healthz`, percent-encoded where needed"))
}

/// `200`, `200-299`.
fn codes(text: &Text) -> Result<(u16, u16), Problem> {
    let code = |text: &str| text.trim().parse().ok().filter(|code| (100..=599).contains(code));
    let (first, last) = text.value.split_once('-').unwrap_or((&text.value, &text.value));
    match (code(first), code(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => {
            let cause = format!("`{}` is not a status code or a range of them", text.value);
            Err(Problem::error(text.span, cause, "write `200`, `200-299` or `[200-299, 404]`"))
        }
    }
}

fn reuse(draft: &KeepaliveDraft) -> Keepalive {
    let defaults = Keepalive::default();
    Keepalive {
        idle: value(&draft.idle, defaults.idle),
        max_idle: draft.max_idle.as_ref().map_or(defaults.max_idle, |count| match count.value {
            u32::MAX => usize::MAX,
            count => count as usize,
        }),
        max_requests: value(&draft.max_requests, defaults.max_requests),
        max_age: value(&draft.max_age, defaults.max_age),
    }
}

fn limits(draft: &PoolLimitsDraft) -> PoolLimits {
    let defaults = PoolLimits::default();
    PoolLimits {
        connections: value(&draft.connections, defaults.connections),
        pending: value(&draft.pending, defaults.pending),
        requests: value(&draft.requests, defaults.requests),
        queue_timeout: value(&draft.queue_timeout, defaults.queue_timeout),
    }
}
