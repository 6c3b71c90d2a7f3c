//! Backends that are weir itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use super::address;
use crate::{
    draft::{Draft, ListenerDraft, PoolDraft, Text},
    listener::{Address, Listener},
    pool::{Endpoint, Pool, PoolIndex},
    problem::{Problem, Span},
    route::Action,
    snapshot::Snapshot,
};

/// Refuses backends that lead back to the listener that uses them, and warns about others that are weir itself. What leads
/// back on this machine only is a warning: the file may be meant for another one.
pub(super) fn hairpins(
    draft: &Draft,
    listener_drafts: &BTreeMap<&str, &ListenerDraft>,
    listeners: &[Arc<Listener>],
    pools: (&BTreeMap<&str, &PoolDraft>, &[Arc<Pool>]),
    problems: &mut Vec<Problem>,
) {
    let (pool_drafts, pools) = pools;
    let everywhere = own(listeners, pool_drafts, &IpAddr::is_loopback);
    let here = draft.machine.here.map(|here| own(listeners, pool_drafts, &here)).unwrap_or_default();
    let told: BTreeSet<Span> = everywhere.iter().filter(|own| own.circle).map(|own| own.text.span).collect();
    let here = here.into_iter().filter(|own| own.circle && !told.contains(&own.text.span));
    let everywhere = everywhere.into_iter().map(|own| (own, false));
    for (Own { pool, text, listener, circle }, only_here) in everywhere.chain(here.map(|own| (own, true))) {
        let name = &listeners[listener].name;
        let bind = listener_drafts.get(&**name).and_then(|draft| draft.binds.first());
        let pool = &pools[pool].name;
        let it = format!("`{}` is weir's own listener `{name}`", text.value);
        let meant = "write the address of the backend that is meant";
        let problem = match (only_here, circle) {
            (true, _) => {
                let cause = format!(
                    "on this machine {it}, which leads to the pool `{pool}` again: a request would go round in \
                     circles, so that this backend is left out"
                );
                Problem::warning(text.span, cause, meant)
            }
            (false, true) => {
                let cause = format!(
                    "{it}, which leads to the pool `{pool}` again: a request would go round in circles"
                );
                Problem::error(text.span, cause, meant)
            }
            (false, false) => {
                let cause = format!("{it}: each request passes twice");
                Problem::warning(text.span, cause, "send to the pool of that listener directly")
            }
        };
        let related = bind.map(|bind| (bind.span, "the listener is bound here".to_owned()));
        problems.push(Problem { related, ..problem });
    }
}

/// A backend that is weir itself.
struct Own<'d> {
    pool: PoolIndex,
    text: &'d Text,
    listener: usize,
    /// True if what arrives at the listener can come to the pool again.
    circle: bool,
}

/// All of them. `is_here` says if an address is this machine's.
fn own<'d>(
    listeners: &[Arc<Listener>],
    pools: &BTreeMap<&str, &'d PoolDraft>,
    is_here: &dyn Fn(&IpAddr) -> bool,
) -> Vec<Own<'d>> {
    let used: Vec<BTreeSet<PoolIndex>> = listeners.iter().map(|listener| pools_of(listener)).collect();
    let doors = Doors::of(listeners);
    // Which listeners each pool leads to, with the address that does. Those that share an address are all meant: which of them
    // it comes to, the name in each connection says.
    let texts = |pool: &'d PoolDraft| pool.backends.iter().map(|backend| &backend.address);
    let behind = |text: &Text| address::endpoint(text).map_or(Vec::new(), |to| doors.behind(&to, is_here));
    let leads: Vec<Vec<(Vec<usize>, &Text)>> = pools
        .values()
        .map(|pool| texts(pool).map(|text| (behind(text), text)))
        .map(|leads| leads.filter(|(listeners, _)| !listeners.is_empty()).collect())
        .collect();
    let next = |pool: PoolIndex| leads[pool].iter().flat_map(|(behind, _)| behind.clone()).collect();
    let mut found = Vec::new();
    for (pool, leads_to) in leads.iter().enumerate() {
        found.extend(leads_to.iter().map(|(behind, text)| {
            let back = behind.iter().find(|listener| reaches(**listener, pool, &used, &next));
            Own { pool, text, listener: *back.unwrap_or(&behind[0]), circle: back.is_some() }
        }));
    }
    found
}

/// The listeners that a discovered backend must not be.
pub(super) struct Loops<'l> {
    listeners: &'l [Arc<Listener>],
    doors: Doors<'l>,
}

impl<'l> Loops<'l> {
    pub(super) fn of(listeners: &'l [Arc<Listener>]) -> Self {
        Self { listeners, doors: Doors::of(listeners) }
    }

    /// What is wrong with a backend of a pool that is a listener which leads to this very pool.
    pub(super) fn problem(&self, endpoint: &Endpoint, index: PoolIndex, pool: &str) -> Option<Problem> {
        let behind = self.doors.behind(endpoint, &IpAddr::is_loopback);
        let mut listeners = behind.into_iter().map(|listener| &self.listeners[listener]);
        let listener = listeners.find(|listener| pools_of(listener).contains(&index))?;
        let cause = format!(
            "`{endpoint}` is weir's own listener `{}`, which leads to the pool `{pool}` again",
            listener.name
        );
        Some(Problem::error(Span::default(), cause, ""))
    }
}

impl Snapshot {
    /// Where the listeners are bound at this port that lead to this pool, by way of other listeners too, and their names: a
    /// backend of it that is there leads round in circles. `is_here` says if an address is this machine's.
    pub fn doors_to(
        &self,
        pool: PoolIndex,
        port: u16,
        is_here: &dyn Fn(&IpAddr) -> bool,
    ) -> Vec<(IpAddr, Arc<str>)> {
        let at_port = |listener: &Listener| {
            let bound = listener.binds.iter().filter_map(|bind| bind.address.ip());
            bound.filter(|at| at.port() == port).map(|at| at.ip()).collect::<Vec<_>>()
        };
        // Hardly any backend has the port of a listener: only then it is looked where that leads to.
        let bound = self.listeners.iter().enumerate().map(|(index, listener)| (index, at_port(listener)));
        let bound: Vec<_> = bound.filter(|(_, bound)| !bound.is_empty()).collect();
        if bound.is_empty() {
            return Vec::new();
        }
        let used: Vec<_> = self.listeners.iter().map(|listener| pools_of(listener)).collect();
        let doors = Doors::of(&self.listeners);
        let next = |pool: PoolIndex| {
            let backends = self.pools[pool].backends.iter();
            backends.flat_map(|backend| doors.behind(&backend.endpoint, is_here)).collect()
        };
        let leading = bound.into_iter().filter(|(listener, _)| reaches(*listener, pool, &used, &next));
        let named = leading.flat_map(|(listener, bound)| {
            bound.into_iter().map(move |at| (at, self.listeners[listener].name.clone()))
        });
        named.collect()
    }
}

/// True if a connection to this address comes to what is bound at that one; `is_here` says if an address is this machine's. An
/// IPv4 address that is written as one of IPv6 is the same address.
pub fn is_at(bound: IpAddr, to: IpAddr, is_here: impl Fn(&IpAddr) -> bool) -> bool {
    let (bound, to) = (bound.to_canonical(), to.to_canonical());
    bound == to || bound.is_unspecified() && bound.is_ipv4() == to.is_ipv4() && is_here(&to)
}

/// True if what arrives at the listener can come to the pool. `used` are the pools of each listener, and `next` says which
/// listeners a pool leads to.
fn reaches(
    listener: usize,
    pool: PoolIndex,
    used: &[BTreeSet<PoolIndex>],
    next: &dyn Fn(PoolIndex) -> Vec<usize>,
) -> bool {
    let mut seen = BTreeSet::from([listener]);
    let mut open = vec![listener];
    while let Some(listener) = open.pop() {
        if used[listener].contains(&pool) {
            return true;
        }
        let next = used[listener].iter().flat_map(|pool| next(*pool));
        open.extend(next.filter(|listener| seen.insert(*listener)));
    }
    false
}

/// Every pool that a listener's routes name.
pub(super) fn pools_of(listener: &Listener) -> BTreeSet<PoolIndex> {
    let mut pools = BTreeSet::new();
    for route in listener.routes.routes() {
        match &route.action {
            Action::Pool(pool) => _ = pools.insert(*pool),
            Action::Split(split) => pools.extend(split.arms.iter().map(|(pool, _)| *pool)),
            Action::Redirect(_) | Action::Respond(_) => {}
        }
    }
    pools
}

/// Listeners by what they are bound to, for whoever asks about very many backends.
struct Doors<'l> {
    by_port: BTreeMap<u16, Vec<(usize, &'l Address)>>,
    by_path: BTreeMap<&'l Path, Vec<usize>>,
}

impl<'l> Doors<'l> {
    fn of(listeners: &'l [Arc<Listener>]) -> Self {
        let mut doors = Self { by_port: BTreeMap::new(), by_path: BTreeMap::new() };
        for (index, listener) in listeners.iter().enumerate() {
            for bind in &listener.binds {
                match &bind.address {
                    Address::Ip(at) => {
                        doors.by_port.entry(at.port()).or_default().push((index, &bind.address));
                    }
                    Address::Unix(path) => doors.by_path.entry(path).or_default().push(index),
                }
            }
        }
        doors
    }

    /// The listeners that a backend's address belongs to. `is_here` says if an address is this machine's.
    fn behind(&self, endpoint: &Endpoint, is_here: &dyn Fn(&IpAddr) -> bool) -> Vec<usize> {
        let to: SocketAddr = match endpoint {
            Endpoint::Address(address) => *address,
            Endpoint::Name(host, port) if &**host == "localhost" => (Ipv4Addr::LOCALHOST, *port).into(),
            Endpoint::Name(..) => return Vec::new(),
            Endpoint::Unix(path) => return self.by_path.get(&**path).cloned().unwrap_or_default(),
        };
        let leads_here = |at: &Address| at.ip().is_some_and(|at| is_at(at.ip(), to.ip(), is_here));
        let Some(bound) = self.by_port.get(&to.port()) else { return Vec::new() };
        let first = bound.iter().find(|(_, at)| leads_here(at));
        let met = bound.iter().filter(|(_, at)| first.is_some_and(|(_, first)| at == first));
        met.map(|(index, _)| *index).collect()
    }
}
