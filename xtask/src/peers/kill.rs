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
use crate::{
    bench::probe::Client,
    process::{Running, free_address},
};

/// Clients that each keep one connection and ask without pause.
const CLIENTS: usize = 40;
/// How long each state of the backends lasts.
const PHASE: Duration = Duration::from_secs(3);

/// What the clients counted.
#[derive(Default)]
pub(super) struct Count {
    pub(super) requests: usize,
    pub(super) failures: Vec<String>,
    /// Answers by backend.
    pub(super) by_backend: BTreeMap<String, usize>,
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
pub(super) fn under_load(
    address: SocketAddr,
    fresh: bool,
    work: impl FnOnce() -> Result<()>,
) -> Result<Count> {
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

/// Two backends that can be killed and started again.
struct Pair {
    names: [&'static str; 2],
    addresses: [SocketAddr; 2],
    sites: [Option<Running>; 2],
}

impl Pair {
    fn start(names: [&'static str; 2]) -> Result<Self> {
        let mut pair = Self { names, addresses: [free_address()?, free_address()?], sites: [None, None] };
        pair.restart(0)?;
        pair.restart(1)?;
        Ok(pair)
    }

    fn restart(&mut self, index: usize) -> Result<()> {
        self.sites[index] = Some(site::nginx_site(self.names[index], self.addresses[index])?);
        Ok(())
    }

    fn kill(&mut self, index: usize) -> Result<()> {
        self.sites[index].take().context("the backend ran before")?.kill()
    }

    /// Kills and restarts each in turn while the clients go on.
    fn kill_each(&mut self, address: SocketAddr, fresh: bool) -> Result<Count> {
        under_load(address, fresh, || {
            thread::sleep(PHASE);
            for index in [0, 1] {
                self.kill(index)?;
                thread::sleep(PHASE);
                self.restart(index)?;
                thread::sleep(PHASE);
            }
            Ok(())
        })
    }
}

/// Fails unless both backends answered.
fn both_answered(count: &Count) -> Result<()> {
    ensure!(count.by_backend.len() == 2, "answers came from {:?} only", count.by_backend);
    Ok(())
}

/// 40 clients with idempotent requests on kept connections: none of them may notice.
pub(super) fn http(program: &Path) -> Result<String> {
    let mut pair = Pair::start(["kill-a", "kill-b"])?;
    let (_weir, address) = clients::http(program, "kill-weir", &pair.addresses)?;
    let count = pair.kill_each(address, false)?;
    let failed = count.failures.len();
    let shown: Vec<_> = count.failures.iter().take(5).collect();
    ensure!(failed == 0, "{failed} of {} requests failed, among them: {shown:?}", count.requests);
    both_answered(&count)?;
    Ok(format!(
        "{} requests on kept connections, 0 failed; by backend {:?}",
        count.requests, count.by_backend
    ))
}

/// The same through TCP with a connection for each request: connections that were open when their backend was killed are
/// lost, as they must be, but no new one is refused.
pub(super) fn tcp(program: &Path) -> Result<String> {
    let mut pair = Pair::start(["kill-tcp-a", "kill-tcp-b"])?;
    let (_weir, address) = databases::tcp(program, "kill-tcp-weir", &pair.addresses)?;
    let count = pair.kill_each(address, true)?;
    let lost = count.failures.len();
    ensure!(
        lost <= 2 * CLIENTS,
        "{lost} connections were lost by killing two backends under {CLIENTS} clients"
    );
    both_answered(&count)?;
    Ok(format!("{} connections; {lost} lost that were open at a backend when it was killed", count.requests))
}
