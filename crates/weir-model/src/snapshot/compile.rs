//! Draft to snapshot: the only validation there is.
//!
//! Every problem is collected; a value that is wrong is left out and compiling goes on. Nothing is said about what
//! may be missing because the reader could not read it (`broken` in the draft), so that one mistake is one problem.

mod acme;
mod action;
mod address;
mod anew;
mod balance;
mod condition;
mod discover;
mod files;
mod grpc_web;
mod header;
mod idle;
mod listener;
mod log;
mod name;
mod origination;
mod outlier;
mod overlap;
mod pool;
mod renew;
mod retry;
mod rewrite;
mod route;
mod shadow;
mod share;
mod shared;
mod tls;
mod udp;
mod usage;

use std::{collections::BTreeMap, sync::Arc};

pub use anew::{Anew, anew, discovering};
pub use overlap::is_at;
pub use pool::judge;
pub use renew::{Credentials, Owner, Renewed, credentials, renew_draft, renewed};

use super::{Process, Secret, Snapshot};
use crate::{
    draft::{ConnectionsDraft, Draft, ProcessDraft, Text, filled},
    listener::Address,
    pool::PoolIndex,
    problem::{Located, Problem, Severity, Span},
    status::Registry,
};

/// Compiles a draft: a snapshot and its warnings, or every problem at once.
///
/// # Errors
/// All problems, warnings included, if at least one of them is an error.
pub fn compile(
    draft: &Draft,
    generation: u64,
    registry: &mut Registry,
) -> Result<(Snapshot, Vec<Problem>), Vec<Problem>> {
    let mut problems = Vec::new();
    let pool_drafts = by_name("pool", draft.pools.iter().map(|pool| (&pool.name, pool)), &mut problems);
    let listener_drafts =
        by_name("listener", draft.listeners.iter().map(|listener| (&listener.name, listener)), &mut problems);
    if listener_drafts.is_empty() && !draft.listeners_incomplete {
        let remedy = "add a listener: `listeners: { web: { bind: \":8080\", protocol: http, pool: app } }`";
        problems.push(Problem::error(Span::default(), "there is no listener", remedy));
    }

    let mut process = process(&draft.process, &mut problems);
    problems.extend(open_admin(&draft.process, &process));
    // A file that could not be read may say where.
    let nowhere = draft
        .process
        .admin_without_bind
        .filter(|_| draft.process.admin.is_none() && !draft.listeners_incomplete);
    if let Some(span) = nowhere {
        problems.push(Problem::error(span, "`admin` has no `bind`", "add `bind: 127.0.0.1:9900`"));
    }
    registry.decide_workers(process.workers);
    let logging = log::logging(&draft.process.logs, registry, &mut problems);
    // What was written decides whether a key means anything where it stands; what counts is that with defaults.
    let filled_pools: Vec<_> = pool_drafts
        .values()
        .map(|pool| filled(*pool, &draft.defaults.pool, |pool, from| pool.fill(from)))
        .collect();
    let room = files::Room::new(draft, &filled_pools, &listener_drafts, registry.workers(), &mut problems);
    process.connections = room.connections;
    let connections = draft.process.connections.as_ref().map(|setting| setting.value);
    let connections_given = matches!(connections, Some(ConnectionsDraft::Count(_)));

    let names = PoolNames {
        index: pool_drafts.keys().enumerate().map(|(index, name)| (*name, index)).collect(),
        names: pool_drafts.keys().copied().collect(),
        complete: !draft.pools_incomplete,
    };
    let reach = acme::Reach::of(listener_drafts.values().copied());
    acme::no_default(&draft.defaults, &mut problems);
    let shared = shared::by_listener(draft, &listener_drafts, &mut problems);
    let context =
        listener::Context { pools: &names, room: &room, defaults: &draft.defaults, shared: &shared, reach };
    let listeners: Vec<_> = listener_drafts
        .values()
        .map(|draft| Arc::new(listener::listener(draft, &context, registry, &mut problems)))
        .collect();

    let loops = overlap::Loops::of(&listeners);
    let zone = process.zone.as_ref();
    let compiled = filled_pools
        .iter()
        .enumerate()
        .map(|(index, draft)| Arc::new(pool::pool(draft, (zone, &loops, index), registry, &mut problems)));
    let pools: Vec<_> = compiled.collect();

    acme::differing(&listeners, &listener_drafts, &mut problems);
    share::binds(&listener_drafts, &listeners, &draft.process, &mut problems);
    overlap::hairpins(draft, &listener_drafts, &listeners, (&pool_drafts, &pools), &mut problems);
    usage::pools(draft, &listeners, &pool_drafts, &pools, &mut problems);
    idle::pools(&pool_drafts, &pools, &mut problems);
    grpc_web::judge(draft, &pools, &mut problems);

    problems.sort_by(|a, b| (a.span, &a.cause).cmp(&(b.span, &b.cause)));
    // A shared route or a default that is wrong is wrong once, however often it is used.
    problems.dedup_by(|b, a| a.span == b.span && a.cause == b.cause);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    let proofs = registry.proofs();
    Ok((Snapshot { generation, listeners, pools, process, connections_given, logging, proofs }, problems))
}

/// The names of all pools, for whoever refers to one.
struct PoolNames<'d> {
    index: BTreeMap<&'d str, PoolIndex>,
    names: Vec<&'d str>,
    /// False if a pool could not be read: an unknown name may then be one of those.
    complete: bool,
}

impl<'d> PoolNames<'d> {
    /// The pool of this name.
    fn find(&self, name: &Text, problems: &mut Vec<Problem>) -> Option<PoolIndex> {
        let found = self.index.get(name.value.as_str()).copied();
        if found.is_none() && self.complete {
            let remedy = match crate::problem::nearest(&name.value, self.index.keys().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if self.index.is_empty() => "add it under `pools`".into(),
                None => format!("add it under `pools`, where there are: {}", self.listed()),
            };
            problems.push(Problem::error(name.span, format!("there is no pool `{}`", name.value), remedy));
        }
        found
    }

    /// The name of a pool.
    fn name(&self, index: PoolIndex) -> &'d str {
        self.names.get(index).copied().unwrap_or_default()
    }

    fn listed(&self) -> String {
        const SHOWN: usize = 8;
        let mut names: Vec<_> = self.index.keys().take(SHOWN).map(|name| format!("`{name}`")).collect();
        if self.index.len() > SHOWN {
            names.push("…".into());
        }
        names.join(", ")
    }
}

/// Sorts by name and refuses the second use of a name.
fn by_name<'d, T>(
    kind: &str,
    named: impl Iterator<Item = (&'d Text, &'d T)>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'d str, &'d T> {
    let mut sorted: BTreeMap<&str, (&Text, &T)> = BTreeMap::new();
    for (name, item) in named {
        // Names stand in metrics, log lines and the paths of the admin API.
        if name.value.is_empty() || name.value.contains('/') || unspeakable(&name.value) {
            let cause = format!("`{}` is not a name for a {kind}", name.value.escape_debug());
            let remedy = format!("names are not empty and hold no `/`, and {UNSPEAKABLE}");
            problems.push(Problem::error(name.span, cause, remedy));
        }
        if let Some((first, _)) = sorted.get(name.value.as_str()) {
            let cause = format!("there are two {kind}s named `{}`", name.value);
            let problem = Problem::error(name.span, cause, "rename or remove one of them");
            problems.push(problem.with_related(first.span, "the first one is here"));
            continue;
        }
        sorted.insert(&name.value, (name, item));
    }
    sorted.into_iter().map(|(name, (_, item))| (name, item)).collect()
}

/// What names cannot hold, as they stand in log lines and on terminals.
const UNSPEAKABLE: &str =
    "no line break, no other control character and none that turns the direction of text";

/// True if a text holds what makes a line look like another one: control characters, and the marks that Unicode reorders text
/// by (UAX #9 section 2).
fn unspeakable(text: &str) -> bool {
    let turns = |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.contains(|c: char| c.is_control() || turns(c))
}

fn process(draft: &ProcessDraft, problems: &mut Vec<Problem>) -> Process {
    let defaults = Process::default();
    let workers = draft.workers.as_ref().and_then(|workers| {
        let count = workers.value?;
        let count = Located::new(count, workers.span);
        within(&Some(count), 1..=1024, "the number of workers", problems).map(|count| count as usize)
    });
    Process {
        workers,
        pin: draft.pin.as_ref().map_or(defaults.pin, |pin| pin.value),
        zone: draft.zone.as_ref().and_then(|zone| kept(pool::zone(zone), problems)),
        admin: draft.admin.as_ref().and_then(|text| kept(address::admin(text), problems)),
        admin_token: draft.admin_token.as_ref().map(|token| {
            problems.extend(token_problem(token));
            token.value.clone()
        }),
        connections: defaults.connections,
        shutdown_announce: value(&draft.shutdown_announce, defaults.shutdown_announce),
        shutdown_drain: value(&draft.shutdown_drain, defaults.shutdown_drain),
        upgrade_drain: value(&draft.upgrade_drain, defaults.upgrade_drain),
    }
}

/// Off loopback, strangers may ask; the API then answers nobody who cannot show a token.
fn open_admin(draft: &ProcessDraft, process: &Process) -> Option<Problem> {
    let address = process.admin.as_ref().and_then(Address::ip)?;
    let token = draft.admin_token.is_some() || draft.admin_token_unread;
    let text = draft.admin.as_ref().filter(|_| !address.ip().is_loopback() && !token)?;
    let cause = format!(
        "`{}` is not on loopback and there is no token: only probes and metrics are answered",
        text.value
    );
    Some(Problem::warning(
        text.span,
        cause,
        "add `token_file: FILE`, or bind to `127.0.0.1` or a unix socket",
    ))
}

/// What is wrong with a token, without showing it.
fn token_problem(token: &Located<Secret>) -> Option<Problem> {
    const SHORTEST: usize = 16;
    let text = token.value.reveal();
    let remedy = "make one with `openssl rand -hex 32`";
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let cause =
            "the token holds a space, a line break or a letter beyond ASCII, which no header field carries";
        return Some(Problem::error(token.span, cause, remedy));
    }
    if text.len() < SHORTEST {
        let cause = format!("the token has {} characters, which can be guessed", text.len());
        return Some(Problem::error(token.span, cause, format!("use at least {SHORTEST}: {remedy}")));
    }
    None
}

/// A setting, or its default.
fn value<T: Copy>(setting: &Option<Located<T>>, default: T) -> T {
    setting.as_ref().map_or(default, |setting| setting.value)
}

/// A number if it is given and within its range.
fn within<N: Copy + Into<u64>>(
    setting: &Option<Located<N>>,
    range: std::ops::RangeInclusive<u64>,
    what: &str,
    problems: &mut Vec<Problem>,
) -> Option<N> {
    let setting = setting.as_ref()?;
    if range.contains(&setting.value.into()) {
        return Some(setting.value);
    }
    let cause = format!("{what} cannot be {}", setting.value.into());
    problems.push(Problem::error(
        setting.span,
        cause,
        format!("choose from {} to {}", range.start(), range.end()),
    ));
    None
}

/// Takes the value and files the problem.
fn kept<T>(result: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}
