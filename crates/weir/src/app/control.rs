//! The control thread: checks, names and operators, on a runtime of its own.

use std::{
    net::SocketAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::{Context as _, Result};
use tokio::{runtime::Builder, sync::watch};
use weir_control::{
    acme,
    admin::{self, Admin, Bounds, Door, When},
    discovery, drain,
    explain::{Circumstances, explain},
    health::{self, Log, Prober},
    reload::Reloader,
    upgrade::Upgrader,
};
use weir_model::{
    health::{HealthCheck, Way},
    listener::Address,
    snapshot::SnapshotCell,
};
use weir_proxy::{
    clock,
    error::Cause,
    telemetry::{Level, Voice, timestamp},
    worker::Phase,
};

use super::{Inheritance, workers::Beats};
use crate::rehearse::Path;

/// The path's probe code, as the checks ask for it.
struct Probes;

impl Prober for Probes {
    fn probe(
        &self,
        check: &HealthCheck,
        address: &Address,
        way: &Way,
    ) -> impl Future<Output = Result<String, String>> + Send {
        weir_proxy::health::probe(check, address, way)
    }
}

/// As RFC 3339; a moment by the clock on the wall as it is now.
fn stamp(when: When) -> String {
    let moment = match when {
        When::Unix(seconds) => return timestamp((seconds, 0)),
        When::At(moment) => moment,
    };
    let (seconds, micros) = clock::wall();
    let wall = u128::from(seconds) * 1_000_000 + u128::from(micros);
    let ahead = u128::from(moment.since(clock::read()).0) * 1000;
    let ago = u128::from(clock::read().since(moment).0) * 1000;
    let there = (wall + ahead).saturating_sub(ago);
    let seconds = u64::try_from(there / 1_000_000).unwrap_or(u64::MAX);
    timestamp((seconds, u32::try_from(there % 1_000_000).unwrap_or(0)))
}

/// The control thread.
#[derive(Debug)]
pub(super) struct Control {
    thread: Option<JoinHandle<()>>,
    admin: Option<SocketAddr>,
    /// The socket of the admin API as the file says it is bound, for a process that takes over.
    socket: Option<(Address, OwnedFd)>,
    /// That socket was another process's before.
    inherited: bool,
    /// The process that takes over has the socket too.
    left: Arc<AtomicBool>,
}

/// What operators reach through it.
pub(super) struct Reach {
    pub(super) reloader: Reloader,
    pub(super) upgrader: Upgrader,
    pub(super) bounds: Bounds,
}

impl Control {
    pub(super) fn start(
        cell: Arc<SnapshotCell>,
        voice: Voice,
        phase: watch::Receiver<Phase>,
        beats: Beats,
        reach: Reach,
        inheritance: &mut Inheritance,
    ) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("no control runtime")?;
        let bind = cell.load().process.admin.clone();
        let mut inherited = false;
        let open = |bound: &Address| match inheritance.take_admin(bound) {
            Some(socket) => {
                inherited = true;
                Door::inherit(bound, socket).context("the admin socket cannot be taken over")
            }
            None => Ok(Door::open(bound)?),
        };
        let door = bind.as_ref().map(open).transpose()?;
        let address = door.as_ref().and_then(|door| door.address().ip());
        let socket = door.as_ref().map(Door::copy).transpose()?;
        let warning = voice.clone();
        let warn: Log = Arc::new(move |line: &str| warning.say(Level::Warn, line.to_owned()));
        let log: Log = Arc::new(move |line: &str| voice.say(Level::Info, line.to_owned()));
        let admin = admin(&cell, &phase, beats, reach, &log);
        let left = Arc::<AtomicBool>::default();
        let logs = health::Logs { info: log.clone(), warn: warn.clone() };
        let sources = discovery::Shared {
            reloader: admin.reloader.clone(),
            log: log.clone(),
            warn,
            clock: clock::read,
            wall: || clock::wall().0,
        };
        let certificates = acme::Shared {
            log: log.clone(),
            wall: || clock::wall().0,
            date: |seconds| stamp(When::Unix(seconds)),
        };
        let tasks = (sources, certificates);
        let work = work(cell, door.map(|door| (door, admin)), tasks, logs, phase, left.clone());
        let thread = std::thread::Builder::new().name("weir-control".to_owned()).spawn(move || {
            runtime.block_on(work);
            // A look-up that hangs must not hold up the end of the process.
            runtime.shutdown_background();
        });
        let thread = thread.context("the control thread could not be started")?;
        Ok(Self { thread: Some(thread), admin: address, socket: bind.zip(socket), inherited, left })
    }

    /// The socket of the admin API, and how the file says where it is.
    pub(super) fn socket(&self) -> Option<(&Address, BorrowedFd<'_>)> {
        self.socket.as_ref().map(|(bound, socket)| (bound, socket.as_fd()))
    }

    /// True if the socket of the admin API was another process's before.
    pub(super) const fn has_inherited(&self) -> bool {
        self.inherited
    }

    /// Another process takes over, and perhaps the socket of the admin API with it.
    pub(super) fn hand_over(&mut self, with_socket: bool) {
        self.left.store(with_socket, Ordering::Release);
        self.socket = None;
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

/// What the admin API answers from.
fn admin(
    cell: &Arc<SnapshotCell>,
    phase: &watch::Receiver<Phase>,
    beats: Beats,
    reach: Reach,
    log: &Log,
) -> Admin {
    let phase = phase.clone();
    Admin {
        cell: cell.clone(),
        bounds: reach.bounds,
        version: env!("CARGO_PKG_VERSION"),
        reloader: reach.reloader,
        upgrader: reach.upgrader,
        readiness: Arc::new(move || match (*phase.borrow(), beats.stuck()) {
            (Phase::Running, None) => Ok(()),
            (Phase::Running, Some(worker)) => Err(format!("worker {worker} does not answer")),
            (Phase::Starting, _) => Err("weir is starting".to_owned()),
            _ => Err("weir is shutting down".to_owned()),
        }),
        explain: Arc::new(|snapshot, question| {
            let draw = u64::from(clock::wall().1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            explain(snapshot, question, &Path, Circumstances { live: true, draw, now: clock::read() })
        }),
        causes: Cause::ALL.iter().map(|cause| cause.code()).collect(),
        log: log.clone(),
        clock: clock::read,
        stamp,
    }
}

/// Everything that the control thread does, until the process stops.
async fn work(
    cell: Arc<SnapshotCell>,
    door: Option<(Door, Admin)>,
    (sources, certificates): (discovery::Shared, acme::Shared),
    logs: health::Logs,
    phase: watch::Receiver<Phase>,
    left: Arc<AtomicBool>,
) {
    let handed_over = || {
        let (mut phase, left) = (phase.clone(), left.clone());
        async move {
            let _ = phase.wait_for(|phase| *phase == Phase::HandedOver).await;
            left.load(Ordering::Acquire)
        }
    };
    let operators = async {
        if let Some((door, admin)) = door {
            // Orders would be lost on a process that may yet not come to serve.
            let _ = phase.clone().wait_for(|phase| *phase >= Phase::Running).await;
            let _ = admin::serve(door, admin, handed_over()).await;
        }
        std::future::pending::<()>().await;
    };
    let checks = async {
        // The process that has taken over asks the backends too; what is left here goes by what is known.
        tokio::select! {
            () = health::run(cell.clone(), Probes, logs.clone(), clock::read) => {}
            () = discovery::run(cell.clone(), sources) => {}
            () = acme::run(cell.clone(), certificates) => {}
            _ = handed_over() => {}
        }
        std::future::pending::<()>().await;
    };
    let mut end = phase.clone();
    tokio::select! {
        _ = end.wait_for(|phase| *phase == Phase::Stopped) => {}
        () = checks => {}
        () = health::announce(cell.clone(), logs.clone()) => {}
        () = drain::run(cell.clone(), logs.info.clone(), clock::read) => {}
        () = operators => {}
    }
}
