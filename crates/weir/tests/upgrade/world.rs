//! A folder with a program that can be replaced, its configuration, and the processes that run it.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use weir_testkit::{FakeBackend, RawClient, wait_until};

/// Ends with the test, and with it every process that was started in it.
pub(crate) struct World {
    pub(crate) folder: PathBuf,
    pub(crate) child: Option<Child>,
    /// An HTTP listener, and a TCP one.
    pub(crate) web: SocketAddr,
    pub(crate) tcp: SocketAddr,
}

impl Drop for World {
    fn drop(&mut self) {
        for pid in self.pids() {
            let _ = kill_process(pid, Signal::KILL);
        }
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Addresses that nobody uses.
pub(crate) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.61:0").unwrap().local_addr().unwrap()
}

/// Gives every byte back until the other side ends.
pub(crate) fn echo() -> FakeBackend {
    FakeBackend::custom(|mut connection| {
        loop {
            let bytes = connection.read_exact(1);
            if bytes.is_empty() || !connection.send(bytes) {
                return;
            }
        }
    })
}

impl World {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("weir-upgrade-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let world = Self { folder, child: None, web: free(), tcp: free() };
        world.install(Path::new(env!("CARGO_BIN_EXE_weir")));
        world
    }

    /// Puts another program where the running one was started from.
    pub(crate) fn install(&self, program: &Path) {
        let new = self.folder.join("weir.new");
        if fs::hard_link(program, &new).is_err() {
            fs::copy(program, &new).unwrap();
        }
        fs::rename(new, self.folder.join("weir")).unwrap();
    }

    /// The same, for one that consists of these lines.
    pub(crate) fn install_script(&self, lines: &str) {
        let script = self.folder.join("script");
        fs::write(&script, lines).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(script, self.folder.join("weir")).unwrap();
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(self.folder.join("weir.yaml"), text).unwrap();
    }

    /// A configuration with both listeners.
    pub(crate) fn text(&self, workers: usize, web: &FakeBackend, tcp: &FakeBackend) -> String {
        format!(
            "workers: {workers}\nadmin: {{ bind: 'unix:admin.sock' }}\nshutdown: {{ announce: 0s, drain: 20s }}
listeners:
  web: {{ bind: '{}', protocol: http, pool: app }}
  tcp: {{ bind: ['{}', 'unix:tcp.sock'], protocol: tcp, pool: tcp }}
pools:
  app: {{ backends: [{{ address: '{}', name: one }}], health: {{ tcp: {{}}, interval: 1s }} }}
  tcp: {{ backends: ['{}'] }}
",
            self.web,
            self.tcp,
            web.address(),
            tcp.address()
        )
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("./weir");
        command.args(["run", "-c", "weir.yaml"]).current_dir(&self.folder);
        let log = fs::OpenOptions::new().append(true).create(true).open(self.folder.join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
    }

    pub(crate) fn run(&mut self) {
        self.child = Some(self.command().spawn().unwrap());
        wait_until("weir answers", || {
            RawClient::try_connect(self.web).is_ok_and(|mut client| client.get("/").status() == 200)
        });
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// The first process, and those that have taken over, as the log tells.
    pub(crate) fn pids(&self) -> Vec<Pid> {
        let first = self.child.as_ref().map(Pid::from_child);
        let log = self.log();
        let said = log.lines().filter_map(|line| {
            let (_, rest) = line.split_once("upgrade: process ")?;
            Pid::from_raw(rest.split(' ').next()?.parse().ok()?)
        });
        first.into_iter().chain(said).collect()
    }

    /// The process that serves now.
    pub(crate) fn newest(&self) -> Pid {
        *self.pids().last().unwrap()
    }

    /// `weir` with arguments.
    pub(crate) fn weir(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(arguments).current_dir(&self.folder).output().unwrap()
    }

    /// `weir upgrade`: its exit code, and what it says on either way.
    pub(crate) fn upgrade(&self) -> (i32, String) {
        let output = self.weir(&["upgrade"]);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    pub(crate) fn status(&self) -> Value {
        let output = self.weir(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// True while it has not ended.
pub(crate) fn is_there(pid: Pid) -> bool {
    // One that nobody has waited for yet is still there, but has no program any more.
    test_kill_process(pid).is_ok() && fs::read_link(format!("/proc/{}/exe", pid.as_raw_pid())).is_ok()
}
