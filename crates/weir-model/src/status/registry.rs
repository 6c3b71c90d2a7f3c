//! Finds the status object of a name again after a reload.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64},
    },
};

use super::{
    AccessLogStatus, AcmeStatus, BackendStatus, DiscoveryStatus, Health, ListenerStatus, Padded, PoolStatus,
    Proofs, RenewalStatus, RouteStatus, Said, Sharded,
};
use crate::{
    balance::{HashTable, Policy},
    limit::RetryBudget,
    pool::{Endpoint, Pool},
    snapshot::Snapshot,
};

/// Every status object by name. Owned by whoever compiles snapshots; the data path reaches the objects through
/// the snapshot only. A clone knows the same objects: a configuration that may yet be refused is compiled with one, so that
/// the original never hears of it.
#[derive(Clone, Debug)]
pub struct Registry {
    workers: usize,
    decided: bool,
    listeners: BTreeMap<String, Arc<ListenerStatus>>,
    routes: BTreeMap<(String, String, String), Arc<RouteStatus>>,
    pools: BTreeMap<String, Arc<PoolStatus>>,
    /// By pool: a table is built anew only if it would be another one.
    tables: BTreeMap<String, Arc<HashTable>>,
    /// Where a backend is belongs to what it is: another machine of the same name starts afresh.
    backends: BTreeMap<(String, String), (Endpoint, Arc<BackendStatus>)>,
    access_log: Option<Arc<AccessLogStatus>>,
    proofs: Option<Arc<Proofs>>,
    /// By label.
    acme: BTreeMap<Arc<str>, Arc<AcmeStatus>>,
}

impl Registry {
    /// An empty registry for so many workers, unless the first configuration says otherwise.
    pub const fn new(workers: usize) -> Self {
        Self {
            workers,
            decided: false,
            listeners: BTreeMap::new(),
            routes: BTreeMap::new(),
            pools: BTreeMap::new(),
            tables: BTreeMap::new(),
            backends: BTreeMap::new(),
            access_log: None,
            proofs: None,
            acme: BTreeMap::new(),
        }
    }

    /// Settles how many workers there are; the first to say so decides, since counters are made for so many.
    pub fn decide_workers(&mut self, configured: Option<usize>) {
        if !std::mem::replace(&mut self.decided, true) {
            self.workers = configured.unwrap_or(self.workers).max(1);
        }
    }

    /// How many workers there are.
    pub const fn workers(&self) -> usize {
        self.workers
    }

    /// The status of the access log.
    pub fn access_log(&mut self) -> Arc<AccessLogStatus> {
        self.access_log.get_or_insert_default().clone()
    }

    /// What authorities are answered that issue certificates.
    pub fn proofs(&mut self) -> Arc<Proofs> {
        self.proofs.get_or_insert_default().clone()
    }

    /// The status of a certificate that an authority issues, by its label.
    pub fn acme(&mut self, label: &Arc<str>) -> Arc<AcmeStatus> {
        self.acme.entry(label.clone()).or_default().clone()
    }

    /// The status of a listener.
    pub fn listener(&mut self, name: &str) -> Arc<ListenerStatus> {
        let new = || {
            Arc::new(ListenerStatus {
                shards: Sharded::new(self.workers),
                full: Said::default(),
                renewal: RenewalStatus::default(),
            })
        };
        self.listeners.entry(name.into()).or_insert_with(new).clone()
    }

    /// The status of a listener's route towards one pool; the name is empty for what the route answers by itself.
    pub fn route(&mut self, listener: &str, route: &str, pool: &str) -> Arc<RouteStatus> {
        let new = || Arc::new(RouteStatus { shards: Sharded::new(self.workers) });
        self.routes.entry((listener.into(), route.into(), pool.into())).or_insert_with(new).clone()
    }

    /// The status of a pool.
    pub fn pool(&mut self, name: &str) -> Arc<PoolStatus> {
        let new = || {
            Arc::new(PoolStatus {
                epoch: 1.into(),
                requests: Padded::default(),
                carried: Padded::default(),
                connections: Padded::default(),
                pending: Padded::default(),
                waiting: Sharded::new(self.workers),
                turn: AtomicU32::new(0),
                in_flight: Padded::default(),
                beside: AtomicU32::new(0),
                retry_budget: RetryBudget::default(),
                retries: Sharded::new(self.workers),
                discovery: DiscoveryStatus::default(),
                renewal: RenewalStatus::default(),
                ejecting: Mutex::default(),
                silent_until: AtomicU64::new(0),
                unsettled: AtomicBool::new(false),
            })
        };
        self.pools.entry(name.into()).or_insert_with(new).clone()
    }

    /// The table of a pool whose policy hashes, over its backends by name and weight; none for other policies.
    pub fn table(
        &mut self,
        pool: &str,
        policy: Policy,
        backends: Vec<(Arc<str>, u32)>,
    ) -> Option<Arc<HashTable>> {
        let known = self.tables.get(pool).filter(|table| table.is_of(policy, &backends));
        let table = known.cloned().or_else(|| HashTable::new(policy, backends).map(Arc::new))?;
        self.tables.insert(pool.into(), table.clone());
        Some(table)
    }

    /// The status of a pool's backend at this endpoint; `health` is used for one that is new.
    pub fn backend(
        &mut self,
        pool: &str,
        backend: &str,
        endpoint: &Endpoint,
        health: Health,
    ) -> Arc<BackendStatus> {
        let new = || (endpoint.clone(), Arc::new(BackendStatus::new(self.workers, health)));
        let known = self.backends.entry((pool.into(), backend.into())).or_insert_with(new);
        if known.0 != *endpoint {
            *known = new();
        }
        known.1.clone()
    }

    /// Forgets every name that a snapshot does not have: one that comes back later starts afresh.
    pub fn keep_only(&mut self, snapshot: &Snapshot) {
        let mut listeners = BTreeSet::new();
        let mut routes = BTreeSet::new();
        for listener in &snapshot.listeners {
            listeners.insert(&*listener.name);
            for route in listener.routes.routes() {
                let mut pools =
                    route.action.pools().map(|pool| &*snapshot.pools[pool].name).collect::<Vec<_>>();
                if pools.is_empty() {
                    pools.push("");
                }
                routes.extend(pools.into_iter().map(|pool| (&*listener.name, &*route.name, pool)));
            }
        }
        let mut pools = BTreeSet::new();
        let mut backends = BTreeSet::new();
        for pool in &snapshot.pools {
            pools.insert(&*pool.name);
            backends.extend(pool.backends.iter().map(|backend| (&*pool.name, &*backend.name)));
        }
        self.listeners.retain(|name, _| listeners.contains(&**name));
        let labels: BTreeSet<_> =
            snapshot.listeners.iter().filter_map(|listener| Some(&listener.acme.as_ref()?.label)).collect();
        self.acme.retain(|label, _| labels.contains(label));
        self.routes.retain(|(listener, name, pool), _| routes.contains(&(&**listener, &**name, &**pool)));
        self.pools.retain(|name, _| pools.contains(&**name));
        self.tables.retain(|name, _| snapshot.pool(name).is_some_and(|(_, pool)| pool.hash_table.is_some()));
        self.backends.retain(|(pool, name), _| backends.contains(&(&**pool, &**name)));
    }

    /// [`Registry::keep_only`], for the backends of one pool.
    pub fn keep_only_of(&mut self, pool: &Pool) {
        let named: BTreeSet<&str> = pool.backends.iter().map(|backend| &*backend.name).collect();
        let from = (pool.name.to_string(), String::new());
        let own = self.backends.range(from..).take_while(|((name, _), _)| **name == *pool.name);
        let gone = own.filter(|((_, backend), _)| !named.contains(&**backend));
        let gone: Vec<_> = gone.map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.backends.remove(&key);
        }
    }

    /// How many names are known, of all kinds.
    pub fn len(&self) -> usize {
        self.listeners.len() + self.routes.len() + self.pools.len() + self.backends.len()
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
