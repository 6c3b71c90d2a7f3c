//! The threads of the data path.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::sync::{mpsc, watch};
use weir_model::{
    snapshot::SnapshotCell,
    status::ProcessStatus,
    time::{Millis, Moment},
};
use weir_proxy::{
    clock,
    telemetry::{Level, Voice},
    worker::{self, Bells, Phase, Setup},
};

use super::listeners::Orders;
use crate::log::AccessWriter;

/// How long a worker may be silent before it counts as stuck.
const SILENCE: Millis = Millis::secs(3);

/// The workers' proof of life.
#[derive(Debug, Clone)]
pub(super) struct Beats(Arc<[Arc<AtomicU64>]>);

impl Beats {
    pub(super) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Arc::new(clock::read().0.into())).collect())
    }

    /// The first worker that has not been heard of for a while.
    pub(super) fn stuck(&self) -> Option<usize> {
        let now = clock::read();
        self.0.iter().position(|beat| now.since(Moment(beat.load(Ordering::Relaxed))) > SILENCE)
    }
}

/// The threads of the data path.
#[derive(Debug)]
pub(super) struct Workers {
    threads: Vec<JoinHandle<io::Result<()>>>,
    voice: Voice,
    /// What all of them count together.
    pub(super) process: Arc<ProcessStatus>,
}

impl Workers {
    pub(super) fn start(
        cell: &Arc<SnapshotCell>,
        count: usize,
        phase: &watch::Sender<Phase>,
        (voice, access): (&Voice, &AccessWriter),
        beats: &Beats,
    ) -> Result<(Self, Orders)> {
        let process = Arc::new(ProcessStatus::new(count));
        let bells = Arc::new(Bells::new(count));
        let mut workers = Self { threads: Vec::new(), voice: voice.clone(), process: process.clone() };
        let mut senders = Vec::new();
        let pin = cell.load().process.pin;
        for index in 0..count {
            let (sender, orders) = mpsc::unbounded_channel();
            senders.push(sender);
            let setup = Setup {
                index,
                count,
                cell: cell.clone(),
                orders,
                phase: phase.subscribe(),
                voice: voice.clone(),
                access: access.queue(),
                process: process.clone(),
                bells: bells.clone(),
                beat: beats.0[index].clone(),
            };
            let thread = std::thread::Builder::new().name(format!("weir-worker-{index}")).spawn(move || {
                if pin {
                    pin_to_nth_cpu(index);
                }
                worker::run(setup)
            });
            workers.threads.push(thread.context("a worker thread could not be started")?);
        }
        Ok((workers, Orders(senders)))
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
                Ok(Err(error)) => self.voice.say(Level::Warn, format!("a worker ended: {error}")),
                Err(_) => self.voice.say(Level::Warn, "a worker panicked".to_owned()),
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
