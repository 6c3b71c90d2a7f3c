//! h2spec, the conformance suite for servers of HTTP/2: all of it, strict cases too, in clear text and over TLS.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{
    super::{clients, folder, termination::Made, weir},
    tools, web,
};
use crate::process::free_address;

/// What it says last when nothing is wrong.
const PERFECT: &str = "146 tests, 146 passed, 0 skipped, 0 failed";

/// Both runs.
pub(in super::super) fn conformance(program: &Path) -> Result<String> {
    let suite = tools::go("h2spec")?;
    let made = Made::new("h2spec-certificates")?;
    let (clear, secure, backend) = (free_address()?, free_address()?, free_address()?);
    // It reads requests to their end first: who has been answered, and reset, does not hear that he should not go on.
    let _node = web::node("h2spec-node", "h1", backend, None)?;
    let configuration = format!(
        "listeners:\n  clear: {{ bind: {clear}, protocol: http, pool: app }}\n  secure:\n    bind: {secure}\n    \
         protocol: https\n    pool: app\n    tls: {{ certificates: [{{ cert: {}, key: {} }}] }}\n\
         pools:\n  app: {{ backends: [\"{backend}\"] }}\n",
        made.path("site.pem"),
        made.path("site.key"),
    );
    let running = weir(program, "h2spec", &configuration)?;
    running.ready(|| clients::curl(&["-f", &format!("http://{clear}/")], None))?;
    let report = folder("h2spec")?.join("report.xml");
    for (kind, address, more) in [("clear text", clear, &[][..]), ("TLS", secure, &["--tls", "--insecure"])] {
        let mut command = Command::new(&suite);
        command.args([
            "--strict",
            "--host",
            &address.ip().to_string(),
            "--port",
            &address.port().to_string(),
        ]);
        command.arg("--junit-report").arg(&report).args(more);
        // It reports failure where a case has failed, which its words say better.
        let output = command.output().context("h2spec cannot be started")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let failures = said.split_once("Failures:").map_or("", |(_, failures)| failures);
        let last = said.lines().next_back().unwrap_or_default();
        ensure!(last == PERFECT, "{kind}: `{last}` and not `{PERFECT}`\n{failures}");
    }
    Ok(format!("in clear text and over TLS: {PERFECT}"))
}
