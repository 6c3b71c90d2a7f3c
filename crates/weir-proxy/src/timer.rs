//! One coarse timer wheel per worker: setting a deadline is a store, and no time-out costs a system call.
//!
//! A timer is queued in the wheel at its deadline, or at the horizon if that is nearer (one that never comes, too). When its slot comes up, a
//! deadline that moved meanwhile only moves the timer to another slot.

use std::{
    cell::{Cell, RefCell},
    future::{pending, poll_fn},
    io,
    ops::Deref,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::net::unix::pipe;

use weir_model::time::{Millis, Moment};

use crate::clock;

/// How fine time-outs are.
const TICK_MS: u64 = 50;
/// The same, for those who wait for a tick.
pub(crate) const TICK: Millis = Millis(TICK_MS);
/// How many slots the wheel has; also the longest that a dropped timer stays in it.
const SLOTS: u64 = 128;

/// Timers that wait for their next user.
const MOST_SPARE: usize = 4096;

/// The deadline came before the work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// The wheel of one worker.
#[derive(Debug)]
pub(crate) struct Wheel {
    slots: RefCell<Vec<Vec<Rc<Entry>>>>,
    /// The tick whose slot comes up next.
    next: Cell<u64>,
    /// Entries that nobody uses, for tasks that come and go: one that is dropped would lie in its slot for seconds.
    spare: RefCell<Vec<Rc<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    deadline: Cell<u64>,
    /// The tick it is queued at; `u64::MAX` when it is not.
    queued: Cell<u64>,
    waker: RefCell<Option<Waker>>,
    /// What its task does depends on a backend that may be let go.
    tied: Cell<bool>,
}

/// What turns the wheel. The runtime has no timers of its own: they would cost each of its waits more than this.
#[derive(Debug)]
pub(crate) struct Ticker(pipe::Receiver);

impl Ticker {
    pub(crate) fn new() -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK_MS as i64 * 1_000_000 };
        timerfd_settime(
            &timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: tick, it_value: tick },
        )?;
        // Not a pipe, but it is read like one: without waiting, after the runtime has said that there is something to read.
        Ok(Self(pipe::Receiver::from_owned_fd_unchecked(timer)?))
    }

    /// Waits for the next tick.
    pub(crate) async fn tick(&self) -> io::Result<()> {
        loop {
            self.0.readable().await?;
            match self.0.try_read(&mut [0u8; 8]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read.map(drop),
            }
        }
    }
}

/// One task's timer: one deadline at a time.
#[derive(Debug)]
pub(crate) struct Timer {
    wheel: Rc<Wheel>,
    entry: Rc<Entry>,
}

impl Default for Wheel {
    fn default() -> Self {
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        Self {
            slots: RefCell::new(slots),
            next: Cell::new(clock::now().0 / TICK_MS),
            spare: RefCell::default(),
        }
    }
}

impl Wheel {
    /// A timer of this wheel.
    pub(crate) fn timer(self: &Rc<Self>) -> Timer {
        let entry = Entry {
            deadline: Cell::new(u64::MAX),
            queued: Cell::new(u64::MAX),
            waker: RefCell::new(None),
            tied: Cell::new(false),
        };
        Timer { wheel: self.clone(), entry: Rc::new(entry) }
    }

    /// A timer that somebody has used before, or a new one.
    pub(crate) fn lend(self: &Rc<Self>) -> Lent {
        let spare = self.spare.borrow_mut().pop();
        let timer = spare.map(|entry| Timer { wheel: self.clone(), entry });
        Lent(timer.unwrap_or_else(|| self.timer()))
    }

    fn queue(&self, entry: &Rc<Entry>) {
        let next = self.next.get();
        let tick = (entry.deadline.get() / TICK_MS + 1).clamp(next, next + SLOTS - 1);
        entry.queued.set(tick);
        self.slots.borrow_mut()[(tick % SLOTS) as usize].push(entry.clone());
    }

    /// Wakes what is due. Called once per [`TICK`], after the clock was refreshed.
    pub(crate) fn advance(&self) {
        let now = clock::now().0;
        while self.next.get() <= now / TICK_MS {
            let tick = self.next.get();
            self.next.set(tick + 1);
            let mut due = std::mem::take(&mut self.slots.borrow_mut()[(tick % SLOTS) as usize]);
            for entry in due.drain(..) {
                // Queued elsewhere since, or its task has gone.
                if entry.queued.get() != tick || Rc::strong_count(&entry) == 1 {
                    continue;
                }
                entry.queued.set(u64::MAX);
                if entry.deadline.get() <= now {
                    entry.wake();
                } else {
                    self.queue(&entry);
                }
            }
            // The slot keeps its room.
            let slot = &mut self.slots.borrow_mut()[(tick % SLOTS) as usize];
            if slot.is_empty() && due.capacity() <= 1024 {
                *slot = due;
            }
        }
    }

    /// Wakes every task that waits with a timer: what they wait for is about to change.
    pub(crate) fn wake_all(&self) {
        self.wake(|_| true);
    }

    /// Wakes every task whose work is tied to a backend: one of them is let go.
    pub(crate) fn wake_tied(&self) {
        self.wake(|entry| entry.tied.get());
    }

    fn wake(&self, whom: impl Fn(&Entry) -> bool) {
        let entries: Vec<_> =
            self.slots.borrow().iter().flatten().filter(|entry| whom(entry)).cloned().collect();
        for entry in entries {
            entry.wake();
        }
    }
}

/// A timer that goes back to its wheel, for whoever comes next.
#[derive(Debug)]
pub(crate) struct Lent(Timer);

impl Deref for Lent {
    type Target = Timer;

    fn deref(&self) -> &Timer {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Timer { wheel, entry } = &self.0;
        let mut spare = wheel.spare.borrow_mut();
        if spare.len() < MOST_SPARE {
            entry.tied.set(false);
            entry.deadline.set(u64::MAX);
            entry.waker.take();
            spare.push(entry.clone());
        }
    }
}

impl Entry {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Timer {
    /// Sets the deadline of whatever is awaited next.
    #[inline]
    pub(crate) fn set(&self, deadline: Moment) {
        self.entry.deadline.set(deadline.0);
        if deadline.0 / TICK_MS < self.entry.queued.get() || self.entry.queued.get() == u64::MAX {
            self.wheel.queue(&self.entry);
        }
    }

    /// Says whether what is awaited depends on a backend that may be let go meanwhile.
    #[inline]
    pub(crate) fn tie(&self, tied: bool) {
        self.entry.tied.set(tied);
    }

    /// Sets the deadline to so long from now.
    #[inline]
    pub(crate) fn set_after(&self, length: Millis) {
        self.set(clock::now() + length);
    }

    /// True if the deadline has come. Also remembers whom to wake when it does.
    #[inline]
    pub(crate) fn poll_elapsed(&self, cx: &Context<'_>) -> bool {
        if clock::now().0 >= self.entry.deadline.get() {
            return true;
        }
        let mut waker = self.entry.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        false
    }

    /// Waits so long.
    pub(crate) async fn sleep(&self, length: Millis) {
        let _ = self.limit(length, pending::<()>()).await;
    }

    /// The work's output, unless the deadline comes first.
    ///
    /// # Errors
    /// [`Elapsed`] if it did.
    pub(crate) async fn limit<T>(&self, length: Millis, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        self.set_after(length);
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if self.poll_elapsed(cx) => Poll::Ready(Err(Elapsed)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}
