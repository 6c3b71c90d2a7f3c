//! The threads of the data path.

use std::{io, sync::Arc, thread::JoinHandle};

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::sync::watch;
use weir_model::snapshot::SnapshotCell;
use weir_proxy::{
    telemetry::{Journal, Level},
    worker::{self, Phase, Setup},
};

use super::listeners::Bound;

/// The threads of the data path.
#[derive(Debug)]
pub(super) struct Workers {
    threads: Vec<JoinHandle<io::Result<()>>>,
    journal: Journal,
}

impl Workers {
    pub(super) fn start(
        cell: &Arc<SnapshotCell>,
        bound: &[Bound],
        count: usize,
        phase: &watch::Sender<Phase>,
        journal: &Journal,
    ) -> Result<Self> {
        let mut workers = Self { threads: Vec::new(), journal: journal.clone() };
        let pin = cell.load().process.pin;
        for index in 0..count {
            // A copy of each socket: the process keeps the originals open as long as the bind lives.
            let sockets = bound.iter().map(|bound| {
                let socket = bound.sockets[index].try_clone()?;
                Ok((bound.listener.clone(), socket))
            });
            let sockets =
                sockets.collect::<io::Result<Vec<_>>>().context("a listening socket cannot be shared")?;
            let setup = Setup {
                index,
                count,
                cell: cell.clone(),
                sockets,
                phase: phase.subscribe(),
                journal: journal.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("weir-worker-{index}")).spawn(move || {
                if pin {
                    pin_to_nth_cpu(index);
                }
                worker::run(setup)
            });
            workers.threads.push(thread.context("a worker thread could not be started")?);
        }
        Ok(workers)
    }

    /// True once every worker has drained.
    pub(super) fn are_done(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for all of them; each was told to stop before.
    pub(super) fn join(&mut self) {
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.journal.say(Level::Warn, format!("a worker ended: {error}")),
                Err(_) => self.journal.say(Level::Warn, "a worker panicked".to_owned()),
            }
        }
    }
}

/// Keeps this thread on the n-th of the CPUs that the process may use.
fn pin_to_nth_cpu(n: usize) {
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let cpus: Vec<_> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    if let Some(cpu) = cpus.get(n % cpus.len().max(1)) {
        let mut one = CpuSet::new();
        one.set(*cpu);
        // Not being pinned costs a little speed and nothing else.
        let _ = sched_setaffinity(None, &one);
    }
}
