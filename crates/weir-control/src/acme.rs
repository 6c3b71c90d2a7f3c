//! Certificates that an authority issues by itself (ACME, RFC 8555): one task per certificate.
//!
//! ```text
//!  snapshot ──> one task per certificate ──> Keeper: is it due? ── lock ──> order ──> authority
//!                                              │    ^                         │ asks for proofs: Proofs, read by workers
//!                      status, log <───────────┘    └──── storage <───────────┘ certificate and key
//!                                                            └── another instance takes them from there
//! ```
//!
//! What is issued is written into storage, as a file that the listener names like any other certificate: it is judged and
//! published by whoever watches those. Nothing that fails here ever stops anybody from being served with what there is.

mod client;
mod keeper;
mod lock;
mod order;
mod placeholder;
mod proof;
mod store;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use tokio::task::AbortHandle;
use weir_model::{
    acme::Acme,
    snapshot::{Snapshot, SnapshotCell},
    status::Proofs,
};

use crate::health::Log;
pub(crate) use placeholder::placeholder;

/// How soon a new snapshot is noticed.
const GLANCE: Duration = Duration::from_millis(100);

/// What every task uses.
#[derive(Clone)]
pub struct Shared {
    /// The log.
    pub log: Log,
    /// The time of day in seconds since 1970.
    pub wall: fn() -> u64,
    /// Says such a time to people.
    pub date: fn(u64) -> String,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Keeps the certificates of the published snapshot. Never returns; to stop it, drop it.
pub async fn run(cell: Arc<SnapshotCell>, shared: Shared) {
    let mut tasks = Tasks::default();
    let mut seen = None;
    loop {
        let generation = cell.generation();
        if seen != Some(generation) {
            seen = Some(generation);
            tasks.follow(&cell.load(), &shared);
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// The tasks by label.
#[derive(Default)]
struct Tasks(HashMap<Arc<str>, Task>);

/// The care for one certificate; ends when this is dropped, and takes its proofs back.
struct Task {
    acme: Arc<Acme>,
    proofs: Arc<Proofs>,
    handle: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
        self.proofs.set(&self.acme.label, &[]);
    }
}

impl Tasks {
    /// Starts what a snapshot needs anew and stops what it does not need; what stays the same goes on undisturbed.
    fn follow(&mut self, snapshot: &Snapshot, shared: &Shared) {
        let mut kept = HashMap::new();
        for acme in snapshot.listeners.iter().filter_map(|listener| listener.acme.as_ref()) {
            if kept.contains_key(&acme.label) {
                continue;
            }
            // Where one reload took it away, and the next one gave it back before anybody looked, its status is another one.
            let same = |task: &Task| task.acme == *acme && Arc::ptr_eq(&task.acme.status, &acme.status);
            let before = self.0.remove(&acme.label).filter(same);
            let task = before.unwrap_or_else(|| {
                let (acme, proofs) = (acme.clone(), snapshot.proofs.clone());
                let keeper = keeper::Keeper::new(acme.clone(), proofs.clone(), shared.clone());
                Task { acme, proofs, handle: tokio::spawn(keeper.run()).abort_handle() }
            });
            kept.insert(acme.label.clone(), task);
        }
        self.0 = kept;
    }
}
