//! Reloads as operators meet them: how one is asked for, what came of it, and how the last ones went.
//!
//! ```text
//!  SIGHUP, --watch ── ask() ──┐
//!  POST /api/reload ─ reload() ──> Asks (one thread of the binary does it) ──> Outcome or Refusal
//!                                             └──> Ledger (metrics, status)
//! ```
//!
//! The work itself (binding, publishing, retiring) belongs to the binary, which knows both sides.

mod ledger;
pub mod plan;
mod watch;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;
use weir_model::problem::{Problem, Severity};

use crate::{
    config::{self, Style},
    discovery::{Board, Found},
};
pub use ledger::{Ledger, Record};
pub use watch::Watch;

/// Asks that may wait for one reload to end; more of them would bring nothing but what these bring.
const WAITING: usize = 64;

/// What a reload changed.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The generation that is now published.
    pub generation: u64,
    /// What changed, in one line for people.
    pub summary: String,
    /// The same for programs.
    pub changes: Value,
    /// What can run, but hardly as meant, and what takes effect at the next start only.
    pub warnings: Vec<String>,
    /// From reading the files to the swap and what follows from it, in milliseconds.
    pub took_ms: f64,
}

/// Why nothing was changed.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// The first reason, in one line for people.
    pub error: String,
    /// What to do about it; empty when the reason says it all.
    pub remedy: String,
    /// Every problem with its place in the files, for programs; empty if the files were not to blame.
    pub problems: Vec<PlacedProblem>,
    /// All of it for people, with source lines where there are any.
    pub text: String,
}

/// A problem of a configuration and its place.
#[derive(Clone, Debug, Serialize)]
pub struct PlacedProblem {
    /// `error` or `warning`.
    pub severity: &'static str,
    /// The file that it stands in.
    pub file: String,
    /// The line, from 1; 0 if it stands in no line.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub cause: String,
    /// What to do about it; empty when the cause says it all.
    pub remedy: String,
}

impl PlacedProblem {
    /// Where it stands, as far as that is known: `weir.yaml:4:5`, or the file alone.
    pub fn place(&self) -> String {
        match self.line {
            0 => self.file.clone(),
            line => format!("{}:{line}:{}", self.file, self.column),
        }
    }
}

impl Refusal {
    /// A reason that does not stand in a file: an address that cannot be bound.
    pub fn because(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (error, remedy) = (error.into(), remedy.into());
        let text = if remedy.is_empty() {
            format!("error: {error}\n")
        } else {
            format!("error: {error}\n  help: {remedy}\n")
        };
        Self { error, remedy, problems: Vec::new(), text }
    }
}

impl From<config::Refusal> for Refusal {
    fn from(report: config::Refusal) -> Self {
        let errors = report.problems.iter().filter(|problem| problem.severity == Severity::Error);
        let mut errors = errors.peekable();
        let first = errors.peek().copied();
        let more = match errors.count() {
            0 | 1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let error = first.map_or_else(
            || "the configuration is refused".to_owned(),
            |first| match (file_of(&report, first), first.span.line) {
                ("", _) => format!("{}{more}", first.cause),
                (file, 0) => format!("{file}: {}{more}", first.cause),
                (file, line) => format!("{file}:{line}: {}{more}", first.cause),
            },
        );
        let remedy = first.map(|first| first.remedy.clone()).unwrap_or_default();
        let problems = report.problems.iter().map(|problem| placed(&report, problem)).collect();
        Self { error, remedy, problems, text: report.render(Style::Plain) }
    }
}

fn file_of<'r>(report: &'r config::Report, problem: &Problem) -> &'r str {
    report.files.file(problem.span.file).map_or("", |file| &*file.name)
}

fn placed(report: &config::Report, problem: &Problem) -> PlacedProblem {
    PlacedProblem {
        severity: match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        file: file_of(report, problem).to_owned(),
        line: problem.span.line,
        column: problem.span.column,
        cause: problem.cause.clone(),
        remedy: problem.remedy.clone(),
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A reload from the files.
    Files,
    /// A reload from this text instead of the files.
    Text(String),
    /// A look at what was discovered: [`Asks::found`].
    Found,
}

/// One wish.
#[derive(Debug)]
pub struct Ask {
    /// What is asked for.
    pub wish: Wish,
    answer: Option<oneshot::Sender<Result<Outcome, Refusal>>>,
}

impl Ask {
    /// Tells whoever asked; does nothing if they are gone or never wanted to know.
    pub fn answer(self, result: &Result<Outcome, Refusal>) {
        if let Some(answer) = self.answer {
            let _ = answer.send(result.clone());
        }
    }
}

/// The way to have the configuration reloaded, for anybody who may ask for it.
#[derive(Clone, Debug)]
pub struct Reloader {
    asks: SyncSender<Ask>,
    ledger: Ledger,
    board: Board,
}

impl Reloader {
    /// A reloader, and what arrives from it. `ledger` is where the outcomes can be looked up.
    pub fn new(ledger: Ledger) -> (Self, Asks) {
        let (asks, waiting) = sync_channel(WAITING);
        let board = Board::default();
        (Self { asks, ledger, board: board.clone() }, Asks { waiting, board })
    }

    /// Asks for a reload without waiting for it. Several that are asked for while one is under way are one.
    pub fn ask(&self) {
        // Those that fill the queue will be served by a reload that has not begun: it sees what this one would see.
        let _ = self.asks.try_send(Ask { wish: Wish::Files, answer: None });
    }

    /// Hands over what was found for a pool, in place of what was found before and nobody has looked at yet.
    pub fn found(&self, pool: Arc<str>, found: Found) {
        self.board.put(pool, found);
        // The board is looked at with whatever fills the queue.
        let _ = self.asks.try_send(Ask { wish: Wish::Found, answer: None });
    }

    /// Reloads, and waits for the outcome.
    ///
    /// # Errors
    /// Every reason why nothing was changed.
    pub async fn reload(&self) -> Result<Outcome, Refusal> {
        self.send(Wish::Files)?.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Reloads from the files, or from a text instead of them, and waits for the outcome on a thread that may wait.
    ///
    /// # Errors
    /// Every reason why nothing was changed.
    ///
    /// # Panics
    /// On a thread that runs asynchronous tasks.
    pub fn reload_blocking(&self, text: Option<String>) -> Result<Outcome, Refusal> {
        let wish = text.map_or(Wish::Files, Wish::Text);
        self.send(wish)?.blocking_recv().unwrap_or_else(|_| Err(ended()))
    }

    /// How the reloads so far went.
    pub fn record(&self) -> Record {
        self.ledger.record()
    }

    fn send(&self, wish: Wish) -> Result<oneshot::Receiver<Result<Outcome, Refusal>>, Refusal> {
        let (answer, outcome) = oneshot::channel();
        match self.asks.try_send(Ask { wish, answer: Some(answer) }) {
            Ok(()) => Ok(outcome),
            Err(TrySendError::Full(_)) => {
                Err(Refusal::because(format!("{WAITING} reloads are waiting already"), "ask again later"))
            }
            Err(TrySendError::Disconnected(_)) => Err(ended()),
        }
    }
}

fn ended() -> Refusal {
    Refusal::because("weir is shutting down", "")
}

/// What was asked for, in order. It ends when the last [`Reloader`] has gone.
#[derive(Debug)]
pub struct Asks {
    waiting: Receiver<Ask>,
    board: Board,
}

/// What came of waiting for the next ask.
#[derive(Debug)]
pub enum Asked {
    /// Everything that was asked for by now, at least one; one reload may answer all that ask for the files.
    Now(Vec<Ask>),
    /// Nothing within the time given.
    Nothing,
    /// Nobody can ask any more.
    Never,
}

impl Asks {
    /// Waits so long for somebody to ask.
    pub fn next(&self, patience: Duration) -> Asked {
        match self.waiting.recv_timeout(patience) {
            Ok(first) => Asked::Now(std::iter::once(first).chain(self.waiting.try_iter()).collect()),
            Err(RecvTimeoutError::Timeout) => Asked::Nothing,
            Err(RecvTimeoutError::Disconnected) => Asked::Never,
        }
    }

    /// What was found since the last look, by pool.
    pub fn found(&self) -> BTreeMap<Arc<str>, Found> {
        self.board.take()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn reloader() -> (Reloader, Asks) {
        Reloader::new(Ledger::new(1, "2026-01-01T00:00:00.000Z".into(), "weir.yaml".into()))
    }

    #[test]
    fn asks_that_wait_are_one() {
        let (reloader, asks) = reloader();
        for _ in 0..1000 {
            reloader.ask();
        }
        let Asked::Now(waiting) = asks.next(Duration::ZERO) else { panic!("nobody asked") };
        assert_eq!(waiting.len(), WAITING);
        assert!(matches!(asks.next(Duration::ZERO), Asked::Nothing));
        drop(reloader);
        assert!(matches!(asks.next(Duration::ZERO), Asked::Never));
    }

    #[test]
    fn everybody_who_asked_is_told() {
        let (reloader, asks) = reloader();
        let clients: Vec<_> = (0..3)
            .map(|_| {
                let reloader = reloader.clone();
                thread::spawn(move || reloader.reload_blocking(None))
            })
            .collect();
        let mut answered = 0;
        while answered < 3 {
            let Asked::Now(waiting) = asks.next(Duration::from_secs(20)) else { panic!("nobody asked") };
            answered += waiting.len();
            let refusal = Err(Refusal::because("no", "do not"));
            waiting.into_iter().for_each(|ask| ask.answer(&refusal));
        }
        for client in clients {
            let refusal = client.join().unwrap().unwrap_err();
            assert_eq!((&*refusal.error, &*refusal.remedy), ("no", "do not"));
        }
        drop(asks);
        assert_eq!(reloader.reload_blocking(None).unwrap_err().error, "weir is shutting down");
    }

    #[test]
    fn a_refused_file_says_where_and_why() {
        let loaded = config::from_text(
            "weir.yaml",
            "pols: {}\nlisteners: { web: { bind: nowhere, protocol: http, pool: app } }\n",
        );
        let report = config::compile(loaded, 2, &mut weir_model::status::Registry::new(1)).unwrap_err();
        let refusal = Refusal::from(report);
        assert!(refusal.error.starts_with("weir.yaml:1: "), "{}", refusal.error);
        assert_eq!(refusal.problems[0].line, 1);
        assert!(refusal.text.contains("did you mean `pools`"), "{}", refusal.text);
    }

    #[test]
    fn the_ledger_keeps_the_last_good_generation() {
        let ledger = Ledger::new(1, "start".into(), "weir.yaml".into());
        ledger.went_well(2, "later".into());
        ledger.was_refused("no");
        let record = ledger.record();
        assert_eq!((record.generation, &*record.loaded_at), (2, "later"));
        assert_eq!((record.reloads, record.refused, record.last_reload_success), (1, 1, false));
        assert_eq!(record.last_error.as_deref(), Some("no"));
    }
}
