//! A worker: one thread, one current-thread runtime, its own listening sockets, buffers, timers and view of the
//! configuration. Nothing in here is shared with another worker.

use std::{
    cell::{Cell, RefCell},
    io,
    net::TcpListener,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::watch,
};
use weir_model::{
    balance::Seed,
    listener::Listener,
    snapshot::{Snapshot, SnapshotCell},
};

use crate::{
    buffer::Spare,
    choose::PoolState,
    clock,
    http::Room,
    listener,
    telemetry::{AccessBuffer, AccessQueue, Identities, Journal, Voice},
    timer::{TICK, Ticker, Wheel},
};

/// What the process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// Serving, and telling clients to go elsewhere next time.
    Announcing,
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
    /// Its listening sockets, with the name of the listener each belongs to.
    pub sockets: Vec<(Arc<str>, TcpListener)>,
    /// What the process is doing.
    pub phase: watch::Receiver<Phase>,
    /// Where failures are reported.
    pub voice: Voice,
    /// Where lines of the access log go; none if the process is about to end.
    pub access: Option<AccessQueue>,
    /// When it last turned its timer wheel, in milliseconds since the start of the process: proof of life.
    pub beat: Arc<AtomicU64>,
}

/// The state of a worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    cell: Arc<SnapshotCell>,
    view: RefCell<Rc<View>>,
    pub(crate) spare: Rc<Spare>,
    pub(crate) wheel: Rc<Wheel>,
    pub(crate) seed: RefCell<Seed>,
    pub(crate) phase: Cell<Phase>,
    /// Client connections that are open.
    pub(crate) open: Cell<usize>,
    pub(crate) journal: Journal,
    pub(crate) access: Option<AccessBuffer>,
    pub(crate) identities: Identities,
    /// Room for heads.
    pub(crate) room: Room,
}

/// One snapshot as a worker sees it, with the state that it keeps for each pool.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) snapshot: Arc<Snapshot>,
    listeners: Vec<Held>,
    pub(crate) pools: Vec<Rc<PoolState>>,
}

/// A listener as this worker holds it: counting who uses it takes no atomic operation.
pub(crate) type Held = Rc<Arc<Listener>>;

impl View {
    fn new(snapshot: Arc<Snapshot>, pools: Vec<Rc<PoolState>>) -> Rc<Self> {
        let listeners = snapshot.listeners.iter().cloned().map(Rc::new).collect();
        Rc::new(Self { snapshot, listeners, pools })
    }

    /// The listener of this name, if it is still configured.
    pub(crate) fn listener(&self, name: &str) -> Option<&Held> {
        let index = self.listeners.binary_search_by(|listener| (*listener.name).cmp(name)).ok()?;
        Some(&self.listeners[index])
    }
}

impl Worker {
    fn new(setup: &Setup) -> Rc<Self> {
        let snapshot = setup.cell.load();
        // Workers must not all start with the same backend.
        let seed = (setup.index as u64 + 1).wrapping_mul(0x5851_f42d_4c95_7f2d) ^ u64::from(clock::wall().1);
        let pools = snapshot.pools.iter().map(|pool| PoolState::new(pool.clone(), setup.index, setup.count));
        let pools = pools.collect();
        Rc::new(Self {
            index: setup.index,
            cell: setup.cell.clone(),
            view: RefCell::new(View::new(snapshot, pools)),
            spare: Rc::default(),
            wheel: Rc::default(),
            seed: RefCell::new(Seed::new(seed)),
            phase: Cell::new(Phase::Running),
            open: Cell::new(0),
            journal: Journal::new(setup.voice.clone()),
            access: setup.access.clone().map(AccessBuffer::new),
            identities: Identities::default(),
            room: Room::default(),
        })
    }

    /// The current view; one comparison when nothing was published.
    #[inline]
    pub(crate) fn view(&self) -> Rc<View> {
        if self.view.borrow().snapshot.generation != self.cell.generation() {
            self.renew();
        }
        self.view.borrow().clone()
    }

    #[cold]
    fn renew(&self) {
        let snapshot = self.cell.load();
        let old = self.view.borrow().clone();
        let state = |pool: &Arc<_>| {
            let same = old.pools.iter().find(|state| Arc::ptr_eq(&state.pool, pool));
            same.cloned().unwrap_or_else(|| {
                let before = old.pools.iter().find(|state| state.pool.name == pool.name);
                PoolState::succeed(pool.clone(), before.map(Rc::as_ref), &old.pools)
            })
        };
        let pools = snapshot.pools.iter().map(state).collect();
        *self.view.borrow_mut() = View::new(snapshot, pools);
    }

    /// The next number for balancing.
    #[inline]
    pub(crate) fn draw(&self) -> u64 {
        self.seed.borrow_mut().next()
    }

    /// True once no new work is wanted on connections that stay open.
    #[inline]
    pub(crate) fn is_leaving(&self) -> bool {
        self.phase.get() >= Phase::Announcing
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
        for (name, socket) in setup.sockets {
            socket.set_nonblocking(true)?;
            let socket = tokio::net::TcpListener::from_std(socket)?;
            tokio::task::spawn_local(listener::accept(worker.clone(), name, socket, setup.phase.clone()));
        }
        tokio::task::spawn_local(tick(worker.clone(), Ticker::new()?, setup.beat));
        follow(&worker, setup.phase).await;
        Ok(())
    })
}

/// Follows the phase of the process; returns when the worker has nothing left to do.
async fn follow(worker: &Worker, mut phase: watch::Receiver<Phase>) {
    loop {
        let now = *phase.borrow_and_update();
        if worker.phase.replace(now) != now {
            worker.wheel.wake_all();
        }
        match now {
            Phase::Stopped => return,
            Phase::Draining => {
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

/// Turns the timer wheel, and looks after connections that wait to be used again.
async fn tick(worker: Rc<Worker>, ticker: Ticker, beat: Arc<AtomicU64>) {
    let mut count = 0u64;
    while ticker.tick().await.is_ok() {
        clock::refresh();
        beat.store(clock::now().0, Ordering::Relaxed);
        worker.wheel.advance();
        if let Some(access) = &worker.access {
            access.flush();
        }
        count += 1;
        let view = worker.view();
        for pool in &view.pools {
            pool.wake_waiting();
            if count.is_multiple_of(10) {
                pool.sweep();
            }
        }
    }
}
