//! Which backend takes a request or connection: one worker's state for one pool.

mod earlier;
mod find;
mod outlier;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    ops::Deref,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
};

use weir_model::{
    balance::{Ask, Balancer, EligibleSet, Policy},
    pool::{Backend, Pool},
    status::{BackendStatus, PoolStatus},
    time::Moment,
};

use crate::{
    clock,
    error::{Cause, ProxyError, Side},
    upstream::{Gate, Idle, Shared},
    worker::{Post, Worker},
};

use earlier::Earlier;
pub(crate) use find::{Found, Search};

/// One worker's state for one pool.
#[derive(Debug)]
pub(crate) struct PoolState {
    pub(crate) pool: Arc<Pool>,
    chooser: RefCell<Chooser>,
    pub(crate) idle: Idle,
    pub(crate) shared: Shared,
    pub(crate) gate: Rc<Gate>,
    /// What tunnels keep of it, by backend.
    alone: RefCell<BTreeMap<usize, Rc<Self>>>,
    /// The pool could not do without a backend that fails, and is not asked again before this.
    no_ejection_before: Cell<Moment>,
    /// The state of the same pool after a reload that changed it.
    successor: RefCell<Option<Rc<Self>>>,
    /// Backends may have to be waited for: they are looked for by [`PoolState::find`] only.
    pub(crate) queued: bool,
    /// Who may have something in flight that is not counted, since it began before a reload set limits or `bounded_load`; nobody once there is
    /// nothing left.
    earlier: RefCell<Earlier>,
    post: Rc<Post>,
}

#[derive(Debug)]
struct Chooser {
    /// The epoch of the pool's status that `set` was built from.
    epoch: u64,
    set: EligibleSet,
    balancer: Balancer,
}

impl PoolState {
    /// The state of a pool that was not there before.
    pub(crate) fn new(pool: Arc<Pool>, post: &Rc<Post>) -> Rc<Self> {
        Self::with_gate(pool, post, Gate::new(post.clone()))
    }

    fn with_gate(pool: Arc<Pool>, post: &Rc<Post>, gate: Rc<Gate>) -> Rc<Self> {
        let balancer = Balancer::new(&pool.balance, pool.hash_table.as_ref(), post.index as u64);
        let (idle, shared) = (Idle::new(&pool, post.count), Shared::new(&pool));
        Rc::new(Self {
            chooser: RefCell::new(Chooser { epoch: 0, set: EligibleSet::default(), balancer }),
            idle,
            shared,
            gate,
            alone: RefCell::default(),
            no_ejection_before: Cell::default(),
            successor: RefCell::default(),
            queued: pool.has_queue(),
            earlier: RefCell::default(),
            pool,
            post: post.clone(),
        })
    }

    /// The state of a pool that changed: connections to backends that stayed are kept, who waits goes on waiting, and
    /// balancing goes on where it stands.
    pub(crate) fn succeed(&self, pool: Arc<Pool>) -> Rc<Self> {
        let same = Arc::ptr_eq(&pool.status, &self.pool.status);
        let gate = if same { self.gate.clone() } else { Gate::new(self.post.clone()) };
        let state = Self::with_gate(pool, &self.post, gate);
        if same {
            *self.successor.borrow_mut() = Some(state.clone());
            state.count_what_is_there(self);
        }
        let places = places(&self.pool, &state.pool);
        // Connections that were made another way are not what the pool asks for now.
        let made_like = |pool: &Pool| pool.tls == state.pool.tls && pool.send_proxy == state.pool.send_proxy;
        if made_like(&self.pool) {
            state.idle.inherit(&self.idle, &places);
            if self.pool.protocol == state.pool.protocol {
                state.shared.inherit(&self.shared, &places);
            }
        }
        let place = |backend: usize| places.get(backend).copied().flatten();
        state.chooser.borrow_mut().balancer.inherit(&self.chooser.borrow().balancer, place);
        state
    }

    /// The pool is no longer part of the configuration as it was: those who still use it find no kept connection and
    /// leave none.
    pub(crate) fn retire(&self) {
        self.idle.retire();
        self.shared.retire();
    }

    /// The same pool with this backend only: a tunnel that keeps this keeps neither the snapshot nor the pool's kept
    /// connections. Its backend has the index 0.
    pub(crate) fn alone(&self, backend: usize) -> Rc<Self> {
        let new = || Self::new(Arc::new(self.pool.alone(backend)), &self.post);
        self.alone.borrow_mut().entry(backend).or_insert_with(new).clone()
    }

    /// Takes notice of what has become of the backends.
    #[inline]
    fn refresh(&self, chooser: &mut Chooser) {
        let now = self.pool.status.epoch.load(Ordering::Acquire);
        if chooser.epoch != now {
            chooser.set.rebuild(&self.pool);
            chooser.balancer.prepare(&chooser.set);
            chooser.epoch = now;
        }
    }

    /// The index of the backend to use for a key with this hash, none of `tried`; `None` if nothing is eligible, or
    /// everything that is has as much as it may have.
    pub(crate) fn choose(&self, worker: &Worker, hash: u64, tried: &[usize]) -> Option<usize> {
        let chooser = &mut *self.chooser.borrow_mut();
        self.refresh(chooser);
        let Chooser { set, balancer, .. } = chooser;
        let ask = Ask { hash, tried, now: clock::now() };
        let index = balancer.pick(set, &ask, &*self.pool, &mut worker.seed.borrow_mut());
        index.map(|index| set.members()[index].backend)
    }

    /// There is nobody to choose, and why.
    #[cold]
    pub(crate) fn nobody(&self) -> ProxyError {
        if self.pool.backends.is_empty() && self.pool.discover.is_some() {
            let over = self.pool.status.discovery.is_over();
            let why =
                if over { "its pool is gone, and none was discovered" } else { "none was discovered yet" };
            return ProxyError::with(Cause::NoHealthyBackend, why);
        }
        let why = self.chooser.borrow().set.standing().nobody();
        ProxyError { cause: Cause::NoHealthyBackend, detail: why.into() }
    }

    /// A backend has answered with this status code (0 for a connection that it took), so long after it was chosen.
    #[inline]
    pub(crate) fn answered(&self, worker: &Worker, backend: usize, code: u16, micros: u64) {
        let counters = self.pool.backends[backend].status.shards.of(worker.index);
        counters.codes.count(code);
        counters.latency.record(micros);
        if self.pool.balance.policy == Policy::Ewma {
            self.learn(backend, code, micros);
        }
    }

    /// What `ewma` learns of an answer. One that says that the backend failed, or has too much to do, is none to want more
    /// of, however fast it came.
    #[inline(never)]
    fn learn(&self, backend: usize, code: u16, micros: u64) {
        let latency = &self.pool.backends[backend].status.latency;
        if code >= 500 || code == 429 {
            latency.failed(micros, clock::now());
        } else {
            latency.answered(micros, clock::now());
        }
    }

    /// An attempt at a backend has failed, by its fault, so long after it was chosen.
    #[cold]
    pub(crate) fn failed(&self, worker: &Worker, backend: usize, error: &ProxyError, micros: u64) {
        let status = &self.pool.backends[backend].status;
        if self.pool.balance.policy == Policy::Ewma {
            status.latency.failed(micros, clock::now());
        }
        status.shards.of(worker.index).errors.add(1);
        let sentence = error.to_string();
        status.set_last_error(&sentence);
        // What an answer with such a status means was told when it ended.
        if error.cause.side() == Side::Backend && error.cause != Cause::BackendStatus {
            outlier::wrong(self, worker, backend, &sentence);
        }
    }

    /// The time of an exchange has run out while a backend was expected to answer.
    #[cold]
    pub(crate) fn kept_waiting(&self, worker: &Worker, backend: usize, error: &ProxyError) {
        let (status, sentence) = (&self.pool.backends[backend].status, error.to_string());
        status.shards.of(worker.index).errors.add(1);
        status.set_last_error(&sentence);
        outlier::wrong(self, worker, backend, &sentence);
    }

    /// An answer has ended: one with this status code (0 for a connection that was made), and by this failure if it broke
    /// off.
    #[inline]
    pub(crate) fn ended(&self, worker: &Worker, backend: usize, code: u16, broken: Option<&ProxyError>) {
        if self.pool.outlier.is_some() {
            outlier::ended(self, worker, backend, code, broken);
        }
    }

    /// When what this backend has is cut; never, unless it is let go.
    #[inline]
    pub(crate) fn drain_ends(&self, backend: Option<usize>) -> Moment {
        backend.map_or(Moment::NEVER, |backend| self.pool.backends[backend].status.drain.ends())
    }

    /// Counts what was cut because its backend is let go, if that is why it failed.
    #[cold]
    pub(crate) fn count_cut(&self, backend: usize, error: &ProxyError) {
        if error.cause == Cause::DrainOver {
            self.pool.backends[backend].status.drain.count_cut();
        }
    }

    /// Where what is in flight in the whole pool is counted, if balancing asks for it.
    #[inline]
    pub(crate) fn total(&self) -> Option<&Arc<PoolStatus>> {
        self.pool.balance.bounded_load.is_some().then_some(&self.pool.status)
    }

    /// Lets the first of those that wait for a backend look again: another worker may have released one.
    pub(crate) fn call_waiting(&self) {
        self.gate.call_first();
    }

    /// Closes connections that have waited too long, or that the backend has closed, and takes notice of what has ended.
    pub(crate) fn sweep(&self) {
        self.idle.sweep(&self.pool);
        self.shared.sweep(&self.pool);
        self.keep_count();
    }
}

/// Where each backend of a pool stands in the pool that took its place; none if it is not there any more, or is somewhere
/// else.
fn places(before: &Pool, after: &Pool) -> Vec<Option<usize>> {
    let same = |backend: &Backend| Arc::as_ptr(&backend.status);
    let now: HashMap<_, _> =
        after.backends.iter().enumerate().map(|(place, backend)| (same(backend), place)).collect();
    let place = |backend: &Backend| {
        let place = now.get(&same(backend)).copied();
        place.filter(|place| after.backends[*place].endpoint == backend.endpoint)
    };
    before.backends.iter().map(place).collect()
}

/// One request or connection in flight to a backend, counted as long as this lives; in the whole pool as well if its
/// status is given.
#[derive(Debug)]
pub(crate) struct InFlight<S: Deref<Target = BackendStatus>> {
    status: S,
    total: Option<Arc<PoolStatus>>,
}

impl<S: Deref<Target = BackendStatus>> Deref for InFlight<S> {
    type Target = BackendStatus;

    fn deref(&self) -> &BackendStatus {
        &self.status
    }
}

impl<S: Deref<Target = BackendStatus>> InFlight<S> {
    #[inline]
    pub(crate) fn new(status: S, total: Option<&Arc<PoolStatus>>) -> Self {
        Self::found(status, total, false)
    }

    /// The same, where `counted` says that the backend counts it already.
    #[inline]
    pub(crate) fn found(status: S, total: Option<&Arc<PoolStatus>>, counted: bool) -> Self {
        if !counted {
            status.active.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(total) = total {
            total.in_flight.fetch_add(1, Ordering::Relaxed);
        }
        Self { status, total: total.cloned() }
    }
}

impl InFlight<&BackendStatus> {
    /// Leaves it counted at the backend, for whoever comes in its place. Where the backend is full, nobody else gets in between.
    #[cold]
    pub(crate) fn hand_on(mut self) {
        if let Some(total) = self.total.take() {
            total.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        std::mem::forget(self);
    }
}

impl<S: Deref<Target = BackendStatus>> Drop for InFlight<S> {
    fn drop(&mut self) {
        self.status.release();
        if let Some(total) = &self.total {
            total.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
