//! Upgrades in place as operators meet them: how one is asked for, and what came of it.
//!
//! ```text
//!  POST /api/upgrade ── upgrade() ──> Asks (the binary does it) ──> Upgraded or Trouble
//! ```

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::sync::oneshot;

use crate::trouble::Trouble;

/// Asks that may wait for one upgrade.
const WAITING: usize = 16;

/// What an upgrade in place has done.
#[derive(Clone, Debug, Serialize)]
pub struct Upgraded {
    /// The process that serves from now on.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The process that served until now.
    pub old_pid: u32,
    /// Client connections that the old process still has.
    pub connections: u64,
    /// How long they may take to finish, in milliseconds; null for no limit.
    pub drain_ms: Option<u64>,
    /// From the start of the new process to its first accept, in milliseconds.
    pub took_ms: f64,
}

type Answer = oneshot::Sender<Result<Upgraded, Trouble>>;

/// The way to have the process upgraded, for anybody who may ask for it.
#[derive(Clone, Debug)]
pub struct Upgrader {
    asks: SyncSender<Answer>,
    heard: Arc<AtomicBool>,
    held: Arc<RwLock<bool>>,
}

impl Upgrader {
    /// An upgrader, and what arrives from it.
    pub fn new() -> (Self, Asks) {
        let (asks, waiting) = sync_channel(WAITING);
        let (heard, held) = (Arc::<AtomicBool>::default(), Arc::default());
        let upgrader = Self { asks, heard: heard.clone(), held: Arc::clone(&held) };
        (upgrader, Asks { waiting: Mutex::new(waiting), heard, held })
    }

    /// Does what an operator orders, unless another process is taking over that would never hear of it: then it is none.
    pub fn unless_held<T>(&self, order: impl FnOnce() -> T) -> Option<T> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        (!*held).then(order)
    }

    /// Upgrades, and waits for the outcome.
    ///
    /// # Errors
    /// Why the process goes on as it is.
    pub async fn upgrade(&self) -> Result<Upgraded, Trouble> {
        if !self.heard.load(Ordering::Acquire) {
            let cause = "this process cannot be upgraded in place: it was not started by `weir run`";
            return Err(Trouble::new(cause, "start it anew"));
        }
        let (answer, outcome) = oneshot::channel();
        if self.asks.try_send(answer).is_err() {
            return Err(Trouble::new(
                "too many ask for an upgrade, or weir is shutting down",
                "ask again later",
            ));
        }
        outcome.await.unwrap_or_else(|_| Err(Trouble::new("weir is shutting down", "")))
    }
}

/// What was asked for.
#[derive(Debug)]
pub struct Asks {
    waiting: Mutex<Receiver<Answer>>,
    heard: Arc<AtomicBool>,
    held: Arc<RwLock<bool>>,
}

/// Those who want an upgrade, and wait for the outcome.
#[derive(Debug, Default)]
pub struct Waiting(Vec<Answer>);

impl Asks {
    /// From now on somebody looks: those who ask are no longer refused.
    pub fn hear(&self) {
        self.heard.store(true, Ordering::Release);
    }

    /// Holds up what operators order while it is told to another process, or no longer.
    pub fn hold(&self, held: bool) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
    }

    /// Everybody who has asked by now.
    pub fn next(&self) -> Waiting {
        Waiting(self.lock().try_iter().collect())
    }

    /// Waits so long for somebody to ask.
    pub fn wait(&self, patience: Duration) -> Waiting {
        let waiting = self.lock();
        let first = waiting.recv_timeout(patience);
        Waiting(first.into_iter().chain(waiting.try_iter()).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Receiver<Answer>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// True if nobody waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells everybody.
    pub fn answer(self, result: &Result<Upgraded, Trouble>) {
        for answer in self.0 {
            let _ = answer.send(result.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_asks_is_told_once_somebody_listens() {
        let (upgrader, asks) = Upgrader::new();
        let refused = upgrader.upgrade().await.unwrap_err();
        assert!(refused.cause.contains("not started by `weir run`"), "{refused}");
        asks.hear();
        let (one, two) = (upgrader.upgrade(), upgrader.upgrade());
        let told = tokio::task::spawn_blocking(move || {
            let mut told = 0;
            while told < 2 {
                let waiting = asks.wait(Duration::from_secs(20));
                told += waiting.0.len();
                waiting.answer(&Err(Trouble::new("no", "do not")));
            }
        });
        let (one, two) = tokio::join!(one, two);
        assert_eq!((one.unwrap_err().cause, two.unwrap_err().remedy), ("no".to_owned(), "do not".to_owned()));
        told.await.unwrap();
        assert_eq!(upgrader.upgrade().await.unwrap_err().remedy, "ask again later");
    }

    #[test]
    fn orders_are_held_up_while_they_would_be_lost() {
        let (upgrader, asks) = Upgrader::new();
        assert_eq!(upgrader.unless_held(|| 1), Some(1));
        asks.hold(true);
        assert_eq!(upgrader.unless_held(|| 2), None);
        asks.hold(false);
        assert_eq!(upgrader.unless_held(|| 3), Some(3));
    }
}
