//! One snapshot as a worker sees it, with the state that the worker keeps for each pool.
//!
//! It does not hold on to the snapshot itself, only to its parts: what lives longer than the snapshot (a long answer, a
//! tunnel) keeps the part that it uses, and the rest goes.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    ops::Deref,
    rc::Rc,
    sync::Arc,
};

use weir_model::{
    listener::{Listener, NameTable},
    log::AccessLog,
    pool::Pool,
    snapshot::{BindKey, Logging, Place, Snapshot, successors},
    status::Proofs,
    time::Millis,
};

use crate::{choose::PoolState, worker::Post};

/// One snapshot as a worker sees it.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) generation: u64,
    /// Whom a connection belongs to, by the address that it came in at.
    owners: HashMap<BindKey, Rc<Owners>>,
    /// In the order of the snapshot: routes name pools by their index here.
    pub(crate) pools: Vec<Rc<PoolState>>,
    /// How long connections may take to finish whose address is bound no more.
    pub(crate) drain: Millis,
    /// Client connections at once over all listeners; `u32::MAX` is no limit.
    pub(crate) connections: u32,
    /// True if the file says so many, and not how many files the process may open.
    pub(crate) connections_given: bool,
}

/// The listeners of one address, at least one.
#[derive(Debug)]
pub(crate) struct Owners {
    /// In the order of [`weir_model::snapshot::Place::listeners`].
    pub(crate) listeners: Vec<Held>,
    /// Which of them takes whom.
    pub(crate) names: NameTable,
}

impl Owners {
    fn new(listeners: Vec<Held>) -> Rc<Self> {
        let names = NameTable::new(listeners.iter().map(|listener| &*listener.sni));
        Rc::new(Self { listeners, names })
    }

    /// Which of the next owners each of these goes on as.
    pub(crate) fn successors(&self, next: &Self) -> Vec<Option<usize>> {
        let all =
            |owners: &Self| owners.listeners.iter().map(|held| held.listener.clone()).collect::<Vec<_>>();
        let (before, after) = (all(self), all(next));
        let views = [&before, &after].map(|side| side.iter().map(|listener| &**listener).collect::<Vec<_>>());
        successors(&views[0], &views[1])
    }
}

/// A listener as a worker holds it: counting who uses it takes no atomic operation.
pub(crate) type Held = Rc<HeldListener>;

/// A listener, and what tunnels keep of it.
#[derive(Debug)]
pub(crate) struct HeldListener {
    listener: Arc<Listener>,
    /// The access log, if there is one.
    pub(crate) access_log: Option<Arc<AccessLog>>,
    /// Whether answers say where they come from.
    pub(crate) debug_headers: bool,
    /// What authorities are answered that issue certificates.
    pub(crate) proofs: Arc<Proofs>,
    /// By route.
    alone: RefCell<BTreeMap<Option<usize>, Rc<Self>>>,
}

impl Deref for HeldListener {
    type Target = Listener;

    #[inline]
    fn deref(&self) -> &Listener {
        &self.listener
    }
}

impl HeldListener {
    fn new(listener: Arc<Listener>, snapshot: &Snapshot) -> Rc<Self> {
        let Logging { access, debug_headers, .. } = &snapshot.logging;
        Rc::new(Self {
            listener,
            access_log: access.clone(),
            debug_headers: *debug_headers,
            proofs: snapshot.proofs.clone(),
            alone: RefCell::default(),
        })
    }

    /// The same listener with this route only, which has the index 0.
    pub(crate) fn alone(&self, route: Option<usize>) -> Rc<Self> {
        let new = || {
            Rc::new(Self {
                listener: Arc::new(self.listener.alone(route)),
                access_log: self.access_log.clone(),
                debug_headers: self.debug_headers,
                proofs: self.proofs.clone(),
                alone: RefCell::default(),
            })
        };
        self.alone.borrow_mut().entry(route).or_insert_with(new).clone()
    }
}

impl View {
    /// The first view of a worker.
    pub(crate) fn first(snapshot: &Snapshot, post: &Rc<Post>) -> Rc<Self> {
        Self::new(snapshot, |pool| PoolState::new(pool.clone(), post))
    }

    /// The view of the next snapshot. Pools that stayed keep their state; of those that changed, the connections to
    /// backends that stayed are kept.
    pub(crate) fn next(&self, snapshot: &Snapshot, post: &Rc<Post>) -> Rc<Self> {
        let next = Self::new(snapshot, |pool| match self.pool(&pool.name) {
            Some(state) if Arc::ptr_eq(&state.pool, pool) => state.clone(),
            Some(state) => state.succeed(pool.clone()),
            None => PoolState::new(pool.clone(), post),
        });
        self.pools.iter().filter(|state| !next.has(state)).for_each(|state| state.retire());
        next
    }

    fn new(snapshot: &Snapshot, state: impl FnMut(&Arc<Pool>) -> Rc<PoolState>) -> Rc<Self> {
        let held = |listener: &Arc<Listener>| HeldListener::new(listener.clone(), snapshot);
        let held: Vec<_> = snapshot.listeners.iter().map(held).collect();
        let owners = |place: Place<'_>| {
            Owners::new(place.listeners.iter().map(|index| held[*index].clone()).collect())
        };
        let owners = snapshot.binds().into_iter().map(|(key, place)| (key, owners(place))).collect();
        let pools = snapshot.pools.iter().map(state).collect();
        let drain = snapshot.process.shutdown_drain;
        Rc::new(Self {
            generation: snapshot.generation,
            owners,
            pools,
            drain,
            connections: snapshot.process.connections,
            connections_given: snapshot.connections_given,
        })
    }

    /// The listeners that this address belongs to, if it is still bound.
    pub(crate) fn owners(&self, key: &BindKey) -> Option<&Rc<Owners>> {
        self.owners.get(key)
    }

    /// True if this very state is part of the view.
    pub(crate) fn has(&self, state: &Rc<PoolState>) -> bool {
        self.pool(&state.pool.name).is_some_and(|own| Rc::ptr_eq(own, state))
    }

    fn pool(&self, name: &str) -> Option<&Rc<PoolState>> {
        let index = self.pools.binary_search_by(|state| (*state.pool.name).cmp(name)).ok()?;
        Some(&self.pools[index])
    }
}
