//! Addresses that meet: two listeners on one address, and backends that are weir itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use super::address;
use crate::{
    draft::{ListenerDraft, PoolDraft, ProcessDraft, Text},
    listener::{Address, Listener},
    pool::{Endpoint, Pool, PoolIndex},
    problem::{Problem, Span},
    route::Action,
};

/// Refuses a second use of one address.
pub(super) fn binds(
    listeners: &BTreeMap<&str, &ListenerDraft>,
    process: &ProcessDraft,
    problems: &mut Vec<Problem>,
) {
    let mut taken: BTreeMap<Address, (String, Span)> = BTreeMap::new();
    let listeners = listeners.values().flat_map(|listener| {
        listener.binds.iter().map(|text| (format!("the listener `{}`", listener.name.value), text))
    });
    let admin = process.admin.iter().map(|text| ("`admin`".to_owned(), text));
    for (owner, text) in listeners.chain(admin) {
        let addresses: Vec<_> = address::binds(text).into_iter().flatten().map(|bind| bind.address).collect();
        let met = addresses.iter().find_map(|address| taken.get(address));
        if let Some((first, span)) = met {
            let cause = format!("`{}` of {owner} is already bound by {first}", text.value);
            let problem = Problem::error(text.span, cause, "give each its own address or port");
            problems.push(problem.with_related(*span, "it is bound here"));
            continue;
        }
        // Port 0 asks the system for any free port, so that two of them never meet.
        let fixed =
            addresses.into_iter().filter(|address| address.ip().is_none_or(|address| address.port() != 0));
        taken.extend(fixed.map(|address| (address, (owner.clone(), text.span))));
    }
}

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
    // Which listeners each pool leads to, with the address that does.
    let leads: Vec<Vec<(usize, &Text)>> = pool_drafts
        .values()
        .map(|pool| {
            let addresses = pool.backends.iter().map(|backend| &backend.address);
            let lead = |text| Some((doors.behind(&address::endpoint(text).ok()?)?, text));
            addresses.filter_map(lead).collect()
        })
        .collect();
    for (pool, leads_to) in leads.iter().enumerate() {
        for (listener, text) in leads_to {
            let name = &listeners[*listener].name;
            let bind = listener_drafts.get(&**name).and_then(|draft| draft.binds.first());
            let problem = if reaches(*listener, pool, &used, &leads) {
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
        let listener = &self.listeners[self.doors.behind(endpoint)?];
        let cause = format!(
            "`{endpoint}` is weir's own listener `{}`, which leads to the pool `{pool}` again",
            listener.name
        );
        pools_of(listener).contains(&index).then(|| Problem::error(Span::default(), cause, ""))
    }
}

/// True if what arrives at the listener can come to the pool.
fn reaches(
    listener: usize,
    pool: PoolIndex,
    used: &[BTreeSet<PoolIndex>],
    leads: &[Vec<(usize, &Text)>],
) -> bool {
    let mut seen = BTreeSet::from([listener]);
    let mut open = vec![listener];
    while let Some(listener) = open.pop() {
        if used[listener].contains(&pool) {
            return true;
        }
        let next = used[listener].iter().flat_map(|pool| &leads[*pool]).map(|(listener, _)| *listener);
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
    by_path: BTreeMap<&'l Path, usize>,
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
                    Address::Unix(path) => _ = doors.by_path.entry(path).or_insert(index),
                }
            }
        }
        doors
    }

    /// The listener that a backend's address belongs to. Which addresses this machine has besides loopback is not known
    /// here; those are found at run time.
    fn behind(&self, endpoint: &Endpoint) -> Option<usize> {
        let to: SocketAddr = match endpoint {
            Endpoint::Address(address) => *address,
            Endpoint::Name(host, port) if &**host == "localhost" => (Ipv4Addr::LOCALHOST, *port).into(),
            Endpoint::Name(..) => return None,
            Endpoint::Unix(path) => return self.by_path.get(&**path).copied(),
        };
        let leads_here = |at: &Address| {
            at.ip().is_some_and(|at| {
                let everywhere =
                    at.ip().is_unspecified() && to.ip().is_loopback() && at.is_ipv4() == to.is_ipv4();
                at.ip() == to.ip() || everywhere
            })
        };
        self.by_port.get(&to.port())?.iter().find(|(_, at)| leads_here(at)).map(|(index, _)| *index)
    }
}
