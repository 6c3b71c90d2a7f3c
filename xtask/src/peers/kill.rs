//! Backends that are killed without warning, and started again, under load.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{clients, databases, site};
use crate::{bench::probe::Client, process::free_address};

/// Clients that each keep one connection and ask without pause.
const CLIENTS: usize = 40;
/// How long each state of the backends lasts.
const PHASE: Duration = Duration::from_secs(3);

/// What the clients counted.
#[derive(Default)]
struct Count {
    requests: usize,
    failures: Vec<String>,
    /// Answers by backend.
    by_backend: BTreeMap<String, usize>,
}

impl Count {
    fn merge(mut self, other: Self) -> Self {
        self.requests += other.requests;
        self.failures.extend(other.failures);
        for (backend, count) in other.by_backend {
            *self.by_backend.entry(backend).or_default() += count;
        }
        self
    }
}

/// Asks until told to stop. Anything but a whole 200 is a failure; the next request then has a new connection.
fn ask(address: SocketAddr, stopped: &AtomicBool, fresh: bool) -> Count {
    let mut count = Count::default();
    let mut kept: Option<Client> = None;
    while !stopped.load(Ordering::Relaxed) {
        let mut one = || -> Result<Client> {
            let mut client = match kept.take() {
                Some(client) => client,
                None => Client::connect(address).context("connect")?,
            };
            client.send().context("send")?;
            client.receive().context("receive")?;
            Ok(client)
        };
        count.requests += 1;
        match one() {
            Ok(client) => {
                let backend = client.header("X-Backend").unwrap_or_default().to_owned();
                *count.by_backend.entry(backend).or_default() += 1;
                kept = Some(client).filter(|_| !fresh);
            }
            Err(error) => count.failures.push(format!("{error:#}")),
        }
        if fresh {
            // A new connection each time would otherwise use up the ports of the machine.
            thread::sleep(Duration::from_millis(10));
        }
    }
    count
}

/// Loads an address for the time that `work` takes.
fn under_load(address: SocketAddr, fresh: bool, work: impl FnOnce() -> Result<()>) -> Result<Count> {
    let stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| ask(address, &stopped, fresh))).collect();
        let outcome = work();
        stopped.store(true, Ordering::Relaxed);
        let counts = clients.into_iter().map(|client| client.join().unwrap_or_default());
        let count = counts.fold(Count::default(), Count::merge);
        outcome.map(|()| count)
    })
}

/// Kills and restarts each of two backends in turn while the clients go on.
fn kill_each(
    backends: &[SocketAddr; 2],
    address: SocketAddr,
    fresh: bool,
    names: [&str; 2],
) -> Result<Count> {
    let mut sites = Vec::new();
    for (name, backend) in names.iter().zip(backends) {
        sites.push(Some(site::nginx_site(name, *backend)?));
    }
    under_load(address, fresh, || {
        thread::sleep(PHASE);
        for index in [0, 1] {
            sites[index].take().context("the backend ran before")?.kill()?;
            thread::sleep(PHASE);
            sites[index] = Some(site::nginx_site(names[index], backends[index])?);
            thread::sleep(PHASE);
        }
        Ok(())
    })
}

fn judge(count: &Count, what: &str) -> Result<String> {
    let shown: Vec<_> = count.failures.iter().take(5).collect();
    ensure!(
        count.failures.is_empty(),
        "{} of {} {what} failed, among them: {shown:?}",
        count.failures.len(),
        count.requests
    );
    ensure!(count.by_backend.len() == 2, "answers came from {:?} only", count.by_backend);
    Ok(format!("{} {what}, 0 failed; by backend {:?}", count.requests, count.by_backend))
}

/// 40 clients with idempotent requests on kept connections: none of them may notice.
pub(super) fn http(program: &Path) -> Result<String> {
    let backends = [free_address()?, free_address()?];
    let names = ["kill-a", "kill-b"];
    // weir waits for its first health checks, so the backends have to be there once before.
    let first = [site::nginx_site(names[0], backends[0])?, site::nginx_site(names[1], backends[1])?];
    let (_weir, address) = clients::http(program, "kill-weir", &backends)?;
    drop(first);
    let count = kill_each(&backends, address, false, names)?;
    judge(&count, "requests on kept connections")
}

/// The same through TCP with a connection for each request: connections that were open when their backend was killed are
/// lost, as they must be, but no new one is refused.
pub(super) fn tcp(program: &Path) -> Result<String> {
    let backends = [free_address()?, free_address()?];
    let (_weir, address) = databases::tcp(program, "kill-tcp-weir", &backends)?;
    let mut count = kill_each(&backends, address, true, ["kill-tcp-a", "kill-tcp-b"])?;
    let before = count.failures.len();
    count.failures.retain(|failure| failure.starts_with("connect"));
    ensure!(
        before <= 2 * CLIENTS,
        "{before} connections were lost by killing two backends under {CLIENTS} clients"
    );
    judge(&count, "connections")
        .map(|sentence| format!("{sentence}; {before} were open at a backend that was killed"))
}
