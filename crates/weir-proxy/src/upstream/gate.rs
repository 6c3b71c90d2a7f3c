//! What a pool as a whole may carry: requests in flight, connections in use, and a bounded queue for the latter.

use std::{
    cell::RefCell,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Poll, Waker},
};

use weir_model::{
    balance::{Standing, Tier},
    pool::{Backend, Pool},
    status::{Health, PoolStatus, State},
    time::Moment,
};

use crate::{
    clock,
    error::{Cause, ProxyError},
    timer::Timer,
};

/// The queue of one worker for one pool. Slots are counted over all workers; a slot released elsewhere is noticed at
/// the next tick of the timer wheel.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    waiting: RefCell<Vec<Waker>>,
}

/// A counted slot, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    status: Arc<PoolStatus>,
    slot: Slot,
}

#[derive(Debug, Clone, Copy)]
enum Slot {
    Request,
    Connection,
    Pending,
}

impl Slot {
    fn counter(self, status: &PoolStatus) -> &AtomicU32 {
        match self {
            Self::Request => &status.requests,
            Self::Connection => &status.connections,
            Self::Pending => &status.pending,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.slot.counter(&self.status).fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes a slot if fewer than `limit` are taken.
fn take(pool: &Pool, slot: Slot, limit: u32) -> Option<Permit> {
    let counter = slot.counter(&pool.status);
    let below = |taken: u32| (taken < limit).then_some(taken + 1);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).ok()?;
    Some(Permit { status: pool.status.clone(), slot })
}

impl Gate {
    /// Admits one request, or says that `limits.requests` are in flight. Without a limit nothing is counted.
    pub(crate) fn admit(&self, pool: &Pool) -> Result<Option<Permit>, ProxyError> {
        match pool.limits.requests {
            u32::MAX => Ok(None),
            limit => take(pool, Slot::Request, limit).map(Some).ok_or(Cause::PoolRequestsLimit.into()),
        }
    }

    /// A slot for one connection in use; waits in the queue if `limits.connections` are taken, for queue_timeout and not
    /// beyond `until`.
    pub(crate) async fn connection(
        &self,
        pool: &Pool,
        timer: &Timer,
        until: Moment,
    ) -> Result<Option<Permit>, ProxyError> {
        let limit = pool.limits.connections;
        if limit == u32::MAX {
            return Ok(None);
        }
        if let Some(permit) = take(pool, Slot::Connection, limit) {
            return Ok(Some(permit));
        }
        Box::pin(self.queue(pool, timer, until)).await.map(Some)
    }

    async fn queue(&self, pool: &Pool, timer: &Timer, until: Moment) -> Result<Permit, ProxyError> {
        let limit = pool.limits.connections;
        let Some(_queued) = take(pool, Slot::Pending, pool.limits.pending) else {
            return Err(Cause::PoolQueueFull.into());
        };
        let free = poll_fn(|cx| match take(pool, Slot::Connection, limit) {
            Some(permit) => Poll::Ready(permit),
            None => {
                self.waiting.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        });
        let permit = timer.limit(pool.limits.queue_timeout.min(until.since(clock::now())), free).await;
        permit.map_err(|_| Cause::PoolQueueTimeout.into())
    }

    /// Where nothing is known of some backend yet and no other one may be chosen, as at the start or when a reload has
    /// replaced all of them: waits in the same queue for the first check to decide, for queue_timeout and not beyond
    /// `until`.
    #[cold]
    pub(crate) async fn first_check(&self, pool: &Pool, timer: &Timer, until: Moment) {
        let is_open = || {
            let unknown = |backend: &Backend| {
                backend.status.health() == Health::Unknown && backend.state_now() == State::Active
            };
            pool.backends.iter().any(unknown) && Standing::of(pool).tier == Tier::Nobody
        };
        if !is_open() {
            return;
        }
        let Some(_queued) = take(pool, Slot::Pending, pool.limits.pending) else { return };
        let decided = poll_fn(|cx| {
            if !is_open() {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        });
        // Whether it was decided in time is seen by whoever chooses again.
        let _ = timer.limit(pool.limits.queue_timeout.min(until.since(clock::now())), decided).await;
    }

    /// Lets the queue look again.
    pub(crate) fn wake_all(&self) {
        if !self.waiting.borrow().is_empty() {
            let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}
