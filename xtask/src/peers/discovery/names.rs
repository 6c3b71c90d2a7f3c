//! NSD tells addresses and services, changes them, denies them, breaks, and goes away.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    super::{folder, kill::under_load, site},
    Scene, nothing_failed,
};
use crate::process::{Running, free_address};

/// How long each state lasts after weir has noticed it.
const PHASE: Duration = Duration::from_millis(800);

/// A name server with one zone.
struct Server {
    folder: PathBuf,
    address: SocketAddr,
    running: Option<Running>,
}

impl Server {
    fn new() -> Result<Self> {
        let server = Self { folder: folder("discovery-nsd")?, address: free_address()?, running: None };
        let (shown, port) = (server.folder.display(), server.address.port());
        let text = format!(
            "server:\n  ip-address: 127.0.0.1@{port}\n  server-count: 1\n  username: \"\"\n  zonesdir: \"{shown}\"\n  \
             database: \"\"\n  pidfile: \"{shown}/nsd.pid\"\n  xfrdfile: \"{shown}/xfrd.state\"\n  \
             zonelistfile: \"{shown}/zone.list\"\n  xfrdir: \"{shown}\"\nremote-control:\n  control-enable: no\n\
             zone:\n  name: weir.test\n  zonefile: weir.test.zone\nzone:\n  name: broken.test\n  zonefile: missing.zone\n"
        );
        fs::write(server.folder.join("nsd.conf"), text)?;
        Ok(server)
    }

    /// What the zone says from now on, besides what every zone has to say.
    fn tell(&mut self, records: &str) -> Result<()> {
        let text = format!(
            "$ORIGIN weir.test.\n$TTL 1\n@ SOA ns hostmaster 1 60 60 60 1\n@ NS ns\nns A 127.0.0.1\n{records}"
        );
        // NSD reads a zone again if its time has changed, which it knows by the second.
        thread::sleep(Duration::from_millis(1100));
        let new = self.folder.join("new");
        fs::write(&new, text)?;
        fs::rename(new, self.folder.join("weir.test.zone"))?;
        match &self.running {
            Some(running) => running.hang_up(),
            None => {
                let mut command = Command::new("nsd");
                command.arg("-d").arg("-c").arg(self.folder.join("nsd.conf"));
                let running = Running::start(&mut command, &self.folder)?;
                running.listens(self.address)?;
                self.running = Some(running);
                Ok(())
            }
        }
    }

    fn stop(&mut self) -> Result<()> {
        self.running.take().context("the server ran before")?.finish()?;
        Ok(())
    }
}

/// Three backends at one port.
fn sites(port: u16) -> Result<Vec<Running>> {
    let site = |host: u8| {
        site::nginx_site(&format!("discovery-{host}"), (Ipv4Addr::new(127, 0, 0, host), port).into())
    };
    [11, 12, 13].into_iter().map(site).collect()
}

fn a(hosts: &[u8]) -> String {
    hosts.iter().map(|host| format!("app A 127.0.0.{host}\n")).collect()
}

/// Addresses come, go and cannot be asked for while 40 clients go on.
pub(in super::super) fn addresses(program: &Path) -> Result<String> {
    let port = free_address()?.port();
    let mut sites = sites(port)?;
    let mut server = Server::new()?;
    server.tell(&a(&[11]))?;
    let scene = Scene::start(
        program,
        "discovery-dns",
        &format!("discover: {{ dns: 'app.weir.test:{port}', servers: '{}', refresh: 1s }}", server.address),
    )?;
    let named = |hosts: &[u8]| hosts.iter().map(|host| format!("127.0.0.{host}:{port}")).collect::<Vec<_>>();
    scene.has(&named(&[11]))?;
    let count = under_load(scene.web, false, || {
        for hosts in [&[11, 12][..], &[12], &[12, 13], &[13, 11, 12]] {
            server.tell(&a(hosts))?;
            scene.has(&named(hosts))?;
            thread::sleep(PHASE);
        }
        // One that the answers do not name any more may go away.
        server.tell(&a(&[12, 13]))?;
        scene.has(&named(&[12, 13]))?;
        thread::sleep(PHASE);
        sites.remove(0).kill()?;
        for (records, words) in [("", "NXDOMAIN"), ("app TXT \"here I am\"\n", "no A record")] {
            server.tell(records)?;
            scene.fails(words)?;
            thread::sleep(PHASE);
        }
        server.stop()?;
        scene.fails("")?;
        thread::sleep(PHASE);
        scene.has(&named(&[12, 13]))?;
        server.tell(&a(&[13]))?;
        scene.has(&named(&[13]))
    })?;
    let sentence = nothing_failed(&scene, &count, 3)?;
    Ok(format!("8 changes of the answers, NXDOMAIN, an empty answer, no server: {sentence}"))
}

/// Services with weights and a backup; a zone that the server cannot serve; 200 addresses.
pub(in super::super) fn services(program: &Path) -> Result<String> {
    let port = free_address()?.port();
    let sites = sites(port)?;
    let mut server = Server::new()?;
    let hosts = "a A 127.0.0.11\nb A 127.0.0.12\nc A 127.0.0.13\n";
    let many: String = (1..=200).map(|host| format!("many A 10.99.0.{host}\n")).collect();
    let service = |priority: u16, weight: u16, host: &str| {
        format!("_http._tcp.app SRV {priority} {weight} {port} {host}\n")
    };
    server.tell(&format!(
        "{hosts}{many}{}{}{}",
        service(1, 3, "a"),
        service(1, 1, "b"),
        service(2, 1, "c")
    ))?;
    let asked = |name: &str| format!("{name}, servers: '{}', refresh: 1s", server.address);
    let scene = Scene::start(
        program,
        "discovery-srv",
        &format!("discover: {{ {} }}", asked("srv: _http._tcp.app.weir.test")),
    )?;
    let large = Scene::start(
        program,
        "discovery-many",
        &format!("discover: {{ {} }}", asked("dns: many.weir.test:80")),
    )?;
    let broken = Scene::start(
        program,
        "discovery-broken",
        &format!("discover: {{ {} }}", asked("dns: app.broken.test:80")),
    )?;
    broken.fails("SERVFAIL")?;
    large.has(&(1..=200).map(|host| format!("10.99.0.{host}:80")).collect::<Vec<_>>())?;
    let named =
        |hosts: &[&str]| hosts.iter().map(|host| format!("{host}.weir.test:{port}")).collect::<Vec<_>>();
    scene.has(&named(&["a", "b", "c"]))?;
    let (mut of_a, mut of_b) = (0, 0);
    let count = under_load(scene.web, false, || {
        thread::sleep(PHASE);
        // All from one answer: the requests go on meanwhile.
        let pool = scene.pool()?;
        let requests = |name: &str| -> Result<u64> {
            let backend = pool["backends"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|backend| backend["name"].as_str().is_some_and(|own| own.starts_with(name)));
            backend.and_then(|backend| backend["requests"].as_u64()).context("no such backend")
        };
        (of_a, of_b) = (requests("a.")?, requests("b.")?);
        anyhow::ensure!(requests("c.")? == 0, "a backup has taken traffic beside its primaries");
        server.tell(&format!("{hosts}{}", service(2, 1, "c")))?;
        scene.has(&named(&["c"]))?;
        thread::sleep(PHASE);
        Ok(())
    })?;
    drop(sites);
    let share = of_a as f64 / of_b as f64;
    anyhow::ensure!((2.8..3.2).contains(&share), "weights of 3 and 1 made {of_a} and {of_b} requests");
    let sentence = nothing_failed(&scene, &count, 3)?;
    Ok(format!("weights 3:1 made {share:.2}:1, then the backup alone; 200 addresses; SERVFAIL: {sentence}"))
}
