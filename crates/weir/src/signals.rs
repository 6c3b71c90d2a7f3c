//! The signals that ask the process to stop, to read its configuration again, and to let another one take over; and
//! the one that others are asked with to open their logs again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

/// How often the process was asked to stop.
#[derive(Debug, Clone)]
pub(crate) struct StopRequests(Counted);

/// How often the process was asked to reload.
#[derive(Debug, Clone)]
pub(crate) struct ReloadRequests(Counted);

/// How often the process was asked to let another one take over.
#[derive(Debug, Clone)]
pub(crate) struct UpgradeRequests(Counted);

/// How often the process was asked for something by a signal that asks other servers to open their logs again, and means
/// nothing here.
#[derive(Debug, Clone)]
pub(crate) struct StrayRequests(Counted);

type Counted = Arc<AtomicUsize>;

impl StopRequests {
    /// Listens for SIGTERM and SIGINT from now on.
    pub(crate) fn listen() -> Result<Self> {
        count(&[SignalKind::terminate(), SignalKind::interrupt()]).map(Self)
    }

    /// How often so far.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl ReloadRequests {
    /// Listens for SIGHUP from now on: it no longer ends the process.
    pub(crate) fn listen() -> Result<Self> {
        count(&[SignalKind::hangup()]).map(Self)
    }

    /// How often so far.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl UpgradeRequests {
    /// Listens for SIGUSR2 from now on: it no longer ends the process.
    pub(crate) fn listen() -> Result<Self> {
        count(&[SignalKind::user_defined2()]).map(Self)
    }

    /// How often so far.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl StrayRequests {
    /// Listens for SIGUSR1 from now on: it no longer ends the process.
    pub(crate) fn listen() -> Result<Self> {
        count(&[SignalKind::user_defined1()]).map(Self)
    }

    /// How often so far.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts signals, on a thread of its own.
fn count(kinds: &[SignalKind]) -> Result<Counted> {
    let counted = Counted::default();
    let runtime = Builder::new_current_thread().enable_all().build().context("no signal runtime")?;
    let signals: Vec<_> = {
        let _inside = runtime.enter();
        kinds.iter().map(|kind| signal(*kind)).collect::<Result<_, _>>()?
    };
    let count = counted.clone();
    std::thread::Builder::new().name("weir-signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let mut counting = JoinSet::new();
            for mut signal in signals {
                let count = count.clone();
                counting.spawn(async move {
                    while signal.recv().await.is_some() {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            while counting.join_next().await.is_some() {}
        });
    })?;
    Ok(counted)
}
