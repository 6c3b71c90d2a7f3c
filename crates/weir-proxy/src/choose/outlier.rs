//! What traffic says about the health of backends: counted by the worker that saw it, and acted upon at once.
//!
//! Nothing in here runs for pools without `outlier`.

use std::sync::atomic::Ordering;

use weir_model::{
    health::{
        Outlier,
        outlier::{Refused, Verdict},
    },
    status::Health,
    time::{Millis, Moment},
};

use super::PoolState;
use crate::{
    clock,
    error::{ProxyError, Side},
    telemetry::Level,
    worker::Worker,
};

/// How long a worker does not ask again after a pool could not do without a backend: to find that out takes a look at all
/// of them.
const PAUSE: Millis = Millis(100);
/// How long a pool does not say that again.
const SILENCE: Millis = Millis::secs(30);

/// See [`PoolState::ended`].
pub(super) fn ended(
    state: &PoolState,
    worker: &Worker,
    backend: usize,
    code: u16,
    broken: Option<&ProxyError>,
) {
    let Some(outlier) = &state.pool.outlier else { return };
    match broken.filter(|error| error.cause.side() == Side::Backend) {
        Some(error) => wrong(state, worker, backend, &error.to_string()),
        None if Outlier::is_error(code) => wrong(state, worker, backend, &format!("answered {code}")),
        // A client that goes away has nothing to say about a backend that had begun well.
        None => {
            let status = &state.pool.backends[backend].status;
            status.shards.of(worker.index).faults().well(outlier, clock::now());
        }
    }
}

/// Counts an error against a backend, in words, and ejects it if that is one too many.
#[cold]
pub(super) fn wrong(state: &PoolState, worker: &Worker, backend: usize, last: &str) {
    let (pool, now) = (&state.pool, clock::now());
    let Some(outlier) = &pool.outlier else { return };
    let chosen = &pool.backends[backend];
    let status = &chosen.status;
    // What was under way when it was taken out, by whomever, says nothing new.
    if status.health() != Health::Up {
        return;
    }
    let ejections = (status.ejections.load(Ordering::Relaxed), status.view().returned());
    let all = status.shards.iter().filter_map(|shard| shard.seen_faults());
    let own = status.shards.of(worker.index).faults();
    let Some(verdict) = own.wrong(outlier, all, ejections, now) else { return };
    if now < state.no_ejection_before.get() {
        return;
    }
    let why = match verdict {
        Verdict::Row(1) => last.to_owned(),
        Verdict::Row(errors) => format!("{errors} errors in a row, last: {last}"),
        Verdict::Rate { errors, requests } => {
            let window = outlier.window;
            format!("{errors} of {requests} requests within {window} failed, last: {last}")
        }
    };
    let said = match pool.eject(backend, &why, now) {
        Ok(ejected) => format!("health=ejected for {}: {why}", ejected.length),
        Err(refused) => {
            state.no_ejection_before.set(now + PAUSE);
            let silent_until = Moment(pool.status.silent_until.load(Ordering::Relaxed));
            if refused == Refused::NotUp || now < silent_until {
                return;
            }
            pool.status.silent_until.store((now + SILENCE).0, Ordering::Relaxed);
            match refused {
                Refused::Most { ejected, of } => format!("not ejected, since {ejected} of {of} are: {why}"),
                _ => format!("not ejected, since nobody else takes traffic: {why}"),
            }
        }
    };
    worker.journal.say(Level::Warn, format!("pool={} backend={} {said}", pool.name, chosen.name));
}
