//! The addresses that a snapshot wants bound, and what makes a bound address the same one in the next snapshot.

use std::{fmt, sync::Arc};

use super::Snapshot;
use crate::listener::{Address, Bind};

/// What makes a bound address the same over reloads: the address, whichever listener it belongs to. Port 0 asks the
/// system for any port, so that nothing but its place in its listener tells one such bind from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindKey {
    address: Address,
    any_port: Option<(Arc<str>, usize)>,
}

impl BindKey {
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

/// One address to bind, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Place<'s> {
    /// The address.
    pub bind: &'s Bind,
    /// The index of its listener in [`Snapshot::listeners`].
    pub listener: usize,
}

impl Snapshot {
    /// Every address to bind, with the listener that it belongs to. No key comes twice: compiling has seen to that.
    pub fn binds(&self) -> impl Iterator<Item = (BindKey, Place<'_>)> {
        self.listeners.iter().enumerate().flat_map(|(index, listener)| {
            listener.binds.iter().enumerate().map(move |(nth, bind)| {
                let any_port = bind.address.ip().is_some_and(|address| address.port() == 0);
                let any_port = any_port.then(|| (listener.name.clone(), nth));
                (BindKey { address: bind.address.clone(), any_port }, Place { bind, listener: index })
            })
        })
    }
}
