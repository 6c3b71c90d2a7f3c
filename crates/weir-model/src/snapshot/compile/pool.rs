//! Pools: backends, checks, connection policy.

mod backends;
mod members;
mod send_proxy;
mod servers;
mod sticky;

use std::{ops::RangeInclusive, sync::Arc};

pub use backends::judge;
pub(super) use backends::zone;

use super::{
    balance, condition, discover, header, kept, origination, outlier, overlap::Loops, rewrite::host_and_port,
    udp, value, within,
};
use crate::{
    balance::Policy,
    draft::{HealthDraft, HttpProbeDraft, KeepaliveDraft, PoolDraft, PoolLimitsDraft, ProbeDraft, Text},
    health::{GrpcProbe, HealthCheck, HttpProbe, Probe},
    pool::{Backend, Endpoint, Keepalive, Pool, PoolIndex, PoolLimits, UpstreamProtocol},
    problem::Problem,
    status::{Occupancy, Registry},
    time::Millis,
};

const PORTS: RangeInclusive<u64> = 1..=65_535;
/// Between two checks, unless given.
const INTERVAL: Millis = Millis::secs(5);
/// With more backends than this, looking at each of them takes longer than a word that all workers write.
const MANY: usize = 64;

/// One pool.
pub(super) fn pool(
    draft: &PoolDraft,
    (own_zone, loops, index): (Option<&Arc<str>>, &Loops<'_>, PoolIndex),
    registry: &mut Registry,
    problems: &mut Vec<Problem>,
) -> Pool {
    let health = draft
        .health
        .as_ref()
        .filter(|health| !health.off)
        .and_then(|health| check(health, draft.broken, problems));
    let mut backends = backends::of(draft, health.as_ref(), (loops, index), registry, problems);
    problems.extend(no_datagrams(draft, health.as_ref(), &backends));
    members::judge(draft, &backends, problems);
    let balance = balance::balance(draft.balance.as_ref(), problems);
    let servers = servers::servers(draft, &balance, &mut backends, problems);
    let shares = backends.iter().map(|backend| (backend.name.clone(), backend.weight)).collect();
    Pool {
        name: draft.name.value.as_str().into(),
        occupancy: occupancy(balance.policy, &backends),
        hash_table: registry.table(&draft.name.value, balance.policy, shares),
        balance,
        servers,
        zones: members::zones(draft, own_zone, &backends, problems),
        tls: origination::origination(draft, problems),
        send_proxy: send_proxy::send_proxy(draft, problems),
        protocol: value(&draft.protocol, UpstreamProtocol::default()),
        sticky: sticky::sticky(draft.sticky.as_ref(), &draft.name.value, &backends, problems),
        backends,
        discover: draft.discover.as_ref().and_then(|discover| {
            discover::source(discover, &draft.name.value, draft.broken, problems).map(Arc::new)
        }),
        health,
        outlier: outlier::outlier(draft, problems),
        slow_start: value(&draft.slow_start, Millis(0)),
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

/// Kept only where some can be full. A policy that passes over those only when it has to finds its way through a few of
/// them without it, and then workers have no word more in common.
fn occupancy(policy: Policy, backends: &[Backend]) -> Option<Arc<Occupancy>> {
    let wanted = policy == Policy::First || backends.len() > MANY;
    let limited = || backends.iter().any(|backend| backend.max_connections != u32::MAX);
    (wanted && limited()).then(|| Arc::new(Occupancy::new(backends.len())))
}

/// A unix socket of the kind that backends have takes no datagrams.
fn no_datagrams(draft: &PoolDraft, check: Option<&HealthCheck>, backends: &[Backend]) -> Option<Problem> {
    let probe = draft.health.as_ref()?.probes.first()?;
    let unix = backends.iter().find(|backend| matches!(backend.endpoint, Endpoint::Unix(_)))?;
    matches!(check?.probe, Probe::Udp(_)).then(|| {
        let cause = format!("`{}` is a unix socket, which no UDP check can ask", unix.endpoint);
        Problem::error(probe.span, cause, "use `http` or `tcp`")
    })
}

fn check(draft: &HealthDraft, broken: bool, problems: &mut Vec<Problem>) -> Option<HealthCheck> {
    if let [first, second, ..] = &draft.probes[..] {
        let problem = Problem::error(second.span, "a health check asks one thing", "remove one of the two");
        problems.push(problem.with_related(first.span, "it already asks this"));
    }
    let probe = match draft.probes.first().map(|probe| &probe.value) {
        Some(ProbeDraft::Tcp) => Probe::Tcp,
        Some(ProbeDraft::Tls) => Probe::Tls,
        Some(ProbeDraft::Grpc(service)) => Probe::Grpc(grpc_probe(service.as_ref(), problems)),
        Some(ProbeDraft::Udp(udp)) => Probe::Udp(udp::probe(udp, broken, problems)),
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
    problems.extend(plain(draft, &probe));
    problems.extend(slow(draft));
    let times = 1..=1000;
    let interval = value(&draft.interval, INTERVAL);
    Some(HealthCheck {
        probe,
        interval,
        interval_down: value(&draft.interval_down, interval.min(Millis::secs(1))),
        timeout: value(&draft.timeout, Millis::secs(2)),
        fall: within(&draft.fall, times.clone(), "`fall`", problems).unwrap_or(3),
        rise: within(&draft.rise, times, "`rise`", problems).unwrap_or(2),
        port: within(&draft.port, PORTS, "the port", problems).and_then(|port| u16::try_from(port).ok()),
        initially_up: value(&draft.initially_up, false),
        plain: value(&draft.plain, false),
    })
}

/// A check that may take longer than it is to the next one.
fn slow(draft: &HealthDraft) -> Option<Problem> {
    let timeout = draft.timeout.as_ref()?;
    let interval = value(&draft.interval, INTERVAL);
    (timeout.value > interval).then(|| {
        let cause = format!(
            "the `timeout` of the check is longer than its `interval`, {interval}: a backend that hangs is asked only \
             every {}, and is down as much later",
            timeout.value
        );
        Problem::warning(timeout.span, cause, "make it shorter, or `interval` longer")
    })
}

/// A check that has nothing to be without.
fn plain(draft: &HealthDraft, probe: &Probe) -> Option<Problem> {
    let plain = draft.plain.as_ref().filter(|plain| plain.value)?;
    let what = match probe {
        Probe::Tls => "a check that asks for TLS cannot go without it",
        Probe::Udp(_) => "`plain` has no meaning for a UDP check, which knows neither TLS nor PROXY headers",
        Probe::Tcp | Probe::Http(_) | Probe::Grpc(_) => return None,
    };
    Some(Problem::error(plain.span, what, "remove `plain`"))
}

fn grpc_probe(service: Option<&Text>, problems: &mut Vec<Problem>) -> GrpcProbe {
    const LONGEST: usize = 255;
    let Some(service) = service else { return GrpcProbe { service: "".into() } };
    if service.value.len() > LONGEST {
        let cause = format!("the name of the service has {} bytes", service.value.len());
        problems.push(Problem::error(service.span, cause, format!("{LONGEST} are the most")));
    }
    GrpcProbe { service: service.value.as_str().into() }
}

fn http_probe(draft: &HttpProbeDraft, broken: bool, problems: &mut Vec<Problem>) -> HttpProbe {
    let method = draft.method.as_ref().and_then(|text| kept(condition::method(text), problems));
    let method = method.unwrap_or_else(|| "GET".into());
    if let (Some(text), "CONNECT") = (&draft.method, &*method) {
        let cause = "a check asks for a path, and CONNECT opens a tunnel";
        problems.push(Problem::error(text.span, cause, "use GET or HEAD, or `tcp: {}`"));
    }
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
        host: draft.host.as_ref().and_then(|host| kept(host_and_port(host), problems)),
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
    let code = |text: &str| text.trim().parse().ok().filter(|code: &u16| (100..=599).contains(code));
    let (first, last) = text.value.split_once('-').unwrap_or((&text.value, &text.value));
    match (code(first), code(last)) {
        (Some(_), Some(last)) if last < 200 => {
            let cause =
                format!("a check never ends with `{}`: it waits for the answer behind a 1xx", text.value);
            Err(Problem::error(text.span, cause, "write the status of that answer, such as `200-299`"))
        }
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
