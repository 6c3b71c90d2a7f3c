//! Child processes that end with the value that stands for them.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::repository;

/// How long a program may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running program. What it prints goes to a file.
pub(crate) struct Running {
    child: Child,
    output: PathBuf,
}

impl Running {
    /// Starts it; what it prints goes to `output.txt` in the folder.
    pub(crate) fn start(command: &mut Command, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let output = folder.join("output.txt");
        let file = File::create(&output)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("{program} cannot be started"))?;
        Ok(Self { child, output })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines of what it has printed, the last one first.
    pub(crate) fn last_words(&self) -> String {
        self.said().lines().rev().take(3).collect::<Vec<_>>().join(" / ")
    }

    /// Everything that it has printed.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Sends it SIGHUP.
    pub(crate) fn hang_up(&self) -> Result<()> {
        self.signal(Signal::HUP)
    }

    /// Takes the processor away from it; what it listens at goes on taking connections.
    pub(crate) fn suspend(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Gives it the processor back.
    pub(crate) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("no process")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits until something works; the error says what did not, and what the program printed last.
    pub(crate) fn ready<T>(&self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(error) if Instant::now() > deadline || !self.alive() => {
                    bail!("not ready ({error:#}); it said last: {}", self.last_words());
                }
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Waits until connections to an address are accepted.
    pub(crate) fn listens(&self, address: SocketAddr) -> Result<()> {
        self.ready(|| TcpStream::connect(address).map(drop).with_context(|| format!("{address}")))
    }

    fn alive(&self) -> bool {
        // A process that ended and was not waited for has no program any more.
        fs::read_link(format!("/proc/{}/exe", self.child.id())).is_ok()
    }

    /// Ends it without giving it a chance to say goodbye.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end and waits for it; true if it reported success.
    pub(crate) fn finish(mut self) -> Result<bool> {
        Ok(stop(&mut self.child)?)
    }

    /// Interrupts it, suspended or not, waits for it, and returns everything that it has printed.
    pub(crate) fn interrupt(mut self) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("it does not end when it is interrupted; it said last: {}", self.last_words());
            }
            // Any thread may be the one that is interrupted, above all if all of them were suspended just now. Where it is
            // not the one that waits for the end, the next attempt finds it.
            self.resume()?;
            thread::sleep(Duration::from_millis(50));
            self.signal(Signal::INT)?;
            thread::sleep(Duration::from_millis(200));
        }
        Ok(self.said())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = stop(&mut self.child) {
            eprintln!("a process could not be stopped: {error}");
        }
    }
}

/// Asks a process to end and waits for it; kills it when it does not listen. True if it reported success.
fn stop(child: &mut Child) -> io::Result<bool> {
    if let Some(status) = child.try_wait()? {
        return Ok(status.success());
    }
    if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
        kill_process(pid, Signal::TERM)?;
        // A suspended process hears nothing until it goes on.
        kill_process(pid, Signal::CONT)?;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() > deadline {
            child.kill()?;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// An address on the loopback interface that nobody listens at.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A folder of its own for what a program writes. Runs beside each other do not share any.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let folder = folders().join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Removes the folders of this run.
pub(crate) fn remove_folders() {
    let folders = folders();
    if folders.exists()
        && let Err(error) = fs::remove_dir_all(&folders)
    {
        eprintln!("{} was left behind: {error}", folders.display());
    }
}

fn folders() -> PathBuf {
    std::env::temp_dir().join(format!("weir-xtask-{}", std::process::id()))
}

/// A command for nginx in the foreground, with a folder for what it writes.
pub(crate) fn nginx(file: &Path, folder: &Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).args(["-e", "stderr", "-g", "daemon off;", "-c"]).arg(file);
    command
}

/// Builds weir for release and says where it is, and whether the build went well.
pub(crate) fn build_weir() -> Result<(PathBuf, bool)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "--package", "weir", "--bin", "weir"])
        .current_dir(repository())
        .status()
        .context("cargo cannot be started")?;
    // This program was built into the same folder: target/release.
    let folder = std::env::current_exe()?.parent().map(Path::to_path_buf).unwrap_or_default();
    Ok((folder.join("weir"), status.success()))
}
