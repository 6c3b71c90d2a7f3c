//! Backends that are bad from the start, or turn bad under load: nginx that answers everything with 500 (a zombie), and
//! nginx that is stopped, whose connections the kernel goes on taking (a deadlock).

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{clients, folder, site, weir};
use crate::{
    bench::probe::Client,
    process::{Running, free_address},
};

/// Clients that each keep one connection and ask without pause.
const CLIENTS: usize = 40;
/// How long each state lasts.
const PHASE: Duration = Duration::from_secs(3);

/// How a backend is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Zombie,
    Deadlock,
}

/// An nginx that can be made bad.
struct Site {
    running: Running,
    /// While this file exists it answers with 500.
    switch: PathBuf,
    stopped: bool,
}

impl Site {
    fn start(name: &str, address: SocketAddr) -> Result<Self> {
        let switch = folder(name)?.join("bad");
        let running = site::nginx_switched(name, address, &switch)?;
        Ok(Self { running, switch, stopped: false })
    }

    fn turn(&mut self, mood: Mood) -> Result<()> {
        match mood {
            Mood::Zombie => Ok(fs::write(&self.switch, "")?),
            Mood::Deadlock => {
                self.stopped = true;
                self.running.suspend()
            }
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // A process that is stopped hears nothing else.
        if self.stopped
            && let Err(error) = self.running.resume()
        {
            eprintln!("a backend could not be resumed: {error}");
        }
    }
}

/// What one client counted, before and after it was known that a backend is bad.
#[derive(Default)]
struct Count {
    before: usize,
    failed_before: usize,
    after: usize,
    failed_after: Vec<String>,
}

impl Count {
    fn merge(mut self, other: Self) -> Self {
        self.before += other.before;
        self.failed_before += other.failed_before;
        self.after += other.after;
        self.failed_after.extend(other.failed_after);
        self
    }
}

/// Asks until told to stop. What is asked after `known` is counted apart. Anything but a whole 200 is a failure.
fn ask(address: SocketAddr, known: &AtomicBool, stopped: &AtomicBool) -> Count {
    let mut count = Count::default();
    let mut kept: Option<Client> = None;
    while !stopped.load(Ordering::SeqCst) {
        let after = known.load(Ordering::SeqCst);
        let mut one = || -> Result<Client> {
            let mut client = match kept.take() {
                Some(client) => client,
                None => Client::connect(address).context("connect")?,
            };
            client.send().context("send")?;
            client.receive().context("receive")?;
            Ok(client)
        };
        let outcome = one();
        match (after, outcome) {
            (false, outcome) => {
                count.before += 1;
                count.failed_before += usize::from(outcome.is_err());
                kept = outcome.ok();
            }
            (true, Ok(client)) => {
                count.after += 1;
                kept = Some(client);
            }
            (true, Err(error)) => {
                count.after += 1;
                count.failed_after.push(format!("{error:#}"));
            }
        }
    }
    count
}

/// Three sites, of which the first one is made bad.
struct Scene {
    name: String,
    sites: Vec<Site>,
    addresses: [SocketAddr; 3],
}

impl Scene {
    fn new(name: &str, mood: Mood) -> Result<Self> {
        let name = format!("{name}-{mood:?}").to_lowercase();
        let addresses = [free_address()?, free_address()?, free_address()?];
        let sites = addresses.iter().enumerate();
        let sites = sites.map(|(index, address)| Site::start(&format!("{name}-{index}"), *address));
        let sites = sites.collect::<Result<Vec<_>>>()?;
        Ok(Self { name, sites, addresses })
    }

    /// weir in front of them, with this line for its pool; where it serves, and where it is asked.
    fn weir(&self, program: &Path, pool: &str) -> Result<(Running, SocketAddr, SocketAddr)> {
        let (web, admin) = (free_address()?, free_address()?);
        let backends: Vec<_> = self.addresses.iter().map(|backend| format!("\"{backend}\"")).collect();
        // Without second tries every failure shows.
        let configuration = format!(
            "workers: 2\nadmin: {{ bind: {admin} }}\nlisteners:\n  web:\n    bind: {web}\n    protocol: http\n    \
             routes:\n      - {{ pool: app, retry: {{ retries: 0 }} }}\npools:\n  app:\n    backends: [{}]\n    \
             response_timeout: 1s\n    {pool}\nshutdown: {{ announce: 0s, drain: 1s }}\n",
            backends.join(", ")
        );
        let running = weir(program, &self.name, &configuration)?;
        running.listens(web)?;
        Ok((running, web, admin))
    }
}

/// The health of the first backend, by the admin API.
fn health(admin: SocketAddr) -> Result<String> {
    let said = clients::curl(&[&format!("http://{admin}/api/status")], None)?;
    let status: Value = serde_json::from_str(&said)?;
    Ok(status["pools"][0]["backends"][0]["health"].as_str().unwrap_or_default().to_owned())
}

/// Loads an address while `work` is done, which says when it is known what is bad.
fn under_load(web: SocketAddr, work: impl FnOnce(&AtomicBool) -> Result<()>) -> Result<Count> {
    let (known, stopped) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| ask(web, &known, &stopped))).collect();
        let outcome = work(&known);
        stopped.store(true, Ordering::SeqCst);
        let counts = clients.into_iter().map(|client| client.join().unwrap_or_default());
        let count = counts.fold(Count::default(), Count::merge);
        outcome.map(|()| count)
    })
}

/// Fails if a request failed after it was known what is bad.
fn none_after(mood: Mood, count: &Count) -> Result<()> {
    let failed = count.failed_after.len();
    let shown: Vec<_> = count.failed_after.iter().take(5).collect();
    ensure!(failed == 0, "{mood:?}: {failed} of {} requests failed, among them: {shown:?}", count.after);
    Ok(())
}

/// One of three backends is bad before weir starts; its checks say so.
pub(super) fn from_the_start(program: &Path) -> Result<String> {
    let mut said = Vec::new();
    for mood in [Mood::Zombie, Mood::Deadlock] {
        let mut scene = Scene::new("start", mood)?;
        scene.sites[0].turn(mood)?;
        let (_weir, web, _) = scene.weir(program, "health: { http: /, interval: 500ms, timeout: 400ms }")?;
        let count = under_load(web, |known| {
            known.store(true, Ordering::SeqCst);
            thread::sleep(PHASE);
            Ok(())
        })?;
        none_after(mood, &count)?;
        said.push(format!(
            "{mood:?}: {} requests, {} failed",
            count.before + count.after,
            count.failed_before
        ));
        ensure!(count.failed_before == 0, "{} requests failed at the start", count.failed_before);
    }
    Ok(said.join("; "))
}

/// One of three turns bad; what is asked once it is known (by this line for the pool, in this health) must not fail.
fn turns_bad(program: &Path, name: &str, pool: &str, becomes: &str) -> Result<String> {
    let mut said = Vec::new();
    for mood in [Mood::Zombie, Mood::Deadlock] {
        let mut scene = Scene::new(name, mood)?;
        let (weir, web, admin) = scene.weir(program, pool)?;
        weir.ready(|| {
            ensure!(health(admin)? == "up", "it is not up yet");
            Ok(())
        })?;
        let site = &mut scene.sites[0];
        let count = under_load(web, |known| {
            thread::sleep(PHASE / 3);
            site.turn(mood)?;
            weir.ready(|| {
                let health = health(admin)?;
                ensure!(health == becomes, "it is {health} and not {becomes}");
                Ok(())
            })?;
            known.store(true, Ordering::SeqCst);
            thread::sleep(PHASE);
            Ok(())
        })?;
        none_after(mood, &count)?;
        ensure!(count.after > 0, "nothing was asked any more");
        said.push(format!(
            "{mood:?}: {} of {} failed before it was {becomes}, 0 of {} after that",
            count.failed_before, count.before, count.after
        ));
    }
    Ok(said.join("; "))
}

/// Noticed by checks.
pub(super) fn checked(program: &Path) -> Result<String> {
    turns_bad(program, "checked", "health: { http: /, interval: 200ms, timeout: 400ms }", "down")
}

/// Noticed by live traffic.
pub(super) fn ejected(program: &Path) -> Result<String> {
    turns_bad(program, "ejected", "outlier: { eject: 1m }", "ejected")
}
