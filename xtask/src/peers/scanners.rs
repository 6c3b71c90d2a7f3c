//! What others find when they look at TLS that ends at weir: testssl.sh, and a browser.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{folder, termination::Made, weir};
use crate::process::free_address;

/// A listener that answers everything with `body`.
fn configuration(made: &Made, address: std::net::SocketAddr, body: &str) -> String {
    let (cert, key) = (made.path("site.pem"), made.path("site.key"));
    format!(
        "listeners:\n  web:\n    bind: {address}\n    protocol: https\n    tls: {{ certificates: [{{ cert: {cert}, key: {key} }}] }}\n    \
         routes: [{{ respond: {{ body: \"{body}\", headers: {{ Content-Type: text/html }} }} }}]\n"
    )
}

/// testssl.sh looks for old protocols, weak ciphers and every weakness it knows. What it says of its own OpenSSL is none
/// of weir's.
pub(super) fn testssl(program: &Path) -> Result<String> {
    const FINE: [&str; 2] = ["OK", "INFO"];
    let made = Made::new("testssl-certificates")?;
    let address = free_address()?;
    let running = weir(program, "testssl", &configuration(&made, address, "found"))?;
    running.listens(address)?;
    let file = made.path("findings.json");
    _ = fs::remove_file(&file);
    let mut command = Command::new("testssl");
    command.args(["--quiet", "--color", "0", "-p", "-s", "-U", "--ip", "one", "--jsonfile", &file]);
    command.arg(address.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().context("testssl cannot be started")?;
    let text = fs::read_to_string(&file).context("testssl has found nothing out")?;
    let findings: Vec<serde_json::Value> = serde_json::from_str(&text)?;
    let said = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let flagged: Vec<_> = findings
        .iter()
        .filter(|finding| said(finding, "id") != "engine_problem")
        .filter(|finding| !FINE.contains(&&*said(finding, "severity")))
        .map(|finding| format!("{}: {}", said(finding, "id"), said(finding, "finding")))
        .collect();
    ensure!(flagged.is_empty(), "testssl flags {}", flagged.join("; "));
    for (id, expected) in [("TLS1_3", "offered"), ("TLS1_2", "offered"), ("TLS1_1", "not offered")] {
        let found = findings.iter().find(|finding| said(finding, "id") == id);
        let found = found.map(|finding| said(finding, "finding")).unwrap_or_default();
        ensure!(found.starts_with(expected), "testssl says of {id}: `{found}`");
    }
    Ok(format!("{} findings, none of them flagged", findings.len()))
}

/// The key of a certificate as browsers are told it: base64 of the SHA-256 of its public half.
pub(super) fn pin(certificate: &str) -> Result<String> {
    let steps = "openssl x509 -pubkey -noout -in \"$0\" | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64";
    let output =
        Command::new("sh").args(["-c", steps, certificate]).output().context("sh cannot be started")?;
    let pin = String::from_utf8(output.stdout)?.trim().to_owned();
    ensure!(pin.len() == 44, "`{pin}` is no pin");
    Ok(pin)
}

/// A browser that believes in nobody but our certificate.
pub(super) fn chromium(program: &Path) -> Result<String> {
    let made = Made::new("chromium-certificates")?;
    let address = free_address()?;
    let running = weir(program, "chromium", &configuration(&made, address, "<p>seen by a browser</p>"))?;
    running.listens(address)?;
    let profile = folder("chromium-profile")?;
    let pin = pin(&made.path("site.pem"))?;
    let open = |name: &str| -> Result<String> {
        let mut command = Command::new("chromium");
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]);
        command.arg(format!("--user-data-dir={}", profile.display()));
        command.arg(format!("--ignore-certificate-errors-spki-list={pin}"));
        command.arg(format!("--host-resolver-rules=MAP *.test {}", address.ip()));
        command.arg(format!("https://{name}:{}/", address.port())).stdin(Stdio::null());
        let output = command.output().context("chromium cannot be started")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let page = open("site.test")?;
    if !page.contains("<p>seen by a browser</p>") {
        bail!("the browser shows `{page}`");
    }
    Ok("a page is shown over TLS".to_owned())
}
