//! Chromium over TLS: a page, what it asks for and a WebSocket on one connection of HTTP/2.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    super::{folder, scanners, termination::Made, weir},
    web,
};
use crate::process::free_address;

/// The page says what it has seen of itself; the access log, with what the WebSocket came.
pub(in super::super) fn chromium(program: &Path) -> Result<String> {
    let made = Made::new("http2-browser-certificates")?;
    let (secure, backend) = (free_address()?, free_address()?);
    let _node = web::node("http2-browser-node", "h1", backend, None)?;
    let log = folder("http2-browser")?.join("access.log");
    let configuration = format!(
        "access_log: {{ path: {}, format: common }}\nlisteners:\n  secure:\n    bind: {secure}\n    protocol: https\n    pool: \
         app\n    tls: {{ certificates: [{{ cert: {}, key: {} }}] }}\npools:\n  app: {{ backends: [\"{backend}\"] }}\n\
         shutdown: {{ announce: 0s, drain: 1s }}\n",
        log.display(),
        made.path("site.pem"),
        made.path("site.key")
    );
    let running = weir(program, "http2-browser", &configuration)?;
    running.listens(secure)?;
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", folder("http2-browser-profile")?.display()));
    command.arg(format!("--ignore-certificate-errors-spki-list={}", scanners::pin(&made.path("site.pem"))?));
    command.arg(format!("--host-resolver-rules=MAP *.test {}", secure.ip()));
    command.arg(format!("https://site.test:{}/browser", secure.port())).stdin(Stdio::null());
    let output = command.output().context("chromium cannot be started")?;
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    if !page.contains(">through a socket h2<") {
        bail!("the browser shows `{page}`; weir said last: {}", running.last_words());
    }
    ensure!(running.finish()?, "weir did not report success");
    let log = fs::read_to_string(&log)?;
    let socket = log.lines().find(|line| line.contains("/ws ")).unwrap_or_default();
    ensure!(socket.contains("HTTP/2"), "the WebSocket came so: `{socket}` in\n{log}");
    Ok("a page, its requests and a WebSocket over HTTP/2".to_owned())
}
