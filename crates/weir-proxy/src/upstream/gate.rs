//! What a pool as a whole may carry: requests in flight, and the queue of those that wait for a backend.
//!
//! Slots are counted over all workers, and each worker has a queue of its own, first come first served. A slot that comes
//! free calls one who waits: the workers take turns, those whose queue is empty left out, so that none of them keeps all
//! slots to itself. Who is called tries, and calls the next one; who finds nothing goes on waiting in its place. Nobody
//! who arrives later passes those that wait. Beside that, the first of each queue is called at every tick of the timer
//! wheel: whatever happened, nobody waits longer than that for a slot that is free.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
};

use weir_model::{
    pool::Pool,
    status::PoolStatus,
    time::{Millis, Moment},
};

use crate::{
    clock,
    error::{Cause, ProxyError},
    timer::Timer,
    worker::Post,
};

/// The queue of one worker for one pool.
#[derive(Debug)]
pub(crate) struct Gate {
    post: Rc<Post>,
    /// Numbered, and in the order of the numbers.
    queue: RefCell<VecDeque<Ticket>>,
    next: Cell<u64>,
}

/// A place in the queue.
#[derive(Debug)]
struct Ticket {
    number: u64,
    /// Something may be free.
    called: bool,
    waker: Option<Waker>,
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
    Pending,
    Carried,
}

impl Slot {
    fn counter(self, status: &PoolStatus) -> &AtomicU32 {
        match self {
            Self::Request => &status.requests,
            Self::Pending => &status.pending,
            Self::Carried => &status.carried,
        }
    }
}

impl Permit {
    /// For one request, of so many at most.
    pub(crate) fn request(pool: &Pool, limit: u32) -> Result<Self, ProxyError> {
        take(pool, Slot::Request, limit).ok_or(Cause::PoolRequestsLimit.into())
    }

    /// Counts one connection that has no requests.
    pub(crate) fn carried(status: &Arc<PoolStatus>) -> Self {
        status.carried.fetch_add(1, Ordering::Relaxed);
        Self { status: status.clone(), slot: Slot::Carried }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.slot.counter(&self.status).fetch_sub(1, Ordering::Relaxed);
    }
}

/// Adds one unless that would be more than `limit`; true if it was added.
pub(crate) fn add_below(counter: &AtomicU32, limit: u32) -> bool {
    let below = |taken: u32| (taken < limit).then_some(taken + 1);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).is_ok()
}

fn take(pool: &Pool, slot: Slot, limit: u32) -> Option<Permit> {
    add_below(slot.counter(&pool.status), limit).then(|| Permit { status: pool.status.clone(), slot })
}

/// What is held of a pool with a queue as long as a request or connection is at a backend. Has to be dropped after the
/// backend's own count went down: then somebody who waits is called.
#[derive(Debug)]
pub(crate) struct Hold {
    gate: Rc<Gate>,
    status: Arc<PoolStatus>,
    /// It is one of the pool's `limits.connections`.
    connection: bool,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.connection {
            self.status.connections.fetch_sub(1, Ordering::Relaxed);
        }
        self.gate.released(&self.status);
    }
}

/// What came of trying to find a backend.
pub(crate) enum Tried<T> {
    /// One.
    Found(T),
    /// None now; there may be one later.
    Wait,
    /// None, and waiting does not help.
    Over(ProxyError),
}

/// How somebody waits.
pub(crate) struct Wait<'t> {
    pub(crate) timer: &'t Timer,
    /// It waits no longer than this, and than queue_timeout.
    pub(crate) until: Moment,
    /// It could not use every slot: the next one is called if it found none.
    pub(crate) picky: bool,
}

impl Gate {
    pub(crate) fn new(post: Rc<Post>) -> Rc<Self> {
        Rc::new(Self { post, queue: RefCell::default(), next: Cell::new(0) })
    }

    /// What a request or connection holds that has got a backend.
    pub(crate) fn hold(self: &Rc<Self>, status: &Arc<PoolStatus>, connection: bool) -> Hold {
        Hold { gate: self.clone(), status: status.clone(), connection }
    }

    /// True if somebody waits already, of whatever worker.
    pub(crate) fn is_awaited(&self, status: &PoolStatus) -> bool {
        status.pending.load(Ordering::SeqCst) > 0 && self.waiting(status).next().is_some()
    }

    /// The workers that somebody waits at, beginning with any.
    fn waiting<'s>(&self, status: &'s PoolStatus) -> impl Iterator<Item = usize> + 's {
        let workers = self.post.count;
        let first = status.turn.load(Ordering::Relaxed) as usize;
        let each = (0..workers).map(move |step| (first + step) % workers);
        each.filter(|worker| status.waiting.of(*worker).load(Ordering::SeqCst) > 0)
    }

    /// Waits in the queue until `find` has found something, is sure that it will not, or the time is over; `over` says if nobody
    /// waits any more: the client has left, or is cut.
    pub(crate) async fn wait<T>(
        &self,
        pool: &Pool,
        wait: &Wait<'_>,
        mut find: impl FnMut() -> Tried<T>,
        mut over: impl FnMut(&mut Context<'_>) -> Option<ProxyError>,
    ) -> Result<T, ProxyError> {
        let Some(_pending) = take(pool, Slot::Pending, pool.limits.pending) else {
            return Err(Cause::PoolQueueFull.into());
        };
        let place = self.join(&pool.status);
        let turn = poll_fn(|cx| {
            if let Some(error) = over(cx) {
                return Poll::Ready(Err(error));
            }
            if !place.is_called(cx) {
                return Poll::Pending;
            }
            match find() {
                Tried::Found(found) => Poll::Ready(Ok(found)),
                Tried::Over(error) => Poll::Ready(Err(error)),
                Tried::Wait => {
                    place.stay(wait.picky);
                    Poll::Pending
                }
            }
        });
        let length: Millis = pool.limits.queue_timeout.min(wait.until.since(clock::now()));
        wait.timer.limit(length, turn).await.unwrap_or_else(|_| Err(Cause::PoolQueueTimeout.into()))
    }

    fn join<'g>(&'g self, status: &'g PoolStatus) -> Place<'g> {
        let number = self.next.get();
        self.next.set(number + 1);
        // What came free between its first try and this moment was not called out to anybody.
        let called = self.waiting(status).next().is_none();
        status.waiting.of(self.post.index).fetch_add(1, Ordering::SeqCst);
        self.queue.borrow_mut().push_back(Ticket { number, called, waker: None });
        Place { gate: self, status, number }
    }

    /// A slot has come free: somebody who waits for one is called, at this worker or another.
    fn released(&self, status: &PoolStatus) {
        if status.pending.load(Ordering::SeqCst) == 0 {
            return;
        }
        status.turn.fetch_add(1, Ordering::Relaxed);
        match self.waiting(status).next() {
            Some(worker) if worker == self.post.index => self.call(0),
            Some(worker) => self.post.bells.ring(worker),
            None => {}
        }
    }

    /// Calls the first who waits here.
    pub(crate) fn call_first(&self) {
        self.call(0);
    }

    /// Calls the first with this number or a later one that is not called yet.
    fn call(&self, from: u64) {
        let mut queue = self.queue.borrow_mut();
        let start = queue.partition_point(|ticket| ticket.number < from);
        if let Some(ticket) = queue.iter_mut().skip(start).find(|ticket| !ticket.called) {
            ticket.called = true;
            if let Some(waker) = ticket.waker.take() {
                waker.wake();
            }
        }
    }
}

/// A place in the queue of a gate, given up when this is dropped.
struct Place<'g> {
    gate: &'g Gate,
    status: &'g PoolStatus,
    number: u64,
}

impl Place<'_> {
    fn with<R>(&self, of: impl FnOnce(&mut Ticket) -> R) -> Option<R> {
        let mut queue = self.gate.queue.borrow_mut();
        let index = queue.binary_search_by_key(&self.number, |ticket| ticket.number).ok()?;
        queue.get_mut(index).map(of)
    }

    /// True if something may be free; else remembers whom to wake.
    fn is_called(&self, cx: &Context<'_>) -> bool {
        let called = self.with(|ticket| {
            ticket.waker = Some(cx.waker().clone());
            ticket.called
        });
        called.unwrap_or(true)
    }

    /// Nothing was free.
    fn stay(&self, picky: bool) {
        let _ = self.with(|ticket| ticket.called = false);
        if picky {
            self.gate.call(self.number + 1);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut queue = self.gate.queue.borrow_mut();
        let index = queue.binary_search_by_key(&self.number, |ticket| ticket.number);
        let ticket = index.ok().and_then(|index| queue.remove(index));
        drop(queue);
        self.status.waiting.of(self.gate.post.index).fetch_sub(1, Ordering::SeqCst);
        // There may be more than it took, or it took nothing.
        if ticket.is_some_and(|ticket| ticket.called) {
            self.gate.call(0);
        }
    }
}
