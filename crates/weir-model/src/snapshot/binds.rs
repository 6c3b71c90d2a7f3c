//! The addresses that a snapshot wants bound, and what makes a bound address the same one in the next snapshot.

use std::{collections::HashMap, fmt, sync::Arc};

use super::Snapshot;
use crate::listener::{Address, Bind, Listener};

/// What makes a bound address the same over reloads: the address, whichever listener it belongs to. Port 0 asks the
/// system for any port, so that nothing but its place in its listener tells one such bind from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindKey {
    address: Address,
    any_port: Option<(Arc<str>, usize)>,
}

impl BindKey {
    /// That of one of the addresses of a listener.
    ///
    /// # Panics
    /// If it has not so many.
    pub fn of(listener: &Listener, nth: usize) -> Self {
        let address = listener.binds[nth].address.clone();
        let any_port = address.ip().is_some_and(|address| address.port() == 0);
        Self { address, any_port: any_port.then(|| (listener.name.clone(), nth)) }
    }

    /// The address as the file says it.
    pub const fn address(&self) -> &Address {
        &self.address
    }
}

impl BindKey {
    /// The key as a text that another process makes of the same bind too.
    pub fn label(&self) -> String {
        match &self.any_port {
            Some((listener, nth)) => format!("{} of {listener}, {nth}", self.address),
            None => self.address.to_string(),
        }
    }
}

impl fmt::Display for BindKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// One address to bind, and who is served there.
#[derive(Clone, Debug)]
pub struct Place<'s> {
    /// The address.
    pub bind: &'s Bind,
    /// The indices of its listeners in [`Snapshot::listeners`], at least one. The first is the one that takes whatever no other
    /// takes, or else the first by name: whatever cannot be told apart is put down to it.
    pub listeners: Vec<usize>,
}

impl Place<'_> {
    /// The first of its listeners.
    pub fn first<'l>(&self, snapshot: &'l Snapshot) -> &'l Listener {
        &snapshot.listeners[self.listeners[0]]
    }
}

impl Snapshot {
    /// Every address to bind, with the listeners that it belongs to, in the order of the file. No key comes twice.
    pub fn binds(&self) -> Vec<(BindKey, Place<'_>)> {
        let mut places: Vec<(BindKey, Place<'_>)> = Vec::new();
        let mut known = HashMap::new();
        for (index, listener) in self.listeners.iter().enumerate() {
            for (nth, bind) in listener.binds.iter().enumerate() {
                let key = BindKey::of(listener, nth);
                let place = *known.entry(key.clone()).or_insert(places.len());
                match places.get_mut(place) {
                    None => places.push((key, Place { bind, listeners: vec![index] })),
                    Some((_, place)) if listener.sni.is_empty() => place.listeners.insert(0, index),
                    Some((_, place)) => place.listeners.push(index),
                }
            }
        }
        places
    }
}

/// Which listener of an address each one from before goes on as, by their places: the one of its name, or else one that takes
/// the very same names. Connections of one that goes on as nobody have to end.
pub fn successors(before: &[&Listener], after: &[&Listener]) -> Vec<Option<usize>> {
    let mut taken = vec![false; after.len()];
    let mut take = |same: &dyn Fn(&Listener) -> bool| {
        let found = (0..after.len()).find(|place| !taken[*place] && same(after[*place]));
        found.inspect(|place| taken[*place] = true)
    };
    let mut found: Vec<_> = before.iter().map(|old| take(&|new| new.name == old.name)).collect();
    for (old, found) in before.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
        *found = take(&|new| new.sni == old.sni);
    }
    found
}
