//! Programs of these tests that no distribution has in the right version: those in Go are built from `go/`, which names
//! the versions of all they are made of; Python gets an environment of its own. Both are kept in `target/peers` between
//! runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::super::{databases::output, folder};
use crate::{process::Running, repository};

const SOURCES: &str = "xtask/src/peers/multiplexed";

fn kept() -> Result<PathBuf> {
    let kept = repository().join("target/peers");
    fs::create_dir_all(&kept)?;
    Ok(kept)
}

/// A program of the module in `go/`, built now: `peers`, which is ours, or `h2spec`.
pub(super) fn go(name: &str) -> Result<PathBuf> {
    let kept = kept()?;
    let mut build = Command::new("go");
    build.current_dir(repository().join(SOURCES).join("go")).args(["build", "-o"]).arg(&kept);
    output(build.args([".", "github.com/summerwind/h2spec/cmd/h2spec"]))
        .context("Go 1.24 or later is needed, and its module proxy when this is built for the first time")?;
    Ok(kept.join(name))
}

/// Python with the packages in `requirements.txt`.
pub(super) fn python() -> Result<PathBuf> {
    let room = kept()?.join("python");
    let (program, stamp) = (room.join("bin/python3"), room.join("requirements.txt"));
    let wanted = repository().join(SOURCES).join("requirements.txt");
    let text = fs::read_to_string(&wanted)?;
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == text) {
        return Ok(program);
    }
    output(Command::new("python3").args(["-m", "venv"]).arg(&room))
        .context("on Debian: apt-get install python3-venv")?;
    output(Command::new(&program).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&wanted))?;
    fs::write(stamp, text)?;
    Ok(program)
}

/// One of our programs that is not compiled.
pub(super) fn source(name: &str) -> PathBuf {
    repository().join(SOURCES).join(name)
}

/// Starts a server that needs no more than a command.
pub(super) fn server(name: &str, command: &mut Command) -> Result<Running> {
    Running::start(command, &folder(name)?)
}

/// Runs a client that prints what it has found as JSON in its last line.
pub(super) fn client(command: &mut Command) -> Result<Value> {
    found(&output(command)?)
}

fn found(said: &str) -> Result<Value> {
    let last = said.lines().next_back().context("a client has found nothing")?;
    serde_json::from_str(last).with_context(|| format!("a client says `{last}`"))
}

/// A client that goes on until it is told to stop.
pub(super) struct Load(Child);

impl Load {
    /// Starts it.
    pub(super) fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let child = command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        Ok(Self(child))
    }

    /// Tells it to stop: a sentence of what it did. Anything that failed is an error, and so is having done nothing.
    pub(super) fn finish(mut self) -> Result<String> {
        drop(self.0.stdin.take());
        let output = wait(&mut self.0)?;
        let told = found(&output)?;
        let count = |name: &str| told[name].as_u64().unwrap_or_default();
        let mut sentence = format!("{} requests, {} failed", count("done"), count("failed"));
        if count("unsent") > 0 {
            sentence += &format!(", {} not sent by the client's library and asked again", count("unsent"));
        }
        let first = &told["first_failures"];
        ensure!(count("failed") == 0 && count("done") > 0, "{sentence}, among them: {first}");
        Ok(sentence)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Who has ended already cannot be ended again, and need not be.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait(child: &mut Child) -> Result<String> {
    let mut said = String::new();
    let mut output = child.stdout.take().context("a client has no output")?;
    std::io::Read::read_to_string(&mut output, &mut said)?;
    ensure!(child.wait()?.success(), "a client has failed: {said}");
    Ok(said)
}
