//! Pools whose backends were discovered anew: only they are compiled, and everything else is shared with the snapshot that
//! runs.

use std::sync::Arc;

use super::{overlap, pool};
use crate::{
    draft::{Draft, PoolDraft, filled},
    pool::PoolIndex,
    problem::{Problem, Severity},
    snapshot::Snapshot,
    status::Registry,
};

/// A pool that was compiled anew, and what was left out of it.
#[derive(Debug)]
pub struct Anew {
    /// Its place.
    pub index: PoolIndex,
    /// Warnings, one for each entry of the answer that is not used.
    pub left_out: Vec<Problem>,
}

/// Every pool that discovers backends, with the defaults filled in: what [`anew`] needs of a draft.
pub fn discovering(draft: &Draft) -> Vec<PoolDraft> {
    let pools = draft.pools.iter().filter(|pool| pool.discover.is_some());
    pools.map(|pool| filled(pool, &draft.defaults.pool, |pool, from| pool.fill(from))).collect()
}

/// The successor of a running snapshot in which these pools have the backends that were found for them. They are drafts
/// that were compiled before, as [`discovering`] gives them, with other backends in [`PoolDraft::found`]; those whose name is
/// not known are left out. `running` is left as it is.
///
/// # Errors
/// All problems, if one of the drafts could not have been compiled before.
pub fn anew<'d>(
    drafts: impl IntoIterator<Item = &'d PoolDraft>,
    running: &Snapshot,
    registry: &mut Registry,
) -> Result<(Snapshot, Vec<Anew>), Vec<Problem>> {
    let mut pools = running.pools.clone();
    let mut changed = Vec::new();
    let loops = overlap::Loops::of(&running.listeners);
    let zone = running.process.zone.as_ref();
    for draft in drafts {
        let Some((index, before)) = running.pool(&draft.name.value) else { continue };
        let mut problems = Vec::new();
        let mut pool = pool::pool(draft, (zone, &loops, index), registry, &mut problems);
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return Err(problems);
        }
        let discover = draft.discover.as_ref().map(|discover| discover.span);
        problems.retain(|problem| Some(problem.span) == discover);
        registry.keep_only_of(&pool);
        pool.keep_prepared(before);
        pools[index] = Arc::new(pool);
        changed.push(Anew { index, left_out: problems });
    }
    let next = Snapshot {
        generation: running.generation + 1,
        listeners: running.listeners.clone(),
        pools,
        process: running.process.clone(),
        connections_given: running.connections_given,
        logging: running.logging.clone(),
        proofs: running.proofs.clone(),
    };
    Ok((next, changed))
}
