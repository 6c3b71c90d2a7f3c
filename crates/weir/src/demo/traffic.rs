//! The clients of the demo, on a thread of their own. Every outcome is counted as they see it, and nothing is tried
//! a second time: what weir could not hide, shows.

mod http;
mod lines;

use std::{
    collections::BTreeMap,
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    runtime::Builder,
    sync::watch,
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval, sleep, timeout},
};

/// Connections that carry requests, and how often each of them is used: 320 requests per second.
const CONNECTIONS: u32 = 16;
const REQUEST_EVERY: Duration = Duration::from_millis(50);
/// Clients that talk lines over TCP, and how often each of them opens a connection.
const TALKERS: u32 = 4;
const CONNECT_EVERY: Duration = Duration::from_millis(500);
/// Beyond this an answer does not come any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the clients saw.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Requests that an answer came to, by status code.
    pub(super) answered: BTreeMap<u16, u64>,
    /// Requests without an answer: not connected, cut, timed out.
    pub(super) unanswered: u64,
    /// TCP connections that ended.
    pub(super) sessions: u64,
    /// Lines sent over them.
    pub(super) lines: u64,
    /// Lines that came back.
    pub(super) lines_back: u64,
    /// What the first failure was.
    pub(super) first_failure: Option<String>,
}

impl Tally {
    /// Requests that have come to an end.
    pub(super) fn requests(&self) -> u64 {
        self.answered.values().sum::<u64>() + self.unanswered
    }

    fn answered(&mut self, answer: io::Result<u16>) {
        match answer {
            Ok(status) => *self.answered.entry(status).or_default() += 1,
            Err(error) => {
                self.unanswered += 1;
                self.first_failure.get_or_insert_with(|| format!("HTTP: {error}"));
            }
        }
    }

    fn came_back(&mut self, line: &io::Result<()>) {
        self.lines += 1;
        match line {
            Ok(()) => self.lines_back += 1,
            Err(error) => _ = self.first_failure.get_or_insert_with(|| format!("TCP: {error}")),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "clients: ")?;
        for (code, count) in &self.answered {
            write!(f, "{count} x {code}, ")?;
        }
        write!(f, "{} unanswered; TCP lines {} of {}", self.unanswered, self.lines_back, self.lines)
    }
}

/// Shared by the clients.
#[derive(Debug, Clone, Default)]
struct Counts(Arc<Mutex<Tally>>);

impl Counts {
    fn update<T>(&self, with: impl FnOnce(&mut Tally) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Clients at work.
#[derive(Debug)]
pub(super) struct Traffic {
    counts: Counts,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    /// Starts clients of a web service and of a line service.
    pub(super) fn start(web: SocketAddr, lines: SocketAddr) -> Result<Self> {
        let counts = Counts::default();
        let (stop, stopped) = watch::channel(false);
        let runtime = Builder::new_current_thread().enable_all().build().context("no runtime for clients")?;
        let shared = counts.clone();
        let thread = std::thread::Builder::new().name("demo-clients".to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut clients = JoinSet::new();
                for number in 0..CONNECTIONS {
                    clients.spawn(http::client(number, web, stopped.clone(), shared.clone()));
                }
                for number in 0..TALKERS {
                    clients.spawn(lines::client(number, lines, stopped.clone(), shared.clone()));
                }
                clients.join_all().await;
            });
        })?;
        Ok(Self { counts, stop, thread: Some(thread) })
    }

    /// What the clients have seen so far.
    pub(super) fn tally(&self) -> Tally {
        self.counts.update(|tally| tally.clone())
    }

    /// From now on nothing new is begun; what is under way is brought to its end.
    pub(super) fn begin_nothing_new(&self) {
        self.stop.send_replace(true);
    }

    /// Waits for the end of what was under way.
    pub(super) fn finish(mut self) -> Tally {
        self.join();
        self.tally()
    }

    fn join(&mut self) {
        self.begin_nothing_new();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.join();
    }
}

/// The ticks of one client among several: spread over the period, so that all together are even.
async fn pace(number: u32, clients: u32, period: Duration) -> Interval {
    sleep(period * number / clients).await;
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// Waits for the next tick; false if nothing is to be begun any more.
async fn goes_on(pace: &mut Interval, stopped: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        biased;
        _ = stopped.wait_for(|stopped| *stopped) => false,
        _ = pace.tick() => true,
    }
}

/// Gives up in the end.
async fn patiently<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout(PATIENCE, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "nothing came within 10s")),
    }
}
