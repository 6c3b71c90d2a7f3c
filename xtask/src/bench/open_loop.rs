//! An open-loop generator: requests are due at fixed times whether or not earlier ones were answered, and latency
//! counts from the time a request was due. That corrects coordinated omission.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    num::NonZeroU64,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    buffer::spare_capacity,
    event::{PollFd, PollFlags, Timespec, epoll, poll},
    fd::OwnedFd,
    thread::set_current_timer_slack,
};

use super::probe;

/// How long requests may stay unanswered after the last one was sent.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was measured.
pub(crate) struct Latencies {
    /// Sorted, in nanoseconds.
    sorted: Vec<u64>,
}

impl Latencies {
    /// How many requests were answered: all that were due.
    pub(crate) const fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The latency in microseconds below which this share (0 to 1) lies.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let rank = (self.sorted.len() as f64 * share).ceil() as usize;
        self.sorted.get(rank.saturating_sub(1)).map_or(f64::NAN, |nanoseconds| *nanoseconds as f64 / 1e3)
    }
}

/// One kept-alive connection.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// When the request under way was due.
    due: Option<Instant>,
}

/// Loads an address at a rate (requests per second) for so long.
pub(crate) fn run(address: SocketAddr, connections: usize, rate: f64, length: Duration) -> Result<Latencies> {
    Generator::connect(address, connections)?.run(rate, length)
}

struct Generator {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    idle: Vec<usize>,
    waiting: VecDeque<Instant>,
    latencies: Vec<u64>,
}

impl Generator {
    fn connect(address: SocketAddr, connections: usize) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut open = Vec::with_capacity(connections);
        for index in 0..connections {
            let stream = TcpStream::connect(address).with_context(|| format!("{address}"))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, stream.as_fd(), data, epoll::EventFlags::IN)?;
            open.push(Connection { stream, received: Vec::with_capacity(4096), due: None });
        }
        let idle = (0..connections).collect();
        Ok(Self { epoll, connections: open, idle, waiting: VecDeque::new(), latencies: Vec::new() })
    }

    fn run(mut self, rate: f64, length: Duration) -> Result<Latencies> {
        // The kernel may otherwise wake this thread 50 µs late.
        set_current_timer_slack(NonZeroU64::new(1))?;
        let total = (rate * length.as_secs_f64()) as usize;
        let start = Instant::now();
        let due = |index: usize| start + Duration::from_secs_f64(index as f64 / rate);
        let mut next = 0;
        let mut last_progress = start;
        let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
        while self.latencies.len() < total {
            let now = Instant::now();
            while next < total && due(next) <= now {
                self.waiting.push_back(due(next));
                next += 1;
            }
            self.send_waiting()?;
            let pause =
                if next < total { due(next).saturating_duration_since(Instant::now()) } else { PATIENCE };
            let timeout = Timespec::try_from(pause)?;
            events.clear();
            // epoll itself waits in whole milliseconds.
            poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&timeout))?;
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&Timespec::default()))?;
            let answered = self.latencies.len();
            for event in &events {
                self.receive(event.data.u64() as usize)?;
            }
            if self.latencies.len() > answered {
                last_progress = Instant::now();
            } else if last_progress.elapsed() > PATIENCE {
                bail!("{} of {total} requests were not answered", total - self.latencies.len());
            }
        }
        self.latencies.sort_unstable();
        Ok(Latencies { sorted: self.latencies })
    }

    fn send_waiting(&mut self) -> Result<()> {
        while let Some(due) = self.waiting.front().copied() {
            let Some(index) = self.idle.pop() else { return Ok(()) };
            let connection = &mut self.connections[index];
            // A request is small enough for any socket buffer that has no other one in it.
            connection.stream.write_all(probe::REQUEST)?;
            connection.due = Some(due);
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn receive(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        let mut piece = [0; 4096];
        let count = match connection.stream.read(&mut piece) {
            Ok(0) => bail!("a connection was closed"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        connection.received.extend_from_slice(&piece[..count]);
        if probe::response_length(&connection.received)?
            .is_some_and(|length| connection.received.len() >= length)
        {
            let due = connection.due.take().context("a response that nobody asked for")?;
            self.latencies.push(due.elapsed().as_nanos() as u64);
            connection.received.clear();
            self.idle.push(index);
            self.send_waiting()?;
        }
        Ok(())
    }
}
