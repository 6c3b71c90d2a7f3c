//! Ten upgrades in place under clients of every kind: none of them may notice, and connections that were there before live on
//! in the process that they came to. Then programs that do not come to serve: nothing changes.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use super::{
    crowd::{self, Count},
    folder, site,
};
use crate::{
    bench::probe,
    process::{Running, free_address},
};

const UPGRADES: usize = 10;
/// Clients that keep their connection, as many that close it after each request, and half as many with TCP sessions.
const CLIENTS: usize = 40;
/// WebSockets, and as many TCP connections, that stay from before the first upgrade to after the last.
const LONG: usize = 100;

/// The program where it is started from, and the process that runs it now.
pub(super) struct Installed {
    folder: PathBuf,
    /// The first process; the others are told to end when this is dropped.
    pids: Vec<Pid>,
}

impl Drop for Installed {
    fn drop(&mut self) {
        for pid in &self.pids[1..] {
            let _ = kill_process(*pid, Signal::TERM);
            let _ = kill_process(*pid, Signal::TERM);
        }
    }
}

impl Installed {
    /// Puts the program beside the `weir.yaml` in a folder and starts it there.
    pub(super) fn start(program: &Path, folder: &Path) -> Result<(Self, Running)> {
        let mut installed = Self { folder: folder.to_path_buf(), pids: Vec::new() };
        installed.install(program)?;
        let mut command = Command::new("./weir");
        command.args(["run", "-c", "weir.yaml"]).current_dir(folder);
        let first = Running::start(&mut command, folder)?;
        installed.pids.push(Pid::from_raw(first.pid().cast_signed()).context("no process")?);
        Ok((installed, first))
    }

    /// Puts another program in the place of the one that is there, as an installation does.
    fn install(&self, program: &Path) -> Result<()> {
        let new = self.folder.join("weir.new");
        fs::copy(program, &new)?;
        Ok(fs::rename(new, self.folder.join("weir"))?)
    }

    /// `weir upgrade`; what it says, or what is wrong.
    pub(super) fn upgrade(&mut self, program: &Path) -> Result<Value> {
        let mut command = Command::new(program);
        let output = command.args(["upgrade", "--json"]).current_dir(&self.folder).output()?;
        let told: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        if !output.status.success() {
            bail!("{}", told["error"].as_str().unwrap_or("no reason"));
        }
        let pid = told["pid"].as_i64().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        self.pids.push(pid.context("no process")?);
        Ok(told)
    }
}

fn configuration(workers: usize, web: SocketAddr, tcp: SocketAddr, backends: [SocketAddr; 4]) -> String {
    let [a, b, websocket, echo] = backends;
    format!(
        "workers: {workers}\nadmin: {{ bind: \"unix:admin.sock\" }}\nupgrade: {{ drain: 10m }}\nshutdown: {{ announce: 0s, \
         drain: 1s }}\nlisteners:\n  tcp: {{ bind: {tcp}, protocol: tcp, pool: echo }}\n  web:\n    bind: {web}\n    \
         protocol: http\n    routes:\n      - {{ match: {{ path: /ws }}, pool: websocket }}\n      - {{ pool: app }}\n\
         pools:\n  app: {{ backends: [\"{a}\", \"{b}\"], health: {{ http: /, interval: 1s }} }}\n  echo: {{ backends: \
         [\"{echo}\"] }}\n  websocket: {{ backends: [\"{websocket}\"] }}\n"
    )
}

pub(super) fn ten(program: &Path) -> Result<String> {
    let (web, tcp) = (free_address()?, free_address()?);
    let backends = [free_address()?, free_address()?, free_address()?, free_address()?];
    let _sites = [site::nginx_site("upgrade-a", backends[0])?, site::nginx_site("upgrade-b", backends[1])?];
    let _echo = crowd::echo_site("upgrade-echo", backends[2], backends[3])?;
    let folder = folder("upgrade-weir")?;
    let write = |text: &str| fs::write(folder.join("weir.yaml"), text);
    write(&configuration(2, web, tcp, backends))?;
    let (mut installed, first) = Installed::start(program, &folder)?;
    first.ready(|| probe::exchange(web, 1))?;

    let mut long = crowd::websockets(web, LONG)?;
    long.extend(crowd::tcp_connections(tcp, LONG)?);
    let stopped = AtomicBool::new(false);
    let goes_on = || !stopped.load(Ordering::Relaxed);
    let (driven, counts, talked) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS * 2 + CLIENTS / 2)
            .map(|index| {
                scope.spawn(move || match index / CLIENTS {
                    0 => crowd::keep(web, goes_on),
                    1 => crowd::close(web, goes_on),
                    _ => crowd::sessions(tcp, goes_on),
                })
            })
            .collect();
        let talking = scope.spawn(|| crowd::talk(&mut long, goes_on));
        let driven = (0..UPGRADES).try_for_each(|round| {
            thread::sleep(Duration::from_millis(500));
            // More workers than before, and fewer.
            write(&configuration([2, 1, 3][round % 3], web, tcp, backends))?;
            installed.install(program)?;
            installed.upgrade(program).map(drop)
        });
        thread::sleep(Duration::from_secs(1));
        stopped.store(true, Ordering::Relaxed);
        let counts = clients.into_iter().map(|client| client.join().unwrap_or_default());
        (driven, counts.fold(Count::default(), Count::merge), talking.join().unwrap_or_default())
    });
    driven?;
    let failures: Vec<_> = counts.failures.iter().chain(&talked.failures).collect();
    let sentence = format!(
        "{UPGRADES} upgrades in place; {} requests and sessions, {} messages on {LONG} WebSockets and {LONG} TCP connections \
         that were there before; {} failed",
        counts.done,
        talked.done,
        failures.len()
    );
    ensure!(failures.is_empty(), "{sentence}, among them: {:?}", &failures[..failures.len().min(5)]);
    ensure!(talked.done >= 2 * LONG, "{sentence}: not every long connection was used");
    ensure!(test_kill_process(installed.pids[0]).is_ok(), "{sentence}: the first process is gone");

    let refused = refuses(&mut installed, &write, program, web)?;
    drop(long);
    ensure!(first.finish()?, "the first process did not end well");
    Ok(format!("{sentence}. {refused}"))
}

/// New programs that do not come to serve.
fn refuses(
    installed: &mut Installed,
    write: &dyn Fn(&str) -> std::io::Result<()>,
    program: &Path,
    web: SocketAddr,
) -> Result<String> {
    let good = fs::read_to_string(installed.folder.join("weir.yaml"))?;
    let mut reasons = Vec::new();
    for (text, other) in [(format!("{good}wurkers: 2\n"), program), (good.clone(), Path::new("/bin/false"))] {
        write(&text)?;
        installed.install(other)?;
        match installed.upgrade(program) {
            Ok(told) => bail!("it should not have come to serve: {told}"),
            Err(error) => reasons.push(format!("{error:#}").lines().take(2).collect::<Vec<_>>().join(" ")),
        }
        probe::exchange(web, 10)?;
    }
    write(&good)?;
    ensure!(reasons[0].contains("wurkers") && reasons[1].contains("exit code 1"), "{reasons:?}");
    Ok(format!("New programs that cannot serve: {}", reasons.join("; ")))
}
