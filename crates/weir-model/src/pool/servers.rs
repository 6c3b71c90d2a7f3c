//! Which backend owns a QUIC connection, for pools that are balanced by `quic_cid`.

use std::sync::Arc;

use super::{Backend, Pool};
use crate::{
    balance::{Flow, Key, KeyHash},
    quic::{self, ServerId},
    time::Moment,
};

/// The backends of a pool by server id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers {
    /// Octets of each id.
    length: usize,
    /// Sorted.
    owners: Box<[(ServerId, usize)]>,
}

impl Servers {
    /// The backends that have a server id of this length.
    pub fn new(length: usize, backends: &[Backend]) -> Arc<Self> {
        let owners =
            backends.iter().enumerate().filter_map(|(index, backend)| Some((backend.server_id?, index)));
        let mut owners: Box<[_]> = owners.filter(|(id, _)| id.octets().len() == length).collect();
        owners.sort_unstable();
        Arc::new(Self { length, owners })
    }

    /// The backend whose id a datagram carries.
    pub fn owner(&self, datagram: &[u8]) -> Option<usize> {
        let id = ServerId::new(quic::server_id(datagram, self.length)?)?;
        let place = self.owners.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.owners.get(place).map(|(_, index)| *index)
    }
}

/// Where a datagram belongs that starts a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// To this backend, by its index: the connection is there already.
    Backend(usize),
    /// Wherever this key is placed.
    Key(KeyHash),
}

impl Pool {
    /// Where a datagram belongs, in a pool that places by this key. The backend whose server id it carries keeps it as long
    /// as it is healthy and may finish what it has, whatever its weight and tier; everything else is placed by the key.
    pub fn owner_of(&self, key: &Key, datagram: &[u8], flow: Flow, now: Moment) -> Owner {
        let owner = self.servers.as_ref().and_then(|servers| servers.owner(datagram));
        match owner.filter(|index| self.backends.get(*index).is_some_and(|backend| backend.keeps(now))) {
            Some(index) => Owner::Backend(index),
            None => Owner::Key(key.of_datagram(flow)),
        }
    }
}

#[cfg(test)]
mod tests;
