//! Finds the status object of a name again after a reload.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    AccessLogStatus, BackendStatus, Health, ListenerStatus, Padded, PoolStatus, RouteStatus, Sharded,
};
use crate::limit::RetryBudget;

/// Every status object by name. Owned by whoever compiles snapshots; the data path reaches the objects through
/// the snapshot only.
#[derive(Debug)]
pub struct Registry {
    workers: usize,
    decided: bool,
    listeners: BTreeMap<String, Arc<ListenerStatus>>,
    routes: BTreeMap<(String, String, String), Arc<RouteStatus>>,
    pools: BTreeMap<String, Arc<PoolStatus>>,
    backends: BTreeMap<(String, String), Arc<BackendStatus>>,
    access_log: Option<Arc<AccessLogStatus>>,
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
            backends: BTreeMap::new(),
            access_log: None,
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

    /// The status of a listener.
    pub fn listener(&mut self, name: &str) -> Arc<ListenerStatus> {
        let new = || Arc::new(ListenerStatus { shards: Sharded::new(self.workers) });
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
                connections: Padded::default(),
                pending: Padded::default(),
                retry_budget: RetryBudget::default(),
                retries: Sharded::new(self.workers),
            })
        };
        self.pools.entry(name.into()).or_insert_with(new).clone()
    }

    /// The status of a pool's backend; `health` is used for one that is new.
    pub fn backend(&mut self, pool: &str, backend: &str, health: Health) -> Arc<BackendStatus> {
        let new = || Arc::new(BackendStatus::new(self.workers, health));
        self.backends.entry((pool.into(), backend.into())).or_insert_with(new).clone()
    }
}
