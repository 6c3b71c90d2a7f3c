//! Logs on their way out: the process's own one, and the access log. One thread each; nobody who has something to say
//! waits for them.

mod access;
mod file;
mod process;
mod syslog;

pub(crate) use access::{AccessWriter, Opened};
pub(crate) use process::LogWriter;
pub use process::Sink;
pub(crate) use weir_proxy::telemetry::timestamp;

use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long the end of the process waits for a target that takes nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// Waits for a thread that writes, and leaves it behind if what it writes to is stuck.
fn join(thread: JoinHandle<()>) {
    let begun = Instant::now();
    while !thread.is_finished() && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(2));
    }
    if thread.is_finished() {
        let _ = thread.join();
    }
}
