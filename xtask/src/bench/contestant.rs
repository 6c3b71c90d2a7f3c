//! The contestants: how each is started, pinned, known to be ready and stopped.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{machine, papers, probe, relay};
use crate::process::{Running, folder, nginx};

/// The kind of work a contestant does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Requests, parsed.
    Http,
    /// Bytes, not looked at.
    Tcp,
    /// Requests, over TLS that ends here.
    Tls,
    /// Requests over TLS, passed on as they are.
    Pass,
}

impl Work {
    /// Whether clients speak TLS.
    const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Pass)
    }
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
    /// This program, as the least that a balancer can be ([`relay`]). Its file is an address to listen at, and backends'.
    Relay,
}

impl Program {
    /// How it is started with a file.
    pub(super) fn command(self, weir: &Path, file: &Path, folder: &Path) -> Result<Command> {
        Ok(match self {
            Self::Weir => {
                let mut command = Command::new(weir);
                command.args(["run", "-c"]).arg(file);
                command
            }
            Self::Nginx => nginx(file, folder),
            Self::Haproxy => {
                let mut command = Command::new("haproxy");
                command.args(["-db", "-q", "-f"]).arg(file);
                command
            }
            Self::Relay => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(relay::COMMAND).args(fs::read_to_string(file)?.split_whitespace());
                command
            }
        })
    }

    /// Its own words about its version.
    pub(super) fn version(self, weir: &Path) -> String {
        let (program, argument) = match self {
            Self::Weir => (weir, "--version"),
            Self::Nginx => (Path::new("nginx"), "-v"),
            Self::Haproxy => (Path::new("haproxy"), "-v"),
            Self::Relay => return "without a version".to_owned(),
        };
        let output = Command::new(program).arg(argument).output();
        let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().next().unwrap_or("unknown version").to_owned()
    }
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

/// The name of the one that only passes bytes on.
pub(crate) const RELAY: &str = "bare relay";

const SPECS: [Spec; 13] = [
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
    Spec { name: RELAY, program: Program::Relay, work: Work::Tcp, file: "relay.txt", port: 18092 },
    Spec { name: "weir tls", program: Program::Weir, work: Work::Tls, file: "weir-tls.yaml", port: 18086 },
    Spec { name: "nginx tls", program: Program::Nginx, work: Work::Tls, file: "nginx-tls.conf", port: 18087 },
    Spec {
        name: "HAProxy tls",
        program: Program::Haproxy,
        work: Work::Tls,
        file: "haproxy-tls.cfg",
        port: 18088,
    },
    Spec { name: "weir pass", program: Program::Weir, work: Work::Pass, file: "weir-pass.yaml", port: 18089 },
    Spec {
        name: "nginx pass",
        program: Program::Nginx,
        work: Work::Pass,
        file: "nginx-pass.conf",
        port: 18090,
    },
    Spec {
        name: "HAProxy pass",
        program: Program::Haproxy,
        work: Work::Pass,
        file: "haproxy-pass.cfg",
        port: 18091,
    },
];

/// Who takes part: the peers' TCP balancers, and the relay, stand beside both kinds of work in clear text.
pub(crate) fn specs(work: &[Work]) -> Vec<Spec> {
    let clear = !work.iter().any(|work| work.is_secure());
    let beside = |spec: &Spec| clear && spec.work == Work::Tcp && spec.program != Program::Weir;
    let takes_part = |spec: &Spec| work.contains(&spec.work) || beside(spec);
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

    /// Where requests are sent.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.work.is_secure() { "https" } else { "http" };
        format!("{scheme}://{}/", self.address())
    }

    /// A connection as a client makes it there.
    pub(crate) fn connect(&self) -> Result<probe::Client> {
        let tls = self.work.is_secure().then(|| papers::client(false)).transpose()?;
        probe::Client::connect_as(self.address(), tls.as_ref())
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
        if !small && self.work != Work::Tls {
            return Ok(file);
        }
        let mut text = fs::read_to_string(file)?;
        if self.work == Work::Tls {
            text = text.replace("PAPERS", &papers::folder()?.to_string_lossy());
        }
        if !small {
            let full = folder.join(self.file);
            fs::write(&full, text)?;
            return Ok(full);
        }
        let text = text
            .replace("worker_connections 19000", "worker_connections 100")
            .replace("maxconn 9800", "maxconn 50");
        let small = folder.join(format!("small-{}", self.file));
        fs::write(&small, text)?;
        Ok(small)
    }

    fn command(&self, weir: &Path, small: bool, folder: &Path) -> Result<Command> {
        let file = self.configuration(small, folder)?;
        self.program.command(weir, &file, folder)
    }

    fn version(&self, weir: &Path) -> String {
        format!("{}: {}", self.name, self.program.version(weir))
    }
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
        unused(spec.address())?;
        let folder = folder(spec.file)?;
        let command = spec.command(weir, small, &folder)?;
        let process = start(&command, machine::BALANCER, &folder)?;
        let response_bytes = answers(&process, &spec)?;
        Ok(Self { spec, version: spec.version(weir), response_bytes, process })
    }

    /// The last lines of what it printed, to explain a failure.
    pub(crate) fn last_words(&self) -> String {
        self.process.last_words()
    }

    /// Its main process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
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
    let addresses =
        [18001, 18002, 18003, 18004, 18005, 18006].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    addresses.into_iter().try_for_each(unused)?;
    let folder = folder("backend")?;
    let text = fs::read_to_string(crate::repository().join("bench/backend.nginx.conf"))?;
    let file = folder.join("backend.nginx.conf");
    fs::write(&file, text.replace("PAPERS", &papers::folder()?.to_string_lossy()))?;
    let process = start(&nginx(&file, &folder), machine::CLIENTS, &folder)?;
    let [address, ..] = addresses;
    process.ready(|| probe::exchange(address, 2)).context("the backend (nginx)")?;
    Ok(Backend { _process: process, address })
}

/// Fails if somebody is there already. Programs that set SO_REUSEPORT would share the address without a word, and the
/// figures would be those of both.
pub(super) fn unused(address: SocketAddr) -> Result<()> {
    if TcpStream::connect(address).is_ok() {
        bail!("somebody listens at {address} already; is another bench running?");
    }
    Ok(())
}

/// Starts a program on a CPU.
pub(super) fn start(command: &Command, cpu: usize, folder: &Path) -> Result<Running> {
    // taskset becomes the program, so that the process is the program's.
    let mut pinned = Command::new("taskset");
    pinned.arg("-c").arg(cpu.to_string()).arg(command.get_program()).args(command.get_args());
    Running::start(&mut pinned, folder)
}

/// Waits until requests are answered with 200; the length of a whole response.
fn answers(process: &Running, spec: &Spec) -> Result<u64> {
    let tls = spec.work.is_secure().then(|| papers::client(false)).transpose()?;
    let address = spec.address();
    // Two requests on one connection: some headers differ on the first.
    let exchange = || probe::exchange_as(address, 2, tls.as_ref());
    process.ready(|| exchange().with_context(|| format!("no answer at {address}")))
}
