//! Runs wrk: as many requests as fit, on kept-alive connections; for some seconds, or in turns.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::machine;
use crate::process::Running;

/// What wrk counted; durations in microseconds.
#[derive(Deserialize)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) microseconds: u64,
    socket_errors: u64,
    status_errors: u64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
}

impl Outcome {
    /// Why the figures must not be used, if there is a reason.
    pub(crate) fn void(&self, connections: usize, response_bytes: u64) -> Option<String> {
        if self.socket_errors + self.status_errors > 0 {
            return Some(format!("{} socket errors, {} non-2xx", self.socket_errors, self.status_errors));
        }
        // A response that was under way when the time was up has bytes that belong to no request.
        let expected = self.requests * response_bytes;
        let slack = connections as u64 * response_bytes;
        if self.requests == 0 || self.bytes.abs_diff(expected) > slack {
            return Some(format!("{} bytes for {} requests, not {expected}", self.bytes, self.requests));
        }
        None
    }
}

/// Loads an address for some seconds from the clients' CPU.
pub(crate) fn run(address: SocketAddr, connections: usize, seconds: u64) -> Result<Outcome> {
    run_at(&format!("http://{address}/"), connections, seconds)
}

/// The same for a URL.
pub(crate) fn run_at(url: &str, connections: usize, seconds: u64) -> Result<Outcome> {
    let output = command(url, connections, seconds)
        .output()
        .context("wrk cannot be started; on Debian: apt-get install wrk")?;
    let text = [output.stdout, output.stderr].concat();
    report(&String::from_utf8_lossy(&text))
}

fn command(url: &str, connections: usize, seconds: u64) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &machine::CLIENTS.to_string(), "wrk", "-t1"]);
    command.arg(format!("-c{connections}")).arg(format!("-d{seconds}s"));
    command.arg("-s").arg(crate::repository().join("bench/report.lua")).arg(url);
    command
}

/// The report in what it printed.
fn report(text: &str) -> Result<Outcome> {
    let Some(report) = text.lines().find_map(|line| line.strip_prefix("report ")) else {
        bail!("wrk reported nothing: {text}");
    };
    serde_json::from_str(report).context("wrk's report is not what bench/report.lua writes")
}

/// A wrk that sends only when it is its turn. It is killed when the value goes, suspended or not.
pub(crate) struct Suspended(Running);

impl Suspended {
    /// Starts it, lets it open its connections and use them for a while, and suspends it. `most` is the time after which
    /// it ends by itself.
    pub(crate) fn start(
        url: &str,
        connections: usize,
        warm_up: Duration,
        most: Duration,
        folder: &Path,
    ) -> Result<Self> {
        let mut command = command(url, connections, most.as_secs());
        // A response that waits while wrk is suspended would count as an error after two seconds.
        command.args(["--timeout", "20s"]);
        let process = Running::start(&mut command, folder)?;
        std::thread::sleep(warm_up);
        process.suspend()?;
        Ok(Self(process))
    }

    /// Its turn begins.
    pub(crate) fn resume(&self) -> Result<()> {
        self.0.resume()
    }

    /// Its turn is over.
    pub(crate) fn suspend(&self) -> Result<()> {
        self.0.suspend()
    }

    /// Ends it. Its latencies mean nothing, for it stood still most of the time.
    pub(crate) fn finish(self) -> Result<Outcome> {
        report(&self.0.interrupt()?)
    }
}
