//! What a reload changes: one snapshot compared with the one that runs.
//!
//! Everything is compared by what it says, not by where it stands: two files that mean the same are no change. The same
//! comparison decides what a reload touches ([`adopt`]), what it logs, and what `weir check --diff` prints.

mod compare;

use std::{collections::BTreeMap, sync::Arc};

use super::{BindKey, Place, Snapshot, successors};
use crate::{
    listener::Listener,
    pool::{Backend, Pool},
};

/// What changes from one snapshot to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Addresses.
    pub binds: Binds,
    /// Listeners by name.
    pub listeners: Changes<Arc<str>>,
    /// Routes by listener and name.
    pub routes: Changes<(Arc<str>, Arc<str>)>,
    /// Pools by name.
    pub pools: Changes<Arc<str>>,
    /// Backends by pool and name.
    pub backends: Changes<(Arc<str>, Arc<str>)>,
    /// Settings of the process that changed.
    pub settings: Vec<&'static str>,
    /// Settings of the process that changed, but take effect at its next start only.
    pub next_start: Vec<&'static str>,
}

/// What becomes of the things of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes<N> {
    /// Those that come.
    pub added: Vec<N>,
    /// Those that go.
    pub removed: Vec<N>,
    /// Those that stay, and the keys that say something else now.
    pub changed: Vec<(N, Vec<&'static str>)>,
    /// How many stay as they are.
    pub kept: usize,
}

impl<N> Default for Changes<N> {
    fn default() -> Self {
        Self { added: Vec::new(), removed: Vec::new(), changed: Vec::new(), kept: 0 }
    }
}

/// What becomes of bound addresses. Each stands with the listener that it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binds {
    /// To be bound.
    pub opened: Vec<(BindKey, Arc<str>)>,
    /// To be closed, once what waits in their queues is served.
    pub closed: Vec<(BindKey, Arc<str>)>,
    /// Stay bound, and go from the first listener to the second.
    pub moved: Vec<(BindKey, Arc<str>, Arc<str>)>,
    /// Stay bound, but the listener speaks another protocol: connections from before drain.
    pub switched: Vec<(BindKey, Arc<str>)>,
    /// Stay bound for others, and get one listener more.
    pub joined: Vec<(BindKey, Arc<str>)>,
    /// Stay bound for others, but not for this listener: its connections drain.
    pub left: Vec<(BindKey, Arc<str>)>,
    /// Stay as they are.
    pub kept: Vec<(BindKey, Arc<str>)>,
}

impl Diff {
    /// What changes from `old` to `new`.
    pub fn of(old: &Snapshot, new: &Snapshot) -> Self {
        let routes = |snapshot: &Snapshot| {
            let named = |listener: &Arc<Listener>| {
                let name = listener.name.clone();
                let routes = listener.routes.routes().to_vec();
                routes.into_iter().map(move |route| ((name.clone(), route.name.clone()), route))
            };
            snapshot.listeners.iter().flat_map(named).collect::<BTreeMap<_, _>>()
        };
        let backends = |snapshot: &Snapshot| {
            let named = snapshot.pools.iter().flat_map(|pool| {
                let name = &pool.name;
                pool.backends.iter().map(|backend| ((name.clone(), backend.name.clone()), backend.clone()))
            });
            named.collect::<BTreeMap<_, _>>()
        };
        let listeners = |snapshot: &Snapshot| {
            let named = snapshot.listeners.iter().map(|listener| (listener.name.clone(), listener.clone()));
            named.collect::<BTreeMap<_, _>>()
        };
        let pools = |snapshot: &Snapshot| {
            snapshot.pools.iter().map(|pool| (pool.name.clone(), pool.clone())).collect::<BTreeMap<_, _>>()
        };
        let (mut settings, next_start) = compare::process(old, new);
        settings.extend(compare::logging(&old.logging, &new.logging));
        Self {
            binds: binds(old, new),
            listeners: changes(&listeners(old), &listeners(new), |a, b| {
                compare::listener((a, old), (b, new))
            }),
            routes: changes(&routes(old), &routes(new), |a, b| compare::route((a, old), (b, new))),
            pools: changes(&pools(old), &pools(new), |a, b| compare::pool(a, b)),
            backends: changes(&backends(old), &backends(new), compare::backend),
            settings,
            next_start,
        }
    }

    /// What changes where pools have other backends and nothing else; each pool as it was and as it will be.
    pub fn of_backends<'p>(pools: impl Iterator<Item = (&'p Pool, &'p Pool)> + Clone) -> Self {
        let named = |pool: &'p Pool| {
            let backends = pool.backends.iter();
            backends.map(|backend| ((pool.name.clone(), backend.name.clone()), backend))
        };
        let old = pools.clone().flat_map(|(old, _)| named(old)).collect();
        let new = pools.flat_map(|(_, new)| named(new)).collect();
        let backends = changes(&old, &new, |old: &&Backend, new: &&Backend| compare::backend(old, new));
        Self { backends, ..Self::default() }
    }

    /// True if nothing changes.
    pub fn is_empty(&self) -> bool {
        let Self { binds, listeners, routes, pools, backends, settings, next_start } = self;
        let Binds { opened, closed, moved, switched, joined, left, kept: _ } = binds;
        opened.is_empty()
            && closed.is_empty()
            && moved.is_empty()
            && switched.is_empty()
            && joined.is_empty()
            && left.is_empty()
            && listeners.is_empty()
            && routes.is_empty()
            && pools.is_empty()
            && backends.is_empty()
            && settings.is_empty()
            && next_start.is_empty()
    }
}

impl<N> Changes<N> {
    /// True if all of them stay as they are.
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Makes `new` the successor of `running`: pools that stay as they are become the very same objects, with everything
/// that workers keep for them, and settings that cannot change while the process runs stay what they are. Returns what
/// changes.
pub fn adopt(running: &Snapshot, new: &mut Snapshot) -> Diff {
    let diff = Diff::of(running, new);
    for pool in &mut new.pools {
        let Some((_, before)) = running.pool(&pool.name) else { continue };
        let same_status = Arc::ptr_eq(&before.status, &pool.status)
            && before.backends.iter().zip(&pool.backends).all(|(a, b)| Arc::ptr_eq(&a.status, &b.status));
        if same_status && compare::pool(before, pool).is_empty() {
            *pool = before.clone();
        } else if let Some(pool) = Arc::get_mut(pool) {
            pool.keep_prepared(before);
        }
    }
    for listener in &mut new.listeners {
        let before = running.listeners.iter().find(|before| before.name == listener.name);
        if let (Some(before), Some(listener)) = (before, Arc::get_mut(listener))
            && before.tls == listener.tls
        {
            // With everything that was prepared for it.
            listener.tls.clone_from(&before.tls);
        }
    }
    compare::keep_until_next_start(&running.process, &mut new.process);
    diff
}

/// What becomes of things that are known by their names.
fn changes<N: Ord + Clone, T>(
    old: &BTreeMap<N, T>,
    new: &BTreeMap<N, T>,
    differences: impl Fn(&T, &T) -> Vec<&'static str>,
) -> Changes<N> {
    let mut changes = Changes::default();
    for (name, after) in new {
        match old.get(name).map(|before| differences(before, after)) {
            None => changes.added.push(name.clone()),
            Some(keys) if keys.is_empty() => changes.kept += 1,
            Some(keys) => changes.changed.push((name.clone(), keys)),
        }
    }
    changes.removed = old.keys().filter(|name| !new.contains_key(*name)).cloned().collect();
    changes
}

fn binds(old: &Snapshot, new: &Snapshot) -> Binds {
    let listeners = |snapshot: &Snapshot, place: &Place<'_>| {
        place.listeners.iter().map(|index| snapshot.listeners[*index].clone()).collect::<Vec<_>>()
    };
    let named = |key: &BindKey, listener: &Listener| (key.clone(), listener.name.clone());
    let mut before: BTreeMap<_, _> = old.binds().into_iter().collect();
    let mut binds = Binds::default();
    for (key, place) in new.binds() {
        let after = listeners(new, &place);
        match before.remove(&key) {
            None => binds.opened.extend(after.iter().map(|listener| named(&key, listener))),
            Some(place) => binds.stay(&key, &listeners(old, &place), &after),
        }
    }
    for (key, place) in before {
        binds.closed.extend(listeners(old, &place).iter().map(|listener| named(&key, listener)));
    }
    binds
}

impl Binds {
    /// What becomes of an address that stays bound.
    fn stay(&mut self, key: &BindKey, before: &[Arc<Listener>], after: &[Arc<Listener>]) {
        let named = |listener: &Listener| (key.clone(), listener.name.clone());
        let views = [before, after].map(|side| side.iter().map(|listener| &**listener).collect::<Vec<_>>());
        let next = successors(&views[0], &views[1]);
        for (owner, next) in before.iter().zip(&next) {
            let Some(listener) = next.map(|next| &after[next]) else {
                self.left.push(named(owner));
                continue;
            };
            let goes_on = listener.goes_on_as(owner);
            if !goes_on {
                self.switched.push(named(listener));
            }
            if owner.name != listener.name {
                self.moved.push((key.clone(), owner.name.clone(), listener.name.clone()));
            } else if goes_on {
                self.kept.push(named(listener));
            }
        }
        let fresh = after.iter().enumerate().filter(|(place, _)| !next.contains(&Some(*place)));
        self.joined.extend(fresh.map(|(_, listener)| named(listener)));
    }
}
