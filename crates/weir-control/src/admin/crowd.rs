//! Who may be connected: so many at once, and whoever has not sent a whole request makes room for newcomers, the oldest first.
//! Connections that are only held, silent or in the middle of a request, must not keep probes out.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

/// Connections at once; operators are few, and a crowd must not take files from traffic.
pub(super) const CONNECTIONS: usize = 128;
/// How soon a newcomer asks again, where all are being answered.
const AGAIN: Duration = Duration::from_millis(50);

/// All that are connected.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    permits: Arc<Semaphore>,
    waiting: Arc<Mutex<Waiting>>,
}

/// Those who have not sent a whole request, in the order in which they began to wait.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    places: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Crowd {
    pub(super) fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(CONNECTIONS)), waiting: Arc::default() }
    }

    /// Room for a newcomer; none if the semaphore is closed, which it never is.
    pub(super) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = self.permits.clone().try_acquire_owned() {
                return Some(permit);
            }
            // Whoever is waited for here hears of it when its place is dropped.
            drop(self.lock().places.pop_first());
            if let Ok(permit) = timeout(AGAIN, self.permits.clone().acquire_owned()).await {
                return permit.ok();
            }
        }
    }

    /// Does this while there is room for somebody who only waits; none if a newcomer needs the room.
    pub(super) async fn waiting<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let (sender, told) = oneshot::channel();
        let place = {
            let mut waiting = self.lock();
            waiting.next += 1;
            let number = waiting.next;
            waiting.places.insert(number, sender);
            Place { crowd: self, number }
        };
        let done = tokio::select! {
            done = work => Some(done),
            () = async { if told.await.is_ok() { pending().await } } => None,
        };
        drop(place);
        done
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Taken back when its connection waits no longer.
struct Place<'c> {
    crowd: &'c Crowd,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.crowd.lock().places.remove(&self.number);
    }
}
