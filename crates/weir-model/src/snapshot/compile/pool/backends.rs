//! The backends of a pool: those of the file, and those that were discovered.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use super::super::{UNSPEAKABLE, address, kept, overlap::Loops, unspeakable, value, within};
use crate::{
    draft::{BackendDraft, PoolDraft, Text},
    health::HealthCheck,
    pool::{Backend, Endpoint, PoolIndex},
    problem::{Problem, Span},
    quic::{MOST, ServerId},
    status::{Health, Registry, State},
};

const WEIGHTS: RangeInclusive<u64> = 0..=1_000_000;

/// All of them, those of the file first.
pub(super) fn of(
    draft: &PoolDraft,
    health: Option<&HealthCheck>,
    (loops, index): (&Loops<'_>, PoolIndex),
    registry: &mut Registry,
    problems: &mut Vec<Problem>,
) -> Vec<Backend> {
    let pool = &draft.name.value;
    let mut names = Names { pool, taken: BTreeMap::new() };
    let mut make = |judged: Judged, written: &BackendDraft| {
        let Judged { name, endpoint, weight, zone, server_id } = judged;
        let status = registry.backend(pool, &name, &endpoint, first_health(health, &endpoint));
        Backend {
            name,
            endpoint,
            weight,
            state: value(&written.state, State::default()),
            backup: value(&written.backup, false),
            max_connections: value(&written.max_connections, u32::MAX),
            server_id,
            zone,
            status,
        }
    };
    let mut backends = Vec::with_capacity(draft.backends.len() + draft.found.len());
    for written in &draft.backends {
        backends.extend(names.judge(written, problems).map(|judged| make(judged, written)));
    }
    let Some(discover) = &draft.discover else { return backends };
    for found in &draft.found {
        let mut own = Vec::new();
        let judged = names.judge(found, &mut own);
        own.extend(judged.as_ref().and_then(|judged| loops.problem(&judged.endpoint, index, pool)));
        match judged.filter(|_| own.is_empty()) {
            Some(judged) => backends.push(make(judged, found)),
            // One bad entry must not keep the good ones out, and nothing of it stands in a file of ours.
            None => {
                let warning = |problem: Problem| Problem::warning(discover.span, problem.cause, "");
                problems.extend(own.into_iter().map(warning));
            }
        }
    }
    backends
}

/// What is wrong with a list of backends by itself, wherever it comes from.
pub fn judge(backends: &[BackendDraft]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut names = Names { pool: "", taken: BTreeMap::new() };
    for backend in backends {
        names.judge(backend, &mut problems);
    }
    problems
}

/// The backends of one pool by name, as far as they were judged.
struct Names<'p> {
    pool: &'p str,
    taken: BTreeMap<Arc<str>, Span>,
}

/// What can be said of a backend by itself.
struct Judged {
    name: Arc<str>,
    endpoint: Endpoint,
    weight: u32,
    zone: Option<Arc<str>>,
    server_id: Option<ServerId>,
}

impl Names<'_> {
    fn judge(&mut self, written: &BackendDraft, problems: &mut Vec<Problem>) -> Option<Judged> {
        let endpoint = kept(address::endpoint(&written.address), problems)?;
        let (name, span) = name_of(written, &endpoint);
        if name.is_empty() || unspeakable(&name) {
            let cause = format!("`{}` is not a name for a backend", name.escape_debug());
            let remedy =
                format!("names are not empty and hold {UNSPEAKABLE}; without `name`, the address is one");
            problems.push(Problem::error(span, cause, remedy));
            return None;
        }
        if let Some(first) = self.taken.insert(name.clone(), span) {
            let cause = match self.pool {
                "" => format!("there are two backends named `{name}`"),
                pool => format!("the pool `{pool}` has two backends named `{name}`"),
            };
            let problem = Problem::error(span, cause, "remove one of them, or give it a `name` of its own");
            problems.push(problem.with_related(first, "the first one is here"));
            return None;
        }
        let weight = within(&written.weight, WEIGHTS, "the weight", problems).unwrap_or(1);
        let zone = written.zone.as_ref().and_then(|text| kept(zone(text), problems));
        let server_id = written.server_id.as_ref().and_then(|text| kept(server_id(text), problems));
        Some(Judged { name, endpoint, weight, zone, server_id })
    }
}

fn server_id(text: &Text) -> Result<ServerId, Problem> {
    ServerId::from_hex(&text.value).ok_or_else(|| {
        let cause = format!("`{}` is not a server id", text.value);
        let remedy = format!("write 1 to {MOST} octets as hexadecimal digits, such as `0a1b2c3d`");
        Problem::error(text.span, cause, remedy)
    })
}

/// The name of a zone.
pub(in super::super) fn zone(text: &Text) -> Result<Arc<str>, Problem> {
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
