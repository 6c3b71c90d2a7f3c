//! The process log as the data path writes to it: never blocking, and bounded per cause.

use std::{
    cell::RefCell,
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use crate::{
    clock,
    error::{Cause, ProxyError},
};

/// Lines per second, worker and cause; what is beyond is counted.
const PER_SECOND: u32 = 10;
/// Lines that may wait for the writer.
const QUEUE: usize = 4096;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed that should not.
    Warn,
    /// Something changed.
    Info,
}

/// One line for the process log.
#[derive(Debug)]
pub struct LogLine {
    /// Seconds and microseconds since 1970.
    pub at: (u64, u32),
    /// How much it matters.
    pub level: Level,
    /// The text for people.
    pub text: String,
    /// The same for machines, by name, where there is more to it than the text; `message` then is the text.
    pub fields: Vec<(&'static str, String)>,
}

/// Says things to the process log; any thread may hold one.
#[derive(Debug, Clone)]
pub struct Voice {
    queue: SyncSender<LogLine>,
    dropped: Arc<AtomicU64>,
}

impl Voice {
    /// Says something once. A full queue drops it and counts that.
    pub fn say(&self, level: Level, text: String) {
        self.say_with(level, text, Vec::new());
    }

    /// The same, with the facts by name.
    fn say_with(&self, level: Level, text: String, fields: Vec<(&'static str, String)>) {
        if self.queue.try_send(LogLine { at: clock::wall(), level, text, fields }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines lost because the writer was slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The two ends of a process log. Whoever holds the receiver writes; it ends when the last voice has gone.
pub fn journal() -> (Voice, Receiver<LogLine>) {
    let (queue, receiver) = sync_channel(QUEUE);
    (Voice { queue, dropped: Arc::default() }, receiver)
}

/// A worker's way to report failures: a voice that does not repeat itself too often.
#[derive(Debug)]
pub(crate) struct Journal {
    voice: Voice,
    windows: RefCell<Vec<Window>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    second: u64,
    said: u32,
    held_back: u64,
}

/// What is known about a failed exchange or connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure<'a> {
    pub(crate) error: &'a ProxyError,
    pub(crate) client: SocketAddr,
    pub(crate) listener: &'a str,
    pub(crate) route: &'a str,
    pub(crate) pool: &'a str,
    pub(crate) backend: &'a str,
    /// Method and target as the client sent them; anything unusual in it is escaped.
    pub(crate) request: &'a [u8],
    /// What the client was told; 0 for nothing.
    pub(crate) status: u16,
}

impl Journal {
    pub(crate) fn new(voice: Voice) -> Self {
        Self { voice, windows: RefCell::default() }
    }

    /// Says something once.
    pub(crate) fn say(&self, level: Level, text: String) {
        self.voice.say(level, text);
    }

    /// How many lines of this cause were held back since the last one, if another may be said now.
    fn admit(&self, cause: Cause) -> Option<u64> {
        let mut windows = self.windows.borrow_mut();
        windows.resize(Cause::ALL.len(), Window::default());
        let window = &mut windows[cause as usize];
        let second = clock::now().0 / 1000;
        if window.second != second {
            *window = Window { second, said: 0, held_back: window.held_back };
        }
        if window.said >= PER_SECOND {
            window.held_back += 1;
            return None;
        }
        window.said += 1;
        Some(std::mem::take(&mut window.held_back))
    }

    /// Reports a failed exchange or connection: one line, unless too many of its cause were just reported.
    #[cold]
    pub(crate) fn fail(&self, failure: Failure<'_>) {
        let Some(held_back) = self.admit(failure.error.cause) else { return };
        let sentence = failure.error.to_string();
        let shown = &failure.request[..failure.request.len().min(200)];
        let facts = [
            ("cause", failure.error.cause.code().to_owned()),
            ("client", failure.client.to_string()),
            ("listener", failure.listener.to_owned()),
            ("route", failure.route.to_owned()),
            ("pool", failure.pool.to_owned()),
            ("backend", failure.backend.to_owned()),
            ("status", if failure.status > 0 { failure.status.to_string() } else { String::new() }),
            ("request", String::from_utf8_lossy(shown).into_owned()),
            ("held_back", if held_back > 0 { held_back.to_string() } else { String::new() }),
        ];
        let mut text = String::with_capacity(200);
        text.push_str("failed");
        for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
            let _ = match *name {
                "held_back" => Ok(()),
                "request" => write!(text, " request=\"{}\"", shown.escape_ascii()),
                _ => write!(text, " {name}={value}"),
            };
        }
        let _ = write!(text, ": {sentence}");
        if held_back > 0 {
            let _ = write!(text, " [{held_back} more of this cause were not shown]");
        }
        let message = std::iter::once(("message", sentence));
        let fields = message.chain(facts).filter(|(_, value)| !value.is_empty()).collect();
        self.voice.say_with(Level::Warn, text, fields);
    }
}
