//! A real Prometheus, its `promtool`, and the official parsers in Python read what weir says of itself.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{clients::curl, folder, site, weir};
use crate::process::{Running, free_address};

/// Connections of wrk, one per thread: each of them ends with a whole answer, so that nothing is half counted.
const THREADS: usize = 4;
/// Answers that each of them waits for.
const EACH: usize = 2000;

/// A weir with names that need escaping, one backend that is down, and its admin address.
fn start(program: &Path, name: &str, backend: SocketAddr) -> Result<(Running, SocketAddr, SocketAddr)> {
    let (web, admin, nobody) = (free_address()?, free_address()?, free_address()?);
    let log = log(name)?;
    let configuration = format!(
        r#"admin: {{ bind: "{admin}" }}
access_log: {{ path: "{}", format: common }}
listeners:
  web:
    bind: {web}
    protocol: http
    routes:
      - {{ name: "odd \"name\" \\ here", match: {{ path: /odd }}, respond: {{ status: 418 }} }}
      - {{ name: down, match: {{ path: /down }}, pool: down }}
      - {{ name: app, pool: app }}
pools:
  app: {{ backends: ["{backend}"], health: {{ http: /, interval: 1s }} }}
  down: {{ backends: [{{ address: "{nobody}", name: "no\"body" }}] }}
shutdown: {{ announce: 100ms, drain: 10s }}
"#,
        log.display()
    );
    let running = weir(program, name, &configuration)?;
    running.ready(|| {
        ensure!(status(&format!("http://{web}/"))? == "200", "no backend is up");
        Ok(())
    })?;
    Ok((running, web, admin))
}

/// Where a weir of this name writes its access log.
fn log(name: &str) -> Result<PathBuf> {
    Ok(folder(name)?.join("access.log"))
}

fn status(url: &str) -> Result<String> {
    curl(&["-o", "/dev/null", "-w", "%{http_code}", url], None)
}

/// The pages of a weir that has seen something of everything are read by the official parsers and by promtool.
pub(super) fn parsers(program: &Path) -> Result<String> {
    let backend = free_address()?;
    let _site = site::nginx_site("parsers-nginx", backend)?;
    let (_weir, web, admin) = start(program, "parsers-weir", backend)?;
    for path in ["", "odd", "down"] {
        status(&format!("http://{web}/{path}"))?;
    }
    curl(&["-o", "/dev/null", "-H", "Host: a b", &format!("http://{web}/")], None)?;
    let folder = folder("parsers")?;
    let page = |file: &str, accept: &str| -> Result<PathBuf> {
        let path = folder.join(file);
        let accept = format!("Accept: {accept}");
        fs::write(&path, curl(&["-H", &accept, &format!("http://{admin}/metrics")], None)?)?;
        Ok(path)
    };
    let classic = page("classic.txt", "text/plain")?;
    let modern = page("openmetrics.txt", "application/openmetrics-text; version=1.0.0")?;
    ensure!(fs::read_to_string(&modern)?.ends_with("# EOF\n"), "the second page is not OpenMetrics");

    let script = folder.join("parse.py");
    fs::write(&script, include_str!("parse.py"))?;
    let said = run(Command::new("/usr/bin/python3").arg(&script).arg(&classic).arg(&modern))?;
    let counts: Vec<usize> = said.lines().map(str::parse).collect::<Result<_, _>>()?;
    ensure!(
        counts.len() == 2 && counts[0] == counts[1] && counts[0] > 100,
        "the parsers found {counts:?} samples"
    );
    let page = fs::File::open(&classic)?;
    run(Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::from(page)))?;
    Ok(format!("{} samples in either format; promtool has nothing to say against them", counts[0]))
}

/// Runs a program to its end; what it printed, or why it failed.
fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("{program} cannot be started"))?;
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{program}: {said}{wrong}");
    Ok(said.into_owned())
}

/// What Prometheus has scraped says exactly how many answers wrk got, and how many lines the access log has.
pub(super) fn scrapes(program: &Path) -> Result<String> {
    let (backend, address) = (free_address()?, free_address()?);
    let _site = site::nginx_site("scraped-nginx", backend)?;
    let (_weir, web, admin) = start(program, "scraped-weir", backend)?;
    let prometheus = prometheus(address, admin)?;
    let before = prometheus.ready(|| ask(address, ANSWERS))?;
    let counted = wrk(web)?;
    ensure!(counted == THREADS * EACH, "wrk counted {counted}");
    let expected = before + counted as f64;
    prometheus.ready(|| {
        let scraped = ask(address, ANSWERS)?;
        ensure!(scraped <= expected, "{scraped} scraped, {expected} answered");
        ensure!(scraped == expected, "{scraped} of {expected} answers are scraped");
        Ok(())
    })?;
    let from_backend = ask(address, r#"sum(weir_backend_requests_total{pool="app",code="200"})"#)?;
    ensure!(from_backend == expected, "{from_backend} of {expected} answers came from the backend");
    let waited = ask(address, r#"sum(weir_request_duration_seconds_count{route="app"})"#)?;
    ensure!(waited == expected, "{waited} of {expected} waits were measured");
    // Every exchange is one line, those before wrk as well.
    let all = ask(address, "sum(weir_requests_total)")?;
    prometheus.ready(|| {
        let lines = fs::read_to_string(log("scraped-weir")?)?.lines().count();
        ensure!(lines as f64 == all, "{lines} lines of the access log for {all} requests");
        Ok(())
    })?;
    let scrapes = ask(address, "sum(scrape_samples_scraped)")?;
    Ok(format!(
        "{counted} answers counted by wrk, {counted} by Prometheus, {all} lines of the access log in all; from pages of {scrapes} samples"
    ))
}

const ANSWERS: &str = r#"sum(weir_requests_total{listener="web",route="app",code="200"})"#;

/// Starts a Prometheus that scrapes an admin API twice a second.
fn prometheus(address: SocketAddr, admin: SocketAddr) -> Result<Running> {
    let folder = folder("prometheus")?;
    let file = folder.join("prometheus.yml");
    fs::write(
        &file,
        format!(
            "global: {{ scrape_interval: 500ms, scrape_timeout: 500ms }}\n\
             scrape_configs:\n  - job_name: weir\n    static_configs: [{{ targets: ['{admin}'] }}]\n"
        ),
    )?;
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={address}"));
    let running = Running::start(&mut command, &folder).context("on Debian: apt-get install prometheus")?;
    running.listens(address)?;
    Ok(running)
}

/// The value of an expression.
fn ask(prometheus: SocketAddr, expression: &str) -> Result<f64> {
    let query = format!("query={expression}");
    let said =
        curl(&["--get", "--data-urlencode", &query, &format!("http://{prometheus}/api/v1/query")], None)?;
    let answer: Value = serde_json::from_str(&said)?;
    let Some(value) = answer["data"]["result"][0]["value"][1].as_str() else {
        bail!("nothing is known of {expression} yet");
    };
    Ok(value.parse()?)
}

/// A fixed number of requests; how many of them wrk says were answered.
fn wrk(address: SocketAddr) -> Result<usize> {
    let script = folder("scraped-wrk")?.join("some.lua");
    let stop = format!("if count == {EACH} then wrk.thread:stop() end");
    fs::write(
        &script,
        format!("local count = 0\nfunction response()\n  count = count + 1\n  {stop}\nend\n"),
    )?;
    let threads = THREADS.to_string();
    let mut command = Command::new("wrk");
    command
        .args(["-t", &threads, "-c", &threads, "-d", "10s", "-s"])
        .arg(&script)
        .arg(format!("http://{address}/"));
    let said = run(&mut command)?;
    let line = said.lines().find(|line| line.contains(" requests in ")).context("wrk counted nothing")?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}
