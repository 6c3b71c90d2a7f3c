//! What a process begins with that others have opened or known before it: the process that it takes over from, or a service
//! manager.

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering},
};

use weir_model::{
    draft::{BackendDraft, Draft, Text},
    health::Fact,
    listener::{Address, Bind},
    pool::{Backend, Pool},
    problem::{Located, Span},
    snapshot::{BindKey, Snapshot, SnapshotCell},
    status::{Health, Order, Orders, State},
    time::{Millis, Moment},
};
use weir_proxy::tls::TicketKey;

use super::listeners::takes_both;
use crate::upgrade::{BackendRecord, FoundRecord, OrdersRecord};

/// Sockets and knowledge from before.
#[derive(Debug, Default)]
pub(crate) struct Inheritance {
    /// Listening sockets by their labels; see [`BindKey::label`].
    pub(crate) sockets: Vec<(String, Vec<OwnedFd>)>,
    /// The socket of the admin API, and what it is bound to by the file of the process before.
    pub(crate) admin: Option<(String, OwnedFd)>,
    /// What was known of backends.
    pub(crate) backends: Vec<BackendRecord>,
    /// The keys of TLS session tickets, the current one first.
    pub(crate) tickets: Vec<TicketKey>,
}

impl Inheritance {
    /// The sockets of a bind, if there are any.
    pub(super) fn take(&mut self, key: &BindKey) -> Option<Vec<OwnedFd>> {
        let label = key.label();
        let position = self.sockets.iter().position(|(own, _)| *own == label)?;
        Some(self.sockets.swap_remove(position).1)
    }

    /// True if a bind needs no socket of its own: it is the IPv4 half of a bind for either family, and there is one that takes
    /// both, as service managers make them.
    pub(super) fn covers(&self, bind: &Bind) -> bool {
        let Some(port) = bind.address.ip().filter(|ip| ip.is_ipv4() && ip.ip().is_unspecified()) else {
            return false;
        };
        let both = format!("[::]:{}", port.port());
        bind.either_family
            && self.sockets.iter().any(|(label, files)| *label == both && files.iter().all(takes_both))
    }

    /// The socket of the admin API, if it is bound where it should be.
    pub(super) fn take_admin(&mut self, bound: &Address) -> Option<OwnedFd> {
        let bound = bound.to_string();
        if self.admin.as_ref().is_some_and(|(label, _)| *label == bound) {
            return self.admin.take().map(|(_, socket)| socket);
        }
        // A service manager does not know which of its sockets is for operators.
        let position = self.sockets.iter().position(|(label, _)| *label == bound)?;
        self.sockets.swap_remove(position).1.pop()
    }

    /// Gives pools that discover their backends those that were found before: nobody has said that they are gone, and the
    /// first answer may take a while.
    pub(super) fn carry_found_over(&self, draft: &mut Draft) {
        for pool in draft.pools.iter_mut().filter(|pool| pool.discover.is_some()) {
            let own = self.backends.iter().filter(|record| *record.pool == pool.name.value);
            pool.found = own.filter_map(BackendRecord::as_found).collect();
        }
    }

    /// Gives backends that are still there the health that they had.
    pub(super) fn remember_health(&self, snapshot: &Snapshot, now: Moment) {
        let mut found = BTreeMap::new();
        for record in &self.backends {
            let known = find(snapshot, (&record.pool, &record.name, &record.endpoint));
            if let Some((pool, backend)) = known {
                record.tell(backend, now);
                pool.status.unsettled.store(true, Ordering::Release);
            }
            if let Some((pool, _)) = known.filter(|_| record.found.is_some()) {
                found.entry(&*pool.name).or_insert((pool, 0)).1 += 1;
            }
        }
        // For whoever takes over from this process before the first answer has come.
        for (pool, count) in found.into_values().filter(|(pool, _)| pool.discover.is_some()) {
            pool.status.discovery.used(count, Vec::new());
        }
    }
}

/// Gives backends that are still there the orders that they had.
pub(super) fn remember_orders(records: &[OrdersRecord], cell: &SnapshotCell, now: Moment) {
    let snapshot = cell.load();
    for record in records {
        if let Some((pool, backend)) = find(&snapshot, (&record.pool, &record.name, &record.endpoint)) {
            record.tell(backend, now);
            cell.drains().follow(pool, backend, now);
            pool.status.touch();
        }
    }
}

/// A backend that is called as it was, and stands where it stood.
fn find<'s>(
    snapshot: &'s Snapshot,
    (pool, name, endpoint): (&str, &str, &str),
) -> Option<(&'s Pool, &'s Backend)> {
    let (_, pool) = snapshot.pool(pool)?;
    let mut backends = pool.backends.iter();
    let same = |backend: &&Backend| *backend.name == *name && backend.endpoint.to_string() == endpoint;
    backends.find(same).map(|backend| (&**pool, backend))
}

impl BackendRecord {
    /// What is known of every backend of a snapshot.
    pub(super) fn all(snapshot: &Snapshot, now: Moment) -> Vec<Self> {
        let mut records = Vec::new();
        for pool in &snapshot.pools {
            // Those that were found come after those that stand in the file.
            let found = usize::try_from(pool.status.discovery.found()).unwrap_or(0);
            let written = pool.backends.len().saturating_sub(found);
            let is_found = |index| pool.discover.is_some() && index >= written;
            let of = |(index, backend)| Self::of(&pool.name, backend, is_found(index), now);
            records.extend(pool.backends.iter().enumerate().map(of));
        }
        records
    }

    fn of(pool: &Arc<str>, backend: &Backend, found: bool, now: Moment) -> Self {
        let view = backend.status.view();
        let status = &backend.status;
        Self {
            pool: pool.to_string(),
            name: backend.name.to_string(),
            endpoint: backend.endpoint.to_string(),
            // One that was taken out by live traffic passes its checks.
            health: match status.health() {
                Health::Up | Health::Ejected => Some(Health::Up.word().to_owned()),
                Health::Down => Some(Health::Down.word().to_owned()),
                Health::Unknown => None,
            },
            reason: status.reason().to_string(),
            ejected: view
                .ejection()
                .map(|ejection| (ejection.until.since(now).0, ejection.reason.to_string())),
            addresses: status.addresses.load().to_vec(),
            found: found.then(|| FoundRecord {
                weight: backend.weight,
                backup: backend.backup,
                zone: backend.zone.as_deref().map(str::to_owned),
                state: backend.state.word().to_owned(),
                max_connections: Some(backend.max_connections).filter(|most| *most != u32::MAX),
                server_id: backend.server_id.map(|id| id.to_string()),
            }),
        }
    }

    /// The same as it was found, if it was.
    fn as_found(&self) -> Option<BackendDraft> {
        let FoundRecord { weight, backup, zone, state, max_connections, server_id } = self.found.as_ref()?;
        let text = |value: &String| Text::new(value.clone(), Span::default());
        let state = State::of_word(state).filter(|state| *state != State::Active);
        Some(BackendDraft {
            address: text(&self.endpoint),
            name: Some(text(&self.name)),
            weight: Some(Located::new(*weight, Span::default())),
            backup: backup.then(|| Located::new(true, Span::default())),
            zone: zone.as_ref().map(text),
            state: state.map(|state| Located::new(state, Span::default())),
            max_connections: max_connections.map(|most| Located::new(most, Span::default())),
            server_id: server_id.as_ref().map(text),
        })
    }

    fn tell(&self, backend: &Backend, now: Moment) {
        let status = &backend.status;
        status.addresses.store(Arc::new(self.addresses.clone()));
        let health = match self.health.as_deref() {
            Some("up") => Health::Up,
            Some("down") => Health::Down,
            _ => return,
        };
        status.apply(Fact::Checked(health, &self.reason), now);
        if let Some((left, reason)) = &self.ejected {
            status.apply(Fact::Ejected(Millis(*left), reason), now);
        }
    }
}

impl OrdersRecord {
    /// Everything that operators have set.
    pub(super) fn all(snapshot: &Snapshot) -> Vec<Self> {
        let pools = snapshot.pools.iter();
        let of_pool = |pool: &'_ Arc<Pool>| {
            pool.backends.iter().filter_map(|backend| Self::of(&pool.name, backend)).collect::<Vec<_>>()
        };
        pools.flat_map(of_pool).collect()
    }

    fn of(pool: &Arc<str>, backend: &Backend) -> Option<Self> {
        let orders = backend.status.operator.orders();
        let word = |state: State| state.word().to_owned();
        (orders.state.is_some() || orders.weight.is_some()).then(|| Self {
            pool: pool.to_string(),
            name: backend.name.to_string(),
            endpoint: backend.endpoint.to_string(),
            state: orders.state.map(|order| (word(order.value), word(order.file))),
            weight: orders.weight.map(|order| (order.value, order.file)),
        })
    }

    fn tell(&self, backend: &Backend, now: Moment) {
        let state = self.state.as_ref().and_then(|(value, file)| {
            Some(Order { value: State::of_word(value)?, file: State::of_word(file)? })
        });
        let weight = self.weight.map(|(value, file)| Order { value, file });
        backend.status.operator.update(|_| Orders { state, weight, since: now });
    }
}
