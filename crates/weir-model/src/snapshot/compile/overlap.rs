//! Backends that are weir itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use super::address;
use crate::{
    draft::{ListenerDraft, PoolDraft, Text},
    listener::{Address, Listener},
    pool::{Endpoint, Pool, PoolIndex},
    problem::{Problem, Span},
    route::Action,
    snapshot::Snapshot,
};

/// Refuses backends that lead back to the listener that uses them, and warns about others that are weir itself.
pub(super) fn hairpins(
    listener_drafts: &BTreeMap<&str, &ListenerDraft>,
    listeners: &[Arc<Listener>],
    pool_drafts: &BTreeMap<&str, &PoolDraft>,
    pools: &[Arc<Pool>],
    problems: &mut Vec<Problem>,
) {
    let used: Vec<BTreeSet<PoolIndex>> = listeners.iter().map(|listener| pools_of(listener)).collect();
    let doors = Doors::of(listeners);
    // Which listeners each pool leads to, with the address that does. Those that share an address are all meant: which of them
    // it comes to, the name in each connection says.
    let leads: Vec<Vec<(Vec<usize>, &Text)>> = pool_drafts
        .values()
        .map(|pool| {
            let addresses = pool.backends.iter().map(|backend| &backend.address);
            let lead = |text| Some((doors.behind(&address::endpoint(text).ok()?), text));
            addresses.filter_map(lead).filter(|(listeners, _)| !listeners.is_empty()).collect()
        })
        .collect();
    for (pool, leads_to) in leads.iter().enumerate() {
        for (behind, text) in leads_to {
            let back = behind.iter().find(|listener| reaches(**listener, pool, &used, &leads));
            let name = &listeners[*back.unwrap_or(&behind[0])].name;
            let bind = listener_drafts.get(&**name).and_then(|draft| draft.binds.first());
            let problem = if back.is_some() {
                let cause = format!(
                    "`{}` is weir's own listener `{name}`, which leads to the pool `{}` again: a request would go \
                     round in circles",
                    text.value, pools[pool].name
                );
                Problem::error(text.span, cause, "write the address of the backend that is meant")
            } else {
                let cause =
                    format!("`{}` is weir's own listener `{name}`: each request passes twice", text.value);
                Problem::warning(text.span, cause, "send to the pool of that listener directly")
            };
            let related = bind.map(|bind| (bind.span, "the listener is bound here".to_owned()));
            problems.push(Problem { related, ..problem });
        }
    }
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
        let behind = self.doors.behind(endpoint);
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
    /// Where the listeners are bound at this port that lead to this pool, and their names: a backend of it that is there leads
    /// round in circles.
    pub fn doors_to(&self, pool: PoolIndex, port: u16) -> Vec<(IpAddr, Arc<str>)> {
        let at_port = |listener: &Listener| {
            let bound = listener.binds.iter().filter_map(|bind| bind.address.ip());
            bound.filter(|at| at.port() == port).map(|at| at.ip()).collect::<Vec<_>>()
        };
        // Hardly any backend has the port of a listener: only then it is looked where that leads to.
        let bound = self.listeners.iter().map(|listener| (listener, at_port(listener)));
        let leading =
            bound.filter(|(listener, bound)| !bound.is_empty() && pools_of(listener).contains(&pool));
        let doors =
            leading.flat_map(|(listener, bound)| bound.into_iter().map(|at| (at, listener.name.clone())));
        doors.collect()
    }
}

/// True if a connection to this address comes to what is bound at that one; `is_here` says if an address is this machine's. An
/// IPv4 address that is written as one of IPv6 is the same address.
pub fn is_at(bound: IpAddr, to: IpAddr, is_here: impl Fn(&IpAddr) -> bool) -> bool {
    let (bound, to) = (bound.to_canonical(), to.to_canonical());
    bound == to || bound.is_unspecified() && bound.is_ipv4() == to.is_ipv4() && is_here(&to)
}

/// True if what arrives at the listener can come to the pool.
fn reaches(
    listener: usize,
    pool: PoolIndex,
    used: &[BTreeSet<PoolIndex>],
    leads: &[Vec<(Vec<usize>, &Text)>],
) -> bool {
    let mut seen = BTreeSet::from([listener]);
    let mut open = vec![listener];
    while let Some(listener) = open.pop() {
        if used[listener].contains(&pool) {
            return true;
        }
        let next =
            used[listener].iter().flat_map(|pool| &leads[*pool]).flat_map(|(behind, _)| behind.clone());
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

    /// The listeners that a backend's address belongs to. Which addresses this machine has besides loopback is not known
    /// here; those are found at run time.
    fn behind(&self, endpoint: &Endpoint) -> Vec<usize> {
        let to: SocketAddr = match endpoint {
            Endpoint::Address(address) => *address,
            Endpoint::Name(host, port) if &**host == "localhost" => (Ipv4Addr::LOCALHOST, *port).into(),
            Endpoint::Name(..) => return Vec::new(),
            Endpoint::Unix(path) => return self.by_path.get(&**path).cloned().unwrap_or_default(),
        };
        let leads_here =
            |at: &Address| at.ip().is_some_and(|at| is_at(at.ip(), to.ip(), IpAddr::is_loopback));
        let Some(bound) = self.by_port.get(&to.port()) else { return Vec::new() };
        let first = bound.iter().find(|(_, at)| leads_here(at));
        let met = bound.iter().filter(|(_, at)| first.is_some_and(|(_, first)| at == first));
        met.map(|(index, _)| *index).collect()
    }
}
