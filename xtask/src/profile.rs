//! Records the profile that release builds are optimised by: an instrumented weir does what weirs usually do, and counts
//! which way it goes.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    process::{self, Running, nginx},
    repository,
};

const PLAIN: SocketAddr = address(18090);
const ROUTED: SocketAddr = address(18091);
const RAW: SocketAddr = address(18092);
const ENCRYPTED: SocketAddr = address(18093);
const PASSED: SocketAddr = address(18094);
const STREAMS: SocketAddr = address(18095);
const BACKEND: SocketAddr = address(18011);

const fn address(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

/// Records it anew.
pub(crate) fn run() -> Result<()> {
    let merge = merger()?;
    let folder = process::folder("profile")?;
    // Where they are written is part of the instrumented program: another folder each time would build it each time.
    let counts = repository().join("target/profile/counts");
    if counts.exists() {
        fs::remove_dir_all(&counts)?;
    }
    let weir = build(&counts)?;
    fs::write(folder.join("large.txt"), "a line of a long text\n".repeat(12_000))?;
    let backend =
        Running::start(&mut nginx(&training("backend.nginx.conf"), &folder), &folder.join("backend"))?;
    backend.listens(BACKEND)?;
    let plain = fs::read_to_string(training("training.yaml"))?;
    let logged = format!("{plain}access_log: {{ path: /dev/null, format: json }}\n");
    train(&weir, &folder.join("plain"), &plain, 6)?;
    train(&weir, &folder.join("logged"), &logged, 1)?;
    let profile = training("weir.profdata");
    // Not sparse: what was never done is to be known as well, so that it does not stand in the way of what was.
    let status = Command::new(&merge).args(["merge", "-o"]).arg(&profile).arg(&counts).status();
    if !status.with_context(|| format!("{} cannot be started", merge.display()))?.success() {
        bail!("the counts could not be merged");
    }
    println!("{} is new; `cargo clean --release` has the next build use it", profile.display());
    Ok(())
}

fn training(file: &str) -> PathBuf {
    repository().join("profile").join(file)
}

/// Sends a running weir what it has to do, `seconds` for the most usual.
fn train(weir: &Path, folder: &Path, configuration: &str, seconds: u64) -> Result<()> {
    fs::create_dir_all(folder)?;
    let file = folder.join("weir.yaml");
    fs::write(&file, configuration)?;
    let mut command = Command::new(weir);
    command.args(["run", "-c"]).arg(&file).env("CERTIFICATES", repository().join("tests/golden/tls"));
    let process = Running::start(&mut command, folder)?;
    process.listens(PLAIN)?;
    let close: &[&str] = &["-H", "Connection: close"];
    let script = training("requests.lua");
    let script = script.to_str().context("the path of the repository is not UTF-8")?;
    for (scheme, address, path, seconds, more) in [
        ("http", PLAIN, "/", seconds, &[][..]),
        ("http", RAW, "/", seconds, &[][..]),
        ("http", ROUTED, "/", seconds, &["-s", script][..]),
        ("https", ENCRYPTED, "/", seconds.div_ceil(2), &[][..]),
        ("http", PLAIN, "/", 1, close),
        ("http", RAW, "/", 1, close),
        ("https", ENCRYPTED, "/", 1, close),
        ("https", PASSED, "/", 1, close),
        ("http", PLAIN, "/large", 1, &[][..]),
        ("http", RAW, "/large", 1, &[][..]),
        ("https", ENCRYPTED, "/large", 1, &[][..]),
    ] {
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", "-c64", &format!("-d{seconds}s")]).args(more);
        wrk.arg(format!("{scheme}://{address}{path}"));
        let output = wrk.output().context("wrk cannot be started; on Debian: apt-get install wrk")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let rate = said.lines().find(|line| line.starts_with("Requests/sec"));
        println!(
            "  {scheme}://{address}{path}: {}",
            rate.with_context(|| format!("wrk counted nothing: {said}"))?
        );
    }
    for (scheme, address, connections, streams) in [
        ("http", PLAIN, "10", "32"),
        ("http", PLAIN, "64", "1"),
        ("https", ENCRYPTED, "10", "32"),
        ("http", STREAMS, "10", "32"),
    ] {
        let mut h2load = Command::new("h2load");
        h2load.args(["-D", &seconds.div_ceil(3).to_string(), "-c", connections, "-m", streams]);
        h2load.arg(format!("{scheme}://{address}/"));
        let output =
            h2load.output().context("h2load cannot be started; on Debian: apt-get install nghttp2-client")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let rate = said.lines().find(|line| line.contains("req/s,"));
        println!(
            "  {scheme}://{address} in HTTP/2: {}",
            rate.with_context(|| format!("h2load counted nothing: {said}"))?
        );
    }
    if !process.finish()? {
        bail!("the instrumented weir did not end well");
    }
    Ok(())
}

/// Builds weir with counters in it.
fn build(counts: &Path) -> Result<PathBuf> {
    println!("building weir with counters in it...");
    let target = repository().join("target/profile");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "--package", "weir", "--bin", "weir"])
        .current_dir(repository())
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTC_WRAPPER", training("rustc"))
        .env("WEIR_PROFILE_COUNTS", counts)
        .status();
    if !status.context("cargo cannot be started")?.success() {
        bail!("weir could not be built");
    }
    Ok(target.join("release/weir"))
}

/// The program that puts counts together. It must know the format that this rustc writes: LLVM 19 or later does.
fn merger() -> Result<PathBuf> {
    let versions = (19..=23).rev().map(|version| format!("llvm-profdata-{version}"));
    let names = std::env::var("LLVM_PROFDATA").into_iter().chain(versions);
    let works =
        |name: &String| Command::new(name).arg("--version").output().is_ok_and(|it| it.status.success());
    names
        .into_iter()
        .find(works)
        .map(PathBuf::from)
        .context("llvm-profdata of LLVM 19 or later is missing: install llvm-19, or name it in LLVM_PROFDATA")
}
