//! The contestants: how each is started, pinned, known to be ready and stopped.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{machine, probe};

/// The kind of work a contestant does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Requests, parsed.
    Http,
    /// Bytes, not looked at.
    Tcp,
}

/// Which program a contestant is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// This one.
    Weir,
    /// Debian's nginx.
    Nginx,
    /// Debian's HAProxy.
    Haproxy,
}

/// A program with one of the files in `bench/`.
#[derive(Clone, Copy)]
pub(crate) struct Spec {
    /// As printed.
    pub(crate) name: &'static str,
    program: Program,
    work: Work,
    file: &'static str,
    port: u16,
}

const SPECS: [Spec; 6] = [
    Spec { name: "weir http", program: Program::Weir, work: Work::Http, file: "weir-http.yaml", port: 18080 },
    Spec {
        name: "nginx http",
        program: Program::Nginx,
        work: Work::Http,
        file: "nginx-http.conf",
        port: 18081,
    },
    Spec {
        name: "HAProxy http",
        program: Program::Haproxy,
        work: Work::Http,
        file: "haproxy-http.cfg",
        port: 18082,
    },
    Spec {
        name: "nginx stream",
        program: Program::Nginx,
        work: Work::Tcp,
        file: "nginx-stream.conf",
        port: 18083,
    },
    Spec {
        name: "HAProxy tcp",
        program: Program::Haproxy,
        work: Work::Tcp,
        file: "haproxy-tcp.cfg",
        port: 18084,
    },
    Spec { name: "weir tcp", program: Program::Weir, work: Work::Tcp, file: "weir-tcp.yaml", port: 18085 },
];

/// Who takes part: the peers' TCP balancers stand beside both kinds of work.
pub(crate) fn specs(work: &[Work]) -> Vec<Spec> {
    let takes_part =
        |spec: &Spec| work.contains(&spec.work) || (spec.work == Work::Tcp && spec.program != Program::Weir);
    SPECS.into_iter().filter(takes_part).collect()
}

/// weir counting instructions: its own file, the address of weir http.
pub(crate) fn instructions_address() -> SocketAddr {
    SPECS[0].address()
}

impl Spec {
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn is_http(&self) -> bool {
        self.work == Work::Http
    }

    pub(crate) fn is_weir(&self) -> bool {
        self.program == Program::Weir
    }

    /// Its file, with the room for connections made small if asked: peers set memory aside for the whole room.
    fn configuration(&self, small: bool, folder: &Path) -> Result<PathBuf> {
        let file = crate::repository().join("bench").join(self.file);
        if !small {
            return Ok(file);
        }
        let text = fs::read_to_string(file)?;
        let text = text
            .replace("worker_connections 19000", "worker_connections 100")
            .replace("maxconn 9800", "maxconn 50");
        let small = folder.join(format!("small-{}", self.file));
        fs::write(&small, text)?;
        Ok(small)
    }

    fn command(&self, weir: &Path, small: bool, folder: &Path) -> Result<Command> {
        let file = self.configuration(small, folder)?;
        Ok(match self.program {
            Program::Weir => {
                let mut command = Command::new(weir);
                command.args(["run", "-c"]).arg(file);
                command
            }
            Program::Nginx => nginx(&file, folder),
            Program::Haproxy => {
                let mut command = Command::new("haproxy");
                command.args(["-db", "-q", "-f"]).arg(file);
                command
            }
        })
    }

    fn version(&self, weir: &Path) -> String {
        let (program, argument) = match self.program {
            Program::Weir => (weir, "--version"),
            Program::Nginx => (Path::new("nginx"), "-v"),
            Program::Haproxy => (Path::new("haproxy"), "-v"),
        };
        let output = Command::new(program).arg(argument).output();
        let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        format!("{}: {}", self.name, text.lines().next().unwrap_or("unknown version"))
    }
}

fn nginx(file: &Path, folder: &Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).args(["-e", "stderr", "-g", "daemon off;", "-c"]).arg(file);
    command
}

/// A running balancer.
pub(crate) struct Contestant {
    /// What it is.
    pub(crate) spec: Spec,
    /// Its own words about its version.
    pub(crate) version: String,
    /// Bytes of one whole response as this balancer passes it on.
    pub(crate) response_bytes: u64,
    process: Running,
}

impl Contestant {
    /// Starts it on the balancer's CPU and waits until it answers.
    pub(crate) fn start(spec: Spec, weir: &Path) -> Result<Self> {
        Self::start_sized(spec, weir, false)
    }

    /// As [`Contestant::start`]; `small` makes room for few connections only.
    pub(crate) fn start_sized(spec: Spec, weir: &Path, small: bool) -> Result<Self> {
        let folder = folder(spec.file)?;
        let command = spec.command(weir, small, &folder)?;
        let process = Running::start(&command, machine::BALANCER, &folder)?;
        let response_bytes = process.ready(spec.address())?;
        Ok(Self { spec, version: spec.version(weir), response_bytes, process })
    }

    /// Its main process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }
}

/// The backend of all contestants.
pub(crate) struct Backend {
    _process: Running,
    /// One of its addresses, for the direct path.
    pub(crate) address: SocketAddr,
}

/// Starts the backend on the clients' CPU.
pub(crate) fn backend() -> Result<Backend> {
    let folder = folder("backend")?;
    let file = crate::repository().join("bench/backend.nginx.conf");
    let process = Running::start(&nginx(&file, &folder), machine::CLIENTS, &folder)?;
    let address = SocketAddr::from(([127, 0, 0, 1], 18001));
    process.ready(address).context("the backend (nginx)")?;
    Ok(Backend { _process: process, address })
}

/// A folder for what a program writes; its output goes to `output.txt` there.
fn folder(name: &str) -> Result<PathBuf> {
    let folder = std::env::temp_dir().join("weir-bench").join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A child process that ends with this value.
struct Running {
    child: Child,
    output: PathBuf,
}

impl Running {
    fn start(command: &Command, cpu: usize, folder: &Path) -> Result<Self> {
        let output = folder.join("output.txt");
        let program = command.get_program().to_string_lossy().into_owned();
        let mut pinned = Command::new("taskset");
        pinned.arg("-c").arg(cpu.to_string()).arg(command.get_program()).args(command.get_args());
        let file = File::create(&output)?;
        pinned.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = pinned.spawn().with_context(|| format!("{program} cannot be started"))?;
        Ok(Self { child, output })
    }

    /// Waits until a request is answered with 200; the length of the whole response.
    fn ready(&self, address: SocketAddr) -> Result<u64> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            // A second request on a warm connection: some headers differ on the first.
            match probe::exchange(address, 2) {
                Ok(bytes) => return Ok(bytes),
                Err(error) if Instant::now() > deadline || !self.alive() => {
                    let said = fs::read_to_string(&self.output).unwrap_or_default();
                    let last: Vec<_> = said.lines().rev().take(3).collect();
                    bail!("no answer at {address} ({error:#}); it said last: {}", last.join(" / "));
                }
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn alive(&self) -> bool {
        // A process that ended and was not waited for has no program any more.
        fs::read_link(format!("/proc/{}/exe", self.child.id())).is_ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = machine::stop(&mut self.child) {
            eprintln!("a process could not be stopped: {error}");
        }
    }
}
