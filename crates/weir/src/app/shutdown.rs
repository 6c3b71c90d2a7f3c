//! The end of the process: announced, drained, and with a last line that counts what had to be cut.
//!
//! ```text
//!            announce: /readyz fails,        drain: nothing new is accepted,
//!            everything is served            idle connections are closed, exchanges finish
//!  running ──────────────────────> announcing ──────────────────────> draining ──────> stopped
//! ```

use std::{fmt, sync::Arc, sync::PoisonError, sync::atomic::Ordering, thread, time::Duration};

use weir_model::{snapshot::Snapshot, status::ProcessStatus, time::Millis};
use weir_proxy::{telemetry::Level, worker::Phase};

use super::App;

impl App {
    /// Stops in order: `/readyz` fails for `shutdown.announce` while everything is still served, then nothing new is
    /// accepted and what is in flight may finish for `shutdown.drain`. `hurry` cuts both short when it becomes true.
    /// Returns how many connections had to be cut.
    pub fn shutdown(mut self, hurry: &dyn Fn() -> bool) -> u64 {
        let process = self.cell.load().process.clone();
        self.phase.send_replace(Phase::Announcing);
        self.say_how_many("stopping: this is announced");
        wait(process.shutdown_announce, hurry);
        // What the process holds of its sockets is closed first: the workers' share is then the last, and a client that
        // comes too late is refused at once.
        self.close_own_sockets();
        self.phase.send_replace(Phase::Draining);
        self.say_how_many("stopping: nothing new is accepted");
        wait(process.shutdown_drain, || hurry() || self.workers.are_done());
        self.end()
    }

    fn say_how_many(&self, what: &str) {
        let open = self.workers.process.open();
        let connections =
            if open == 1 { "1 connection is".into() } else { format!("{open} connections are") };
        self.voice.say(Level::Info, format!("{what}; {connections} open"));
    }

    /// Cuts what is left, says how much that was, and stops.
    fn end(&mut self) -> u64 {
        let left = Left::of(&self.cell.load(), &self.workers.process);
        self.voice.say(Level::Info, format!("stopped; {left}"));
        self.stop();
        left.connections
    }

    /// Finishes what this process has after another one has taken over: for `upgrade.drain`, or until it is asked to stop
    /// (`asked` says how often so far), and then as at a shutdown.
    pub(crate) fn retire(mut self, asked: &dyn Fn() -> usize) -> u64 {
        let process = self.cell.load().process.clone();
        wait(process.upgrade_drain, || asked() > 0 || self.workers.are_done());
        self.phase.send_replace(Phase::Draining);
        if asked() > 0 {
            self.say_how_many("stopping: another process serves");
            wait(process.shutdown_drain, || asked() > 1 || self.workers.are_done());
        }
        self.end()
    }

    fn close_own_sockets(&self) {
        self.bound.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn stop(&mut self) {
        self.reloader = None;
        self.close_own_sockets();
        self.phase.send_replace(Phase::Stopped);
        self.workers.join();
        self.access.finish();
        self.control.join();
        // It ends with the last one who could ask: the control thread held the other reloader.
        if let Some(reloading) = self.reloading.take() {
            let _ = reloading.join();
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What is left when there is no more time.
struct Left {
    /// Client connections.
    connections: u64,
    /// The same by listener, and those whose listener a reload has taken away.
    by_listener: Vec<(Arc<str>, u64)>,
    /// Requests and connections in flight to backends.
    in_flight: u64,
}

impl Left {
    fn of(snapshot: &Snapshot, process: &ProcessStatus) -> Self {
        let open = snapshot.listeners.iter().map(|listener| (listener.name.clone(), listener.status.open()));
        let mut by_listener: Vec<_> = open.filter(|(_, open)| *open > 0).collect();
        let known = by_listener.iter().map(|(_, open)| open).sum::<u64>();
        let connections = process.open().max(known);
        if connections > known {
            by_listener.push(("of addresses that were closed before".into(), connections - known));
        }
        let backends = snapshot.pools.iter().flat_map(|pool| &pool.backends);
        let in_flight =
            backends.map(|backend| u64::from(backend.status.active.load(Ordering::Relaxed))).sum();
        Self { connections, by_listener, in_flight }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.connections == 0 {
            return f.write_str("nothing was cut");
        }
        let by_listener = self.by_listener.iter().map(|(name, open)| format!("{name} {open}"));
        let by_listener = by_listener.collect::<Vec<_>>().join(", ");
        let (were, in_flight) = (if self.connections == 1 { "was" } else { "were" }, self.in_flight);
        let s = if self.connections == 1 { "" } else { "s" };
        write!(
            f,
            "{} connection{s} {were} cut ({by_listener}); in flight to backends: {in_flight}",
            self.connections
        )
    }
}

/// Waits so long, or until `done` says yes.
fn wait(length: Millis, done: impl Fn() -> bool) {
    const STEP: Duration = Duration::from_millis(20);
    let mut left = length.duration();
    while !done() && !left.is_zero() {
        thread::sleep(STEP.min(left));
        left = left.saturating_sub(STEP);
    }
}
