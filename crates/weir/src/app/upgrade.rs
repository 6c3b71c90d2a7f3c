//! Another process takes over: what it is given, and what this one stops doing.

use std::{mem, process, sync::PoisonError, time::Instant};

use weir_control::{trouble::Trouble, upgrade::Upgraded};
use weir_model::time::Millis;
use weir_proxy::{clock, telemetry::Level, worker::Phase};

use super::App;
use crate::upgrade::{BackendRecord, Handover, Heir, OrdersRecord, Patience, Program, SocketRecord};

impl App {
    /// Starts a program, and has it take over. If that goes well, this process accepts nothing any more, and is to
    /// [`App::retire`]; if not, it goes on as it was. `given_up` ends the attempt when it becomes true.
    pub(crate) fn upgrade(
        &mut self,
        program: &Program,
        given_up: &dyn Fn() -> bool,
    ) -> Result<Upgraded, Trouble> {
        let result = self.attempt_upgrade(program, given_up);
        match &result {
            Ok(Upgraded { pid, connections, took_ms, .. }) => {
                let text = format!(
                    "upgrade: process {pid} serves after {took_ms:.0} ms; {connections} connections may finish here"
                );
                self.voice.say(Level::Info, text);
            }
            Err(trouble) => {
                for line in format!("upgrade failed, this process goes on: {}", trouble.cause).lines() {
                    self.voice.say(Level::Warn, line.to_owned());
                }
            }
        }
        result
    }

    fn attempt_upgrade(
        &mut self,
        program: &Program,
        given_up: &dyn Fn() -> bool,
    ) -> Result<Upgraded, Trouble> {
        let started = Instant::now();
        if process::id() == 1 {
            return Err(Trouble::new(
                "weir is process 1 of a container: when it ends, everything in there does",
                "start another container, or run weir under an init process",
            ));
        }
        // While this is held, no reload binds or closes anything.
        let sockets = self.bound.clone();
        let mut bound = sockets.write().unwrap_or_else(PoisonError::into_inner);
        if *self.phase.borrow() != Phase::Running {
            return Err(Trouble::new("weir is shutting down", ""));
        }
        let snapshot = self.cell.load();
        let records = bound
            .iter()
            .map(|bound| SocketRecord { label: bound.key.label(), count: bound.files().count() })
            .collect();
        let admin = self.control.socket();
        let mut files: Vec<_> = bound.iter().flat_map(|bound| bound.files()).collect();
        files.extend(admin.map(|(_, file)| file));
        let handover = Handover::new(
            records,
            admin.map(|(bound, _)| bound.to_string()),
            BackendRecord::all(&snapshot, clock::read()),
            self.tls.tickets().keys().into_iter().map(Into::into).collect(),
        );
        let heir = Heir::start(program, &handover, &files, Patience::default(), given_up)?;
        let orders = || {
            self.upgrades.hold(true);
            OrdersRecord::all(&snapshot)
        };
        let taken = heir.take_over(orders, given_up).inspect_err(|_| self.upgrades.hold(false))?;

        // Nothing can fail from here on. What the other one has no use for is closed as by a reload.
        let (kept, gone): (Vec<_>, Vec<_>) =
            mem::take(&mut *bound).into_iter().partition(|bound| taken.sockets.contains(&bound.key.label()));
        if !gone.is_empty() {
            self.orders.close(gone);
        }
        self.control.hand_over(taken.admin);
        self.phase.send_replace(Phase::HandedOver);
        kept.into_iter().for_each(super::listeners::Bound::leave);
        drop(bound);
        let drain = snapshot.process.upgrade_drain;
        Ok(Upgraded {
            pid: taken.pid,
            version: taken.version,
            old_pid: process::id(),
            connections: self.workers.process.open(),
            drain_ms: Some(drain).filter(|drain| !drain.is_none()).map(|Millis(millis)| millis),
            took_ms: started.elapsed().as_secs_f64() * 1000.0,
        })
    }

    /// The labels of the addresses that are bound, and whether the socket for operators is one that was inherited:
    /// what the process before this one is not to close.
    pub(crate) fn holdings(&self) -> (Vec<String>, bool) {
        let bound = self.bound.read().unwrap_or_else(PoisonError::into_inner);
        (bound.iter().map(|bound| bound.key.label()).collect(), self.control.has_inherited())
    }

    /// True while every worker is alive.
    pub(crate) fn is_alive(&self) -> bool {
        self.beats.stuck().is_none()
    }
}
