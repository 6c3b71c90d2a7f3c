//! Databases through a TCP listener: the server speaks, the bytes are not looked at, the counts are exact.

use std::{
    io::{ErrorKind, Read as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{folder, weir};
use crate::process::{Running, free_address};

/// A TCP listener in front of these backends.
pub(super) fn tcp(program: &Path, name: &str, backends: &[SocketAddr]) -> Result<(Running, SocketAddr)> {
    let address = free_address()?;
    let backends: Vec<_> = backends.iter().map(|backend| format!("\"{backend}\"")).collect();
    let configuration = format!(
        "listeners:\n  front:\n    bind: {address}\n    protocol: tcp\n    pool: db\n\
         pools:\n  db:\n    backends: [{}]\n    health: {{ tcp: {{}}, interval: 1s }}\n",
        backends.join(", ")
    );
    let running = weir(program, name, &configuration)?;
    running.ready(|| stays_open(address))?;
    Ok((running, address))
}

/// True once a connection is carried: before the first health checks it is reset.
fn stays_open(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    match stream.read(&mut [0]) {
        Ok(0) => bail!("{address} closes connections"),
        Err(error) if error.kind() != ErrorKind::WouldBlock => bail!("{address}: {error}"),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Runs a command to its end; what it printed, and an error if it failed.
pub(super) fn output(command: &mut Command) -> Result<String> {
    // Some of these clients try again for ever.
    let program = command.get_program().to_string_lossy().into_owned();
    let mut bounded = Command::new("timeout");
    bounded.arg("120").arg(&program).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        bounded.current_dir(folder);
    }
    let output = bounded.output().with_context(|| format!("{program} cannot be started"))?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{program}: {}", text.trim());
    Ok(text)
}

/// Where PostgreSQL's programs are: Debian keeps them out of the path, by version.
fn postgresql_programs() -> Result<PathBuf> {
    let folders =
        std::fs::read_dir("/usr/lib/postgresql").context("on Debian: apt-get install postgresql")?;
    let mut programs: Vec<_> = folders.flatten().map(|folder| folder.path().join("bin")).collect();
    programs.sort();
    programs.pop().context("no version of PostgreSQL is installed")
}

/// The server refuses to run as root: a command that runs as its own user then.
fn as_postgres(program: &Path) -> Command {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        return command;
    }
    Command::new(program)
}

/// A copy of a file beside the data, which the server may read and nobody else.
pub(super) fn for_postgres(file: &Path, data: &Path) -> Result<PathBuf> {
    let copy = data.join(file.file_name().context("a file without a name")?);
    std::fs::copy(file, &copy)?;
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o600))?;
    if rustix::process::geteuid().is_root() {
        output(Command::new("chown").arg("postgres").arg(&copy))?;
    }
    Ok(copy)
}

/// Starts PostgreSQL with a database of its own, and with the settings that are made for its folder; also where it listens and
/// where its programs are.
pub(super) fn start_postgresql(
    name: &str,
    settings: impl FnOnce(&Path) -> Result<Vec<String>>,
) -> Result<(Running, SocketAddr, PathBuf)> {
    let programs = postgresql_programs()?;
    let folder = folder(name)?;
    let data = folder.join("data");
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    std::fs::create_dir_all(&data)?;
    if rustix::process::geteuid().is_root() {
        output(Command::new("chown").arg("postgres").arg(&data))?;
    }
    output(
        as_postgres(&programs.join("initdb"))
            .args(["-A", "trust", "-U", "postgres", "-D"])
            .arg(&data)
            .current_dir("/"),
    )?;
    let backend = free_address()?;
    let settings = settings(&data)?;
    let mut server = as_postgres(&programs.join("postgres"));
    server.current_dir("/").arg("-D").arg(&data).args(["-p", &backend.port().to_string()]);
    server.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]);
    server.args(settings.iter().flat_map(|setting| ["-c", setting]));
    let server = Running::start(&mut server, &folder)?;
    server.listens(backend)?;
    Ok((server, backend, programs))
}

/// pgbench with a kept connection per client, and with a new connection for each transaction.
pub(super) fn postgresql(program: &Path) -> Result<String> {
    let (server, backend, programs) = start_postgresql("postgresql", |_| Ok(Vec::new()))?;
    let (_weir, address) = tcp(program, "postgresql-weir", &[backend])?;

    let port = address.port().to_string();
    let pgbench = |arguments: &[&str]| {
        let mut command = Command::new(programs.join("pgbench"));
        command.args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres"]).args(arguments).arg("postgres");
        output(&mut command)
    };
    server.ready(|| pgbench(&["-i", "-q"]))?;
    let mut transactions = 0;
    for arguments in [&["-c", "8", "-j", "2", "-T", "4"][..], &["-c", "8", "-j", "2", "-T", "3", "-S", "-C"]]
    {
        let said = pgbench(arguments)?;
        transactions += number_after(&said, "number of transactions actually processed: ")?;
        let failed = number_after(&said, "number of failed transactions: ")?;
        ensure!(failed == 0, "{failed} transactions failed: {said}");
    }
    ensure!(transactions > 0, "no transaction was processed");
    Ok(format!("{transactions} transactions, 0 failed"))
}

pub(super) fn number_after(text: &str, label: &str) -> Result<u64> {
    let (_, rest) = text.split_once(label).with_context(|| format!("no `{label}` in: {text}"))?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().with_context(|| format!("no number after `{label}`"))
}

/// redis-benchmark, one request at a time and pipelined; a counter shows that each was carried out once.
pub(super) fn redis(program: &Path) -> Result<String> {
    const EACH: u64 = 50_000;
    let folder = folder("redis")?;
    let backend = free_address()?;
    let mut server = Command::new("redis-server");
    server.args([
        "--bind",
        "127.0.0.1",
        "--port",
        &backend.port().to_string(),
        "--save",
        "",
        "--appendonly",
        "no",
    ]);
    let server = Running::start(server.current_dir(&folder), &folder)?;
    server.listens(backend)?;
    let (_weir, address) = tcp(program, "redis-weir", &[backend])?;
    let port = address.port().to_string();
    let mut requests = 0;
    for arguments in [&["-c", "50"][..], &["-c", "50", "-P", "16"], &["-c", "400"]] {
        let mut command = Command::new("redis-benchmark");
        command.args(["-h", "127.0.0.1", "-p", &port, "-q", "-n", &EACH.to_string()]).args(arguments);
        output(command.args(["INCR", "counter"]))?;
        requests += EACH;
    }
    let counter = output(Command::new("redis-cli").args(["-h", "127.0.0.1", "-p", &port, "GET", "counter"]))?;
    ensure!(counter.trim() == requests.to_string(), "{} of {requests} requests arrived", counter.trim());
    Ok(format!("{requests} requests, 0 failed"))
}
