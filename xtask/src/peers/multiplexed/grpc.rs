//! gRPC with real clients and servers, grpc-go and grpcio: every kind of call, deadlines, calls that nobody can serve, health
//! checks, the spread of one client's calls, and backends that are restarted or send their clients away.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::{
    super::{clients::curl, weir},
    tools::{self, Load},
};
use crate::process::{Running, free_address};

/// Calls over one connection, and the backends that share them.
const CALLS: u64 = 10_000;
const BACKENDS: usize = 4;

/// The program in Go as a server.
fn go_server(peers: &Path, name: &str, address: SocketAddr, more: &[&str]) -> Result<Running> {
    let mut command = Command::new(peers);
    command.args(["serve", "-listen", &address.to_string(), "-name", name]).args(more);
    let running = tools::server(&format!("grpc-{name}"), &mut command)?;
    running.listens(address)?;
    Ok(running)
}

/// The program in Python, to be given its arguments.
fn python() -> Result<Command> {
    let mut command = Command::new(tools::python()?);
    command.arg(tools::source("grpc_peer.py"));
    Ok(command)
}

/// Clients and servers of both languages, in every combination; then what only the balancer can say.
pub(in super::super) fn kinds(program: &Path) -> Result<String> {
    let peers = tools::go("peers")?;
    let [to_go, to_python, to_nobody, to_closed] =
        [free_address()?, free_address()?, free_address()?, free_address()?];
    let [go_at, python_at, closed] = [free_address()?, free_address()?, free_address()?];
    let _go = go_server(&peers, "kinds-go", go_at, &[])?;
    let python_server =
        tools::server("grpc-kinds-python", python()?.args(["serve", &python_at.to_string(), "python"]))?;
    python_server.listens(python_at)?;
    // What speaks gRPC is asked in HTTP/2, also where the pool does not say so.
    let configuration = format!(
        "listeners:\n  to_go: {{ bind: {to_go}, protocol: http, pool: go }}\n  to_python: {{ bind: {to_python}, protocol: \
         http, pool: python }}\n  to_nobody: {{ bind: {to_nobody}, protocol: http, pool: nobody }}\n  to_closed: {{ bind: \
         {to_closed}, protocol: http, pool: closed }}\npools:\n  go: {{ backends: [\"{go_at}\"], protocol: h2 }}\n  \
         python: {{ backends: [\"{python_at}\"] }}\n  nobody: {{ backends: [\"{closed}\"], protocol: h2, health: {{ grpc: \
         {{}}, interval: 100ms }} }}\n  closed: {{ backends: [\"{closed}\"], protocol: h2 }}\n"
    );
    let running = weir(program, "grpc-kinds", &configuration)?;
    running.listens(to_closed)?;
    let mut kinds = 0;
    for address in [to_go, to_python].map(|address| address.to_string()) {
        for command in [Command::new(&peers).args(["kinds", &address]), python()?.args(["kinds", &address])] {
            kinds += tools::client(command)?["kinds"].as_u64().unwrap_or_default();
        }
    }
    let found = tools::client(Command::new(&peers).args(["deadline", &to_go.to_string()]))?;
    ensure!(found["code"] == "200 OK" && found["status"] == "4", "a call that takes too long: {found}");
    let mut sentences = Vec::new();
    for address in [to_nobody, to_closed] {
        let found = tools::client(Command::new(&peers).args(["refused", &address.to_string()]))?;
        let raw = &found["raw"];
        let sentence = raw["message"].as_str().unwrap_or_default();
        let unavailable =
            found["library"] == "Unavailable" && raw["code"] == "200 OK" && raw["status"] == "14";
        ensure!(
            unavailable && raw["trailers_only"] == true && !sentence.is_empty(),
            "nobody serves: {found}"
        );
        sentences.push(sentence.to_owned());
    }
    Ok(format!(
        "{kinds} kinds of calls as they should be; who finds nobody hears `{}`",
        sentences.join("`, `")
    ))
}

/// Servers in Go that can be started again, a weir in front of them, and its admin listener.
struct Scene {
    peers: PathBuf,
    addresses: Vec<SocketAddr>,
    servers: Vec<Option<Running>>,
    weir: Running,
    web: SocketAddr,
    admin: SocketAddr,
    more: Vec<&'static str>,
}

impl Scene {
    fn start(program: &Path, name: &'static str, pool: &str, more: &[&'static str]) -> Result<Self> {
        let peers = tools::go("peers")?;
        let (web, admin) = (free_address()?, free_address()?);
        let addresses = (0..BACKENDS).map(|_| free_address()).collect::<Result<Vec<_>>>()?;
        let backends: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
        let configuration = format!(
            "workers: 2\nadmin: {{ bind: {admin} }}\nlisteners:\n  web: {{ bind: {web}, protocol: http, pool: app }}\n\
             pools:\n  app: {{ backends: [{}], protocol: h2, {pool} }}\n",
            backends.join(", ")
        );
        let started = addresses.iter().enumerate();
        let servers = started
            .map(|(index, address)| go_server(&peers, &format!("{name}-{index}"), *address, more).map(Some))
            .collect::<Result<Vec<_>>>()?;
        let weir = weir(program, name, &configuration)?;
        let scene = Self { peers, addresses, servers, weir, web, admin, more: more.to_vec() };
        scene.healthy(BACKENDS)?;
        Ok(scene)
    }

    /// Waits until so many backends are not known to be down.
    fn healthy(&self, wanted: usize) -> Result<()> {
        self.weir.ready(|| {
            let said = curl(&[&format!("http://{}/api/status", self.admin)], None)?;
            let status: Value = serde_json::from_str(&said)?;
            let backends = status["pools"][0]["backends"].as_array().into_iter().flatten();
            let down = |backend: &&Value| backend["health"] == "down";
            let healthy = BACKENDS - backends.filter(down).count();
            ensure!(healthy == wanted, "{healthy} backends are healthy and not {wanted}");
            Ok(())
        })
    }

    /// So many calls over one connection: how many each backend has served.
    fn many(&self, calls: u64) -> Result<Vec<u64>> {
        let arguments = ["many", &self.web.to_string(), &calls.to_string()].map(str::to_owned);
        let found = tools::client(Command::new(&self.peers).args(arguments))?;
        ensure!(found["failed"] == 0 && found["done"] == calls, "{found}");
        let backends = found["backends"].as_object().into_iter().flatten();
        Ok(backends.filter_map(|(_, count)| count.as_u64()).collect())
    }

    fn load(&self) -> Result<Load> {
        Load::start(&self.peers, &["load", &self.web.to_string()])
    }

    /// Tells a server to end, which it does when its calls are done, and starts it anew.
    fn restart(&mut self, index: usize, name: &str) -> Result<()> {
        if let Some(server) = self.servers[index].take() {
            ensure!(server.finish()?, "{name}-{index} has not ended well");
        }
        let address = self.addresses[index];
        self.servers[index] = Some(go_server(&self.peers, &format!("{name}-{index}"), address, &self.more)?);
        self.healthy(BACKENDS)
    }
}

/// The calls of one connection go to all backends, and to those only whose health service says that they serve.
pub(in super::super) fn spread(program: &Path) -> Result<String> {
    let health = "balance: round_robin, health: { grpc: {}, interval: 100ms, fall: 1, rise: 1 }";
    let scene = Scene::start(program, "grpc-spread", health, &[])?;
    let even = CALLS / BACKENDS as u64;
    let counts = scene.many(CALLS)?;
    let off = |count: &u64| count.abs_diff(even) * 50 > even;
    ensure!(
        counts.len() == BACKENDS && !counts.iter().any(off),
        "{CALLS} calls over one connection: {counts:?}"
    );
    let server = scene.servers[0].as_ref();
    server.map(|server| server.signal(Signal::USR1)).transpose()?;
    scene.healthy(BACKENDS - 1)?;
    let without = scene.many(CALLS / 10)?;
    ensure!(without.len() == BACKENDS - 1, "one backend does not serve: {without:?}");
    server.map(|server| server.signal(Signal::USR2)).transpose()?;
    scene.healthy(BACKENDS)?;
    let again = scene.many(CALLS / 10)?;
    ensure!(again.len() == BACKENDS, "all backends serve again: {again:?}");
    Ok(format!(
        "{CALLS} calls over one connection: {counts:?}; without one of them {without:?}, with it {again:?}"
    ))
}

/// Every backend is told to end and started anew, one after the other, without a word to weir.
pub(in super::super) fn rolling(program: &Path) -> Result<String> {
    let health = "health: { grpc: {}, interval: 200ms, fall: 1, rise: 1 }";
    let mut scene = Scene::start(program, "grpc-rolling", health, &[])?;
    let load = scene.load()?;
    for index in 0..BACKENDS {
        thread::sleep(Duration::from_millis(500));
        scene.restart(index, "grpc-rolling")?;
    }
    thread::sleep(Duration::from_millis(500));
    let sentence = load.finish()?;
    let counts = scene.many(CALLS / 10)?;
    ensure!(counts.len() == BACKENDS, "{sentence}; then not all of them serve: {counts:?}");
    Ok(format!("{BACKENDS} servers restarted; {sentence}"))
}

/// Backends that send their clients away every few hundred milliseconds (GOAWAY NO_ERROR).
pub(in super::super) fn ages(program: &Path) -> Result<String> {
    let scene = Scene::start(program, "grpc-ages", "balance: least_conn", &["-age", "300ms"])?;
    let load = scene.load()?;
    thread::sleep(Duration::from_secs(5));
    Ok(format!("connections to {BACKENDS} servers live for 300 ms; {}", load.finish()?))
}
