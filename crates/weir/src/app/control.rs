//! The control thread: checks, names and operators, on a runtime of its own.

use std::{net::SocketAddr, sync::Arc, thread::JoinHandle};

use anyhow::{Context as _, Result};
use tokio::{runtime::Builder, sync::watch};
use weir_control::{
    admin::{self, Admin, Door},
    drain,
    explain::{Circumstances, explain},
    health::{self, Prober},
    reload::Reloader,
};
use weir_model::{health::HealthCheck, listener::Address, snapshot::SnapshotCell};
use weir_proxy::{
    clock,
    error::Cause,
    telemetry::{Level, Voice},
    worker::Phase,
};

use super::workers::Beats;
use crate::rehearse::Path;

/// The path's probe code, as the checks ask for it.
struct Probes;

impl Prober for Probes {
    fn probe(
        &self,
        check: &HealthCheck,
        address: &Address,
        host: &str,
    ) -> impl Future<Output = Result<String, String>> + Send {
        weir_proxy::health::probe(check, address, host)
    }
}

/// The control thread.
#[derive(Debug)]
pub(super) struct Control {
    thread: Option<JoinHandle<()>>,
    admin: Option<SocketAddr>,
}

impl Control {
    pub(super) fn start(
        cell: Arc<SnapshotCell>,
        voice: Voice,
        mut phase: watch::Receiver<Phase>,
        beats: Beats,
        reloader: Reloader,
    ) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("no control runtime")?;
        let door = cell.load().process.admin.as_ref().map(Door::open).transpose()?;
        let address = door.as_ref().and_then(|door| door.address().ip());
        let log: health::Log = Arc::new(move |line: &str| voice.say(Level::Info, line.to_owned()));
        let admin = Admin {
            cell: cell.clone(),
            version: env!("CARGO_PKG_VERSION"),
            reloader,
            readiness: {
                let phase = phase.clone();
                Arc::new(move || match (*phase.borrow(), beats.stuck()) {
                    (Phase::Running, None) => Ok(()),
                    (Phase::Running, Some(worker)) => Err(format!("worker {worker} does not answer")),
                    _ => Err("weir is shutting down".to_owned()),
                })
            },
            explain: Arc::new(|snapshot, question| {
                let draw = u64::from(clock::wall().1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                explain(snapshot, question, &Path, Circumstances { live: true, draw, now: clock::read() })
            }),
            causes: Cause::ALL.iter().map(|cause| cause.code()).collect(),
            log: log.clone(),
            clock: clock::read,
        };
        let thread = std::thread::Builder::new().name("weir-control".to_owned()).spawn(move || {
            runtime.block_on(async {
                let operators = async {
                    if let Some(door) = door {
                        let _ = admin::serve(door, admin).await;
                    }
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    _ = phase.wait_for(|phase| *phase == Phase::Stopped) => {}
                    () = health::announce(cell.clone(), log.clone()) => {}
                    () = health::run(cell.clone(), Probes, log.clone(), clock::read) => {}
                    () = drain::run(cell, log, clock::read) => {}
                    () = operators => {}
                }
            });
            // A look-up that hangs must not hold up the end of the process.
            runtime.shutdown_background();
        });
        Ok(Self { thread: Some(thread.context("the control thread could not be started")?), admin: address })
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
