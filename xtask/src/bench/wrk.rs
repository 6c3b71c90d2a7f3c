//! Runs wrk: as many requests as fit, on kept-alive connections.

use std::{net::SocketAddr, process::Command};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::machine;

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
    let output = Command::new("taskset")
        .args(["-c", &machine::CLIENTS.to_string(), "wrk", "-t1"])
        .arg(format!("-c{connections}"))
        .arg(format!("-d{seconds}s"))
        .arg("-s")
        .arg(crate::repository().join("bench/report.lua"))
        .arg(url)
        .output()
        .context("wrk cannot be started; on Debian: apt-get install wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(report) = text.lines().find_map(|line| line.strip_prefix("report ")) else {
        bail!("wrk reported nothing: {text}{}", String::from_utf8_lossy(&output.stderr));
    };
    serde_json::from_str(report).context("wrk's report is not what bench/report.lua writes")
}
