//! The signals that ask the process to stop.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// How often the process was asked to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct StopRequests(Arc<AtomicUsize>);

impl StopRequests {
    /// Listens for SIGTERM and SIGINT from now on, on a thread of its own.
    pub(crate) fn listen() -> Result<Self> {
        let requests = Self::default();
        let count = requests.0.clone();
        let runtime = Builder::new_current_thread().enable_all().build().context("no signal runtime")?;
        let (terminate, interrupt) = {
            let _inside = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        std::thread::Builder::new().name("weir-signals".to_owned()).spawn(move || {
            let (mut terminate, mut interrupt) = (terminate, interrupt);
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = terminate.recv() => {}
                        _ = interrupt.recv() => {}
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        })?;
        Ok(requests)
    }

    /// How often so far.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}
