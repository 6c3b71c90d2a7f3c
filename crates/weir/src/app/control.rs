//! The control thread: checks, names and operators, on a runtime of its own.

use std::{net::SocketAddr, sync::Arc, thread::JoinHandle};

use anyhow::{Context as _, Result};
use tokio::{runtime::Builder, sync::watch};
use weir_model::snapshot::SnapshotCell;
use weir_proxy::{telemetry::Journal, worker::Phase};

/// The control thread.
#[derive(Debug)]
pub(super) struct Control {
    thread: Option<JoinHandle<()>>,
    admin: Option<SocketAddr>,
}

impl Control {
    pub(super) fn start(
        cell: Arc<SnapshotCell>,
        journal: Journal,
        mut phase: watch::Receiver<Phase>,
    ) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("no control runtime")?;
        let _ = (cell, journal);
        let thread = std::thread::Builder::new().name("weir-control".to_owned()).spawn(move || {
            runtime.block_on(async {
                let _ = phase.wait_for(|phase| *phase == Phase::Stopped).await;
            });
        });
        Ok(Self { thread: Some(thread.context("the control thread could not be started")?), admin: None })
    }

    pub(super) const fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
