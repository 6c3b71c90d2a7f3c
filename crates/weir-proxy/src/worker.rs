//! A worker: one thread, one current-thread runtime, its own listening sockets, buffers, timers and view of the
//! configuration. Nothing in here is shared with another worker.

mod bell;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    rc::{Rc, Weak},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{mpsc::UnboundedReceiver, watch},
};
use weir_model::{
    balance::Seed,
    snapshot::{BindKey, SnapshotCell},
    status::ProcessStatus,
    time::Millis,
};

use crate::{
    buffer::Spare,
    choose::PoolState,
    clock,
    http::Room,
    http2::Attendants,
    listener::{self, Entrance, Group, Limit, Order, Reserve},
    telemetry::{AccessBuffer, AccessQueue, Identities, Journal, Overhead, Voice},
    timer::{TICK, Ticker, Wheel},
    upstream::Unreached,
    view::View,
};

pub use bell::Bells;
pub(crate) use bell::Post;

/// What the process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not accepting yet: everything that may go wrong has not been done.
    Starting,
    /// Serving.
    Running,
    /// Serving, and telling clients to go elsewhere next time.
    Announcing,
    /// Another process has the listening sockets, and accepts. Connections go on here, with one more exchange on each.
    HandedOver,
    /// Finishing what is in flight; nothing new is accepted.
    Draining,
    /// Over.
    Stopped,
}

/// What a worker is started with.
#[derive(Debug)]
pub struct Setup {
    /// Which one it is, from 0.
    pub index: usize,
    /// How many there are.
    pub count: usize,
    /// Where snapshots are published.
    pub cell: Arc<SnapshotCell>,
    /// Which addresses it serves: those of the start wait in here, and reloads send more.
    pub orders: UnboundedReceiver<Order>,
    /// What the process is doing.
    pub phase: watch::Receiver<Phase>,
    /// Where failures are reported.
    pub voice: Voice,
    /// Where lines of the access log go; none if the process is about to end.
    pub access: Option<AccessQueue>,
    /// Connections of all workers together.
    pub process: Arc<ProcessStatus>,
    /// How workers call each other.
    pub bells: Arc<Bells>,
    /// When it last turned its timer wheel, in milliseconds since the start of the process: proof of life.
    pub beat: Arc<AtomicU64>,
}

/// The state of a worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    post: Rc<Post>,
    cell: Arc<SnapshotCell>,
    view: RefCell<Rc<View>>,
    /// The addresses that are bound now.
    groups: RefCell<HashMap<BindKey, Rc<Group>>>,
    /// Pools that are no longer part of the configuration, and may still have somebody who waits for a connection.
    retired: RefCell<Vec<Weak<PoolState>>>,
    pub(crate) spare: Rc<Spare>,
    pub(crate) wheel: Rc<Wheel>,
    pub(crate) seed: RefCell<Seed>,
    pub(crate) phase: Cell<Phase>,
    /// Client connections that are open.
    pub(crate) open: Cell<usize>,
    pub(crate) process: Arc<ProcessStatus>,
    /// Who waits to accept until there is room for another connection.
    outside: RefCell<Vec<Waker>>,
    pub(crate) reserve: Reserve,
    pub(crate) journal: Journal,
    pub(crate) overhead: Overhead,
    pub(crate) access: Option<AccessBuffer>,
    pub(crate) identities: Identities,
    /// Room for heads.
    pub(crate) room: Room,
    /// Who serves streams.
    pub(crate) attendants: Attendants,
    /// Addresses of host names that could not be connected lately.
    pub(crate) unreached: Unreached,
}

impl Worker {
    fn new(setup: &Setup) -> Rc<Self> {
        let snapshot = setup.cell.load();
        // Workers must not all start with the same backend.
        let seed = (setup.index as u64 + 1).wrapping_mul(0x5851_f42d_4c95_7f2d) ^ u64::from(clock::wall().1);
        let post = Post { index: setup.index, count: setup.count, bells: setup.bells.clone() };
        let post = Rc::new(post);
        Rc::new(Self {
            index: setup.index,
            cell: setup.cell.clone(),
            view: RefCell::new(View::first(&snapshot, &post)),
            post,
            groups: RefCell::default(),
            retired: RefCell::default(),
            spare: Rc::default(),
            wheel: Rc::default(),
            seed: RefCell::new(Seed::new(seed)),
            phase: Cell::new(Phase::Running),
            open: Cell::new(0),
            process: setup.process.clone(),
            outside: RefCell::default(),
            reserve: Reserve::default(),
            overhead: Overhead::default(),
            journal: Journal::new(setup.voice.clone()),
            access: setup.access.clone().map(AccessBuffer::new),
            identities: Identities::default(),
            room: Room::default(),
            attendants: Attendants::default(),
            unreached: Unreached::default(),
        })
    }

    /// The current view; one comparison when nothing was published.
    #[inline]
    pub(crate) fn view(&self) -> Rc<View> {
        self.keep_up();
        self.view.borrow().clone()
    }

    /// True if something was published after this view.
    #[inline]
    pub(crate) fn is_behind(&self, view: &View) -> bool {
        view.generation != self.cell.generation()
    }

    /// Takes notice of what was published.
    #[inline]
    pub(crate) fn keep_up(&self) {
        if self.view.borrow().generation != self.cell.generation() {
            self.renew();
        }
    }

    #[cold]
    fn renew(&self) {
        let before = self.view.borrow().clone();
        let next = before.next(&self.cell.load(), &self.post);
        let gone = before.pools.iter().filter(|pool| !next.has(pool));
        self.retired.borrow_mut().extend(gone.map(Rc::downgrade));
        *self.view.borrow_mut() = next.clone();
        self.groups.borrow_mut().retain(|_, group| {
            for entrance in group.follow(&next, &before) {
                let entrance = Rc::downgrade(&entrance);
                tokio::task::spawn_local(end_after(self.wheel.clone(), entrance, next.drain));
            }
            !group.is_gone()
        });
    }

    /// The entrances of an address that is bound now.
    pub(crate) fn group(&self, key: &BindKey) -> Option<Rc<Group>> {
        let view = self.view();
        let mut groups = self.groups.borrow_mut();
        if let Some(group) = groups.get(key) {
            return Some(group.clone());
        }
        let group = Group::new(key.clone(), view.owners(key)?, self.index);
        groups.insert(key.clone(), group.clone());
        Some(group)
    }

    /// The limit that keeps this address from taking another connection, if one does.
    pub(crate) fn limit_reached(&self, group: &Group) -> Option<Limit> {
        let view = self.view.borrow();
        let all = view.connections;
        // A listener that says none of its own has that of the process.
        let own = group.limit_reached();
        if let Some(own) = own.filter(|own| *own != all) {
            return Some(Limit::Listener(own));
        }
        let reached = own.is_some() || all != u32::MAX && self.process.open() >= u64::from(all);
        let limit = if view.connections_given { Limit::Process(all) } else { Limit::Files(all) };
        reached.then_some(limit)
    }

    /// Wakes the task when there may be room for another connection.
    pub(crate) fn wait_for_room(&self, cx: &Context<'_>) {
        self.outside.borrow_mut().push(cx.waker().clone());
    }

    fn let_in(&self) {
        if !self.outside.borrow().is_empty() {
            let outside = std::mem::take(&mut *self.outside.borrow_mut());
            outside.into_iter().for_each(Waker::wake);
        }
    }

    /// A connection has been accepted.
    pub(crate) fn came(&self) {
        self.open.set(self.open.get() + 1);
        self.process.shards.of(self.index).accepted.add(1);
    }

    /// A connection has ended.
    pub(crate) fn went(&self) {
        self.open.set(self.open.get() - 1);
        self.process.shards.of(self.index).closed.add(1);
        self.let_in();
    }

    /// Lets the first of those that wait for a backend look again, in each pool.
    fn call_waiting(&self) {
        let view = self.view.borrow().clone();
        view.pools.iter().for_each(|pool| pool.call_waiting());
        let called = |pool: &Weak<PoolState>| pool.upgrade().inspect(|pool| pool.call_waiting()).is_some();
        self.retired.borrow_mut().retain(called);
    }

    /// The next number for balancing.
    #[inline]
    pub(crate) fn draw(&self) -> u64 {
        self.seed.borrow_mut().next()
    }
}

/// Runs a worker on this thread until the process stops, or has drained.
///
/// # Errors
/// If the runtime cannot be built, or a socket cannot be used.
pub fn run(setup: Setup) -> io::Result<()> {
    clock::refresh();
    let runtime = Builder::new_current_thread()
        .enable_io()
        .on_thread_unpark(clock::refresh)
        .build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let worker = Worker::new(&setup);
        tokio::task::spawn_local(listener::obey(worker.clone(), setup.orders, setup.phase.clone()));
        tokio::task::spawn_local(listen(worker.clone()));
        tokio::task::spawn_local(tick(worker.clone(), Ticker::new()?, setup.beat));
        follow(&worker, setup.phase).await;
        Ok(())
    })
}

/// Ends what is left of the connections of an address that is bound no more, unless they end by themselves before.
async fn end_after(wheel: Rc<Wheel>, entrance: Weak<Entrance>, drain: Millis) {
    wheel.timer().sleep(drain).await;
    if let Some(entrance) = entrance.upgrade() {
        entrance.end();
        wheel.wake_all();
    }
}

/// Follows the phase of the process; returns when the worker has nothing left to do.
async fn follow(worker: &Worker, mut phase: watch::Receiver<Phase>) {
    loop {
        let now = *phase.borrow_and_update();
        if worker.phase.replace(now) != now {
            worker.wheel.wake_all();
        }
        match now {
            Phase::Stopped => return cut(worker).await,
            Phase::HandedOver | Phase::Draining => {
                let timer = worker.wheel.timer();
                loop {
                    match timer.limit(TICK, phase.changed()).await {
                        Ok(Ok(())) => break,
                        Ok(Err(_)) => return,
                        Err(_) if worker.open.get() == 0 => return,
                        Err(_) => {}
                    }
                }
            }
            // The sender is gone: so is the process.
            _ => {
                if phase.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Lets what is still under way come to its end: each is woken, sees that it is cut, and shows that to its client.
async fn cut(worker: &Worker) {
    /// Enough for everybody to be woken; who needs longer is dropped.
    const ROUNDS: usize = 10;
    let timer = worker.wheel.timer();
    for _ in 0..ROUNDS {
        if worker.open.get() == 0 {
            return;
        }
        worker.wheel.wake_all();
        timer.sleep(TICK).await;
    }
}

/// Listens for other workers: what requests of this one wait for may be there.
async fn listen(worker: Rc<Worker>) {
    loop {
        worker.post.bells.heard(worker.index).await;
        worker.call_waiting();
    }
}

/// Turns the timer wheel, and looks after connections that wait to be used again.
async fn tick(worker: Rc<Worker>, ticker: Ticker, beat: Arc<AtomicU64>) {
    let (mut count, mut drains) = (0u64, 0);
    while ticker.tick().await.is_ok() {
        clock::refresh();
        beat.store(clock::now().0, Ordering::Relaxed);
        worker.wheel.advance();
        if let Some(access) = &worker.access {
            access.flush();
        }
        // Connections of other workers may have ended.
        worker.let_in();
        count += 1;
        let view = worker.view();
        worker.call_waiting();
        let changed = std::mem::replace(&mut drains, worker.cell.drains().generation()) != drains;
        if changed || count.is_multiple_of(10) {
            view.pools.iter().for_each(|pool| pool.sweep());
        }
        if changed {
            worker.wheel.wake_tied();
        }
    }
}
