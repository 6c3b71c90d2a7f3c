//! Every backend is drained, stopped, started and enabled again, one after the other, while clients go on: none of them may
//! notice. Requests to nginx, sessions to a Python server.

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    crowd::{self, Count},
    folder, site, weir,
};
use crate::process::{Running, free_address};

/// Clients with kept connections; half as many with a connection for each request.
const CLIENTS: usize = 40;
/// Clients with sessions.
const SESSIONS: usize = 20;
const SITES: [&str; 3] = ["rolling-a", "rolling-b", "rolling-c"];
const ECHOES: [&str; 2] = ["rolling-echo-a", "rolling-echo-b"];

/// A server that can be stopped and started again.
struct Server<'s> {
    pool: &'s str,
    name: &'s str,
    address: SocketAddr,
    running: Option<Running>,
}

impl Server<'_> {
    fn start(&mut self) -> Result<()> {
        self.running = Some(match self.pool {
            "app" => site::nginx_site(self.name, self.address)?,
            // Its other port is for WebSockets, which nobody opens here.
            _ => crowd::echo_site(self.name, free_address()?, self.address)?,
        });
        Ok(())
    }

    fn stop(&mut self) {
        self.running = None;
    }
}

/// Runs `weir` with arguments, in the folder of its configuration; what it says.
fn tell(program: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(folder("rolling-weir")?).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "weir {}: {error}", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What the status says of a backend.
fn backend(program: &Path, server: &Server<'_>) -> Result<Value> {
    let status: Value = serde_json::from_str(&tell(program, &["status", "--json"])?)?;
    let pools = status["pools"].as_array().into_iter().flatten();
    let mut backends = pools
        .filter(|pool| pool["name"] == server.pool)
        .flat_map(|pool| pool["backends"].as_array().into_iter().flatten());
    backends.find(|backend| backend["name"] == server.name).cloned().context("the backend is not there")
}

/// Restarts one server the way that is meant to be noticed by nobody.
fn restart(program: &Path, weir: &Running, server: &mut Server<'_>) -> Result<()> {
    let said = tell(program, &["drain", server.pool, server.name, "--wait"])?;
    ensure!(said.contains("may be stopped; nothing was cut"), "{said}");
    server.stop();
    // Long enough that the checks find it down.
    thread::sleep(Duration::from_secs(1));
    server.start()?;
    tell(program, &["enable", server.pool, server.name])?;
    weir.ready(|| {
        let told = backend(program, server)?;
        ensure!(told["health"] == "up" && told["state"] == "active", "{told}");
        Ok(())
    })
}

fn configuration(web: SocketAddr, tcp: SocketAddr, servers: &[Server<'_>]) -> String {
    let of = |pool: &str| {
        let backends = servers.iter().filter(|server| server.pool == pool);
        let backends: Vec<_> = backends
            .map(|server| format!("{{ address: \"{}\", name: {} }}", server.address, server.name))
            .collect();
        backends.join(", ")
    };
    let check = "interval: 200ms, timeout: 1s, fall: 2, rise: 2, initial: up";
    format!(
        "admin: {{ bind: \"unix:admin.sock\" }}\nshutdown: {{ announce: 100ms, drain: 10s }}\nlisteners:\n  web: {{ bind: \
         {web}, protocol: http, pool: app }}\n  tcp: {{ bind: {tcp}, protocol: tcp, pool: echo }}\npools:\n  app: \
         {{ backends: [{}], health: {{ http: /, {check} }} }}\n  echo: {{ backends: [{}], balance: least_conn, \
         health: {{ tcp: {{}}, {check} }} }}\n",
        of("app"),
        of("echo")
    )
}

pub(super) fn restarts(program: &Path) -> Result<String> {
    let (web, tcp) = (free_address()?, free_address()?);
    let names = SITES.map(|name| ("app", name)).into_iter().chain(ECHOES.map(|name| ("echo", name)));
    let servers =
        names.map(|(pool, name)| Ok(Server { pool, name, address: free_address()?, running: None }));
    let mut servers = servers.collect::<Result<Vec<_>>>()?;
    servers.iter_mut().try_for_each(Server::start)?;
    let weir = weir(program, "rolling-weir", &configuration(web, tcp, &servers))?;
    weir.listens(web)?;

    let stopped = AtomicBool::new(false);
    let goes_on = || !stopped.load(Ordering::Relaxed);
    let (outcome, requests, sessions) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS + CLIENTS / 2)
            .map(|index| {
                let client = move || match index < CLIENTS {
                    true => crowd::keep(web, goes_on),
                    false => crowd::close(web, goes_on),
                };
                scope.spawn(client)
            })
            .collect();
        let talking: Vec<_> =
            (0..SESSIONS).map(|_| scope.spawn(move || crowd::sessions(tcp, goes_on))).collect();
        thread::sleep(Duration::from_secs(1));
        let outcome = servers.iter_mut().try_for_each(|server| restart(program, &weir, server));
        thread::sleep(Duration::from_secs(1));
        stopped.store(true, Ordering::Relaxed);
        let sum = |clients: Vec<thread::ScopedJoinHandle<'_, Count>>| {
            let counts = clients.into_iter().map(|client| client.join().unwrap_or_default());
            counts.fold(Count::default(), Count::merge)
        };
        (outcome, sum(clients), sum(talking))
    });
    outcome?;
    let failures: Vec<_> = requests.failures.iter().chain(&sessions.failures).collect();
    let sentence = format!(
        "{} backends restarted one after the other; {} requests and {} sessions, {} failed",
        servers.len(),
        requests.done,
        sessions.done,
        failures.len()
    );
    ensure!(failures.is_empty(), "{sentence}, among them: {:?}", &failures[..failures.len().min(5)]);
    for server in &servers {
        let told = backend(program, server)?;
        ensure!(told["requests"].as_u64() > Some(0), "{sentence}; {} took nothing", server.name);
    }
    ensure!(weir.finish()?, "weir did not report success");
    Ok(sentence)
}
