//! Clients of HTTP/2: Node with everything that one connection can do, h2load with many of them, nghttp and curl; in clear
//! text and over TLS. And clients in Go that go on while weir is reloaded and upgraded.

use std::{fs, net::SocketAddr, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    super::{clients::curl, databases::output, folder, termination::Made, upgrade::Installed, weir},
    tools::{self, Load},
};
use crate::process::{Running, free_address};

/// The program in Node as a server: `h1`, `h2c`, or `h2` with these certificates.
pub(super) fn node(name: &str, kind: &str, address: SocketAddr, made: Option<&Made>) -> Result<Running> {
    let mut command = Command::new("node");
    command.arg(tools::source("node_peer.mjs")).args(["serve", kind, &address.port().to_string(), name]);
    if let Some(made) = made {
        command.args([made.path("site.pem"), made.path("site.key")]);
    }
    let running = tools::server(name, &mut command)?;
    running.listens(address)?;
    Ok(running)
}

/// All checks of the client in Node, but for some: what it has found.
pub(super) fn checks(origin: &str, authority: Option<&str>, without: &[&str]) -> Result<Value> {
    let mut command = Command::new("node");
    command.arg(tools::source("node_peer.mjs")).args(["client", origin, authority.unwrap_or_default()]);
    tools::client(command.args(without))
}

/// h2load with so many requests in all, on so many connections, so many at a time on each: an error unless each of them was answered with 200.
pub(super) fn many(
    url: &str,
    at: SocketAddr,
    requests: u32,
    (connections, streams): (u32, u32),
) -> Result<()> {
    let numbers = [format!("-n{requests}"), format!("-c{connections}"), format!("-m{streams}")];
    let said = output(Command::new("h2load").args(numbers).arg(format!("--connect-to={at}")).arg(url))?;
    let line = |start: &str| said.lines().find(|line| line.starts_with(start)).unwrap_or_default();
    let all = format!(", {requests} succeeded, 0 failed, 0 errored, 0 timeout");
    let fine = line("requests: ").ends_with(&all)
        && line("status codes: ") == format!("status codes: {requests} 2xx, 0 3xx, 0 4xx, 0 5xx");
    ensure!(fine, "{url}: {} / {}", line("requests: "), line("status codes: "));
    Ok(())
}

/// A listener in clear text and one with TLS.
struct Doors {
    clear: SocketAddr,
    secure: SocketAddr,
    made: Made,
}

impl Doors {
    fn new(name: &str) -> Result<Self> {
        let made = Made::new(&format!("{name}-certificates"))?;
        Ok(Self { clear: free_address()?, secure: free_address()?, made })
    }

    fn listeners(&self) -> String {
        format!(
            "listeners:\n  clear: {{ bind: {}, protocol: http, pool: app }}\n  secure:\n    bind: {}\n    protocol: https\n    \
             pool: app\n    tls: {{ certificates: [{{ cert: {}, key: {} }}] }}\n",
            self.clear,
            self.secure,
            self.made.path("site.pem"),
            self.made.path("site.key")
        )
    }

    fn origins(&self) -> [String; 2] {
        [format!("http://{}", self.clear), format!("https://{}", self.secure)]
    }
}

/// Every client in front of a backend with HTTP/1.1.
pub(in super::super) fn clients(program: &Path) -> Result<String> {
    let (doors, backend) = (Doors::new("http2-clients")?, free_address()?);
    let _node = node("http2-clients-node", "h1", backend, None)?;
    let pools = format!("pools:\n  app: {{ backends: [\"{backend}\"] }}\n");
    let running = weir(program, "http2-clients", &(doors.listeners() + &pools))?;
    running.listens(doors.secure)?;
    let [clear, secure] = doors.origins();
    let authority = doors.made.path("ca.pem");
    let mut passed = 0;
    for (origin, authority) in [(&clear, None), (&secure, Some(&*authority))] {
        let found = checks(origin, authority, &[]).with_context(|| origin.clone())?;
        ensure!(found["version"] == "1.1", "the backend has seen {found}");
        passed += found["checks"].as_u64().unwrap_or_default();
        let at = if authority.is_some() { doors.secure } else { doors.clear };
        many(origin, at, 20_000, (10, 32))?;
        many(origin, at, 5000, (64, 1))?;
        let said = output(Command::new("nghttp").args(["--no-verify-peer", "-ns", origin]))?;
        ensure!(said.contains(" 200 "), "nghttp says {said}");
    }
    let resolve = format!("site.test:{}:127.0.0.1", doors.secure.port());
    let trusting = ["--http2", "--cacert", &authority, "--resolve", &resolve];
    let named = format!("https://site.test:{}", doors.secure.port());
    for (url, options, pages) in [(&clear, &["--http2-prior-knowledge"][..], 1), (&named, &trusting, 200)] {
        curl_does(url, options, pages)?;
    }
    Ok(format!("{passed} checks by Node, 50000 requests by h2load, nghttp and curl; none failed"))
}

/// Downloads, heads and uploads. In clear text the curl of Debian 12 (7.88) makes no second request on a connection, of whatever
/// server, without an error of framing: there `pages` has to be one.
fn curl_does(url: &str, options: &[&str], pages: usize) -> Result<()> {
    let print = ["-o", "/dev/null", "-w", "%{http_version} %{http_code} %{size_download}\n"];
    let ask = |more: &[&str]| curl(&[options, more].concat(), None);
    let said = ask(&[&print[..], &[&format!("{url}/?[1-{pages}]")]].concat())?;
    let wrong = said.lines().filter(|line| *line != "2 200 1024").count();
    ensure!(
        wrong == 0 && said.lines().count() == pages,
        "{wrong} of {pages} requests of curl to {url} failed"
    );
    let head = ask(&["-I", &format!("{url}/")])?.to_lowercase();
    ensure!(head.contains("content-length: 1024") && !head.contains("connection:"), "the head is {head}");
    let upload = folder("http2-upload")?.join("upload");
    fs::write(&upload, vec![7; 3_000_000])?;
    let sum = output(Command::new("sha256sum").arg(&upload))?;
    let expected = format!("3000000 {}", sum.split(' ').next().unwrap_or_default());
    let path = upload.display().to_string();
    let address = format!("{url}/digest");
    for more in [
        &["-T", &path][..],
        &["--data-binary", &format!("@{path}")],
        &["-T", &path, "-H", "Expect: 100-continue"],
    ] {
        let said = ask(&[more, &[&address]].concat())?;
        ensure!(said == expected, "curl {more:?}: `{said}` and not `{expected}`");
    }
    Ok(())
}

const RELOADS: usize = 20;
const UPGRADES: usize = 3;

/// Clients in Go go on while weir is reloaded, and then replaced, again and again.
pub(in super::super) fn reloads(program: &Path) -> Result<String> {
    let peers = tools::go("peers")?;
    let (doors, backends) = (Doors::new("http2-reloads")?, [free_address()?, free_address()?]);
    let [a, b] = backends;
    let _nodes = [node("http2-reloads-a", "h1", a, None)?, node("http2-reloads-b", "h2c", b, None)?];
    let folder = folder("http2-reloads")?;
    let write = |round: usize| -> Result<()> {
        let order = if round.is_multiple_of(2) { "one: 1, two: 2" } else { "two: 2, one: 1" };
        let more = if round.is_multiple_of(3) { ", weight: 3" } else { "" };
        let routes = format!(
            "routes: [{{ match: {{ path: /{round} }}, respond: {{ headers: {{ {order} }} }} }}, {{ split: [{{ pool: app, weight: \
             1 }}, {{ pool: h2, weight: 1 }}] }}]"
        );
        let text = format!(
            "admin: {{ bind: \"unix:admin.sock\" }}\nupgrade: {{ drain: 10m }}\nshutdown: {{ announce: 0s, drain: 10s }}\n{}\
             pools:\n  app: {{ backends: [{{ address: \"{a}\"{more} }}] }}\n  h2: {{ backends: [{{ address: \"{b}\"{more} }}], \
             protocol: h2 }}\n",
            doors.listeners().replace("pool: app", &routes)
        );
        let new = folder.join("weir.new.yaml");
        fs::write(&new, text)?;
        Ok(fs::rename(new, folder.join("weir.yaml"))?)
    };
    write(0)?;
    let (mut installed, first) = Installed::start(program, &folder)?;
    first.listens(doors.secure)?;
    let named = format!("https://{}/digest", doors.secure).replace("127.0.0.1", "site.test");
    let loads = [
        Load::start(&peers, &["web", "-url", &format!("http://{}/digest", doors.clear)])?,
        Load::start(&peers, &["web", "-url", &named, "-at", "127.0.0.1", "-ca", &doors.made.path("ca.pem")])?,
    ];
    for round in 1..=RELOADS {
        thread::sleep(Duration::from_millis(150));
        write(round)?;
        first.hang_up()?;
        first.ready(|| {
            let count = first.said().matches("reload: generation").count();
            ensure!(count == round, "{count} reloads went well and not {round}");
            Ok(())
        })?;
    }
    for _ in 0..UPGRADES {
        thread::sleep(Duration::from_millis(500));
        installed.upgrade(program)?;
    }
    thread::sleep(Duration::from_secs(1));
    let done = loads.into_iter().map(Load::finish).collect::<Result<Vec<_>>>()?;
    Ok(format!("{RELOADS} reloads and {UPGRADES} upgrades; {}", done.join("; over TLS ")))
}
