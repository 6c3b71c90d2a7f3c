//! Sticky sessions: a client that is bound to a backend by weir's cookie goes there, and one that is not is bound to the
//! backend that answers it.

use std::rc::Rc;

use weir_model::pool::Bond;

use super::exchange::Exchange;
use crate::{choose::PoolState, clock};

impl Exchange<'_> {
    /// What the client is bound to, as long as it counts: not any more once its backend has failed.
    pub(super) fn bound(&self, pool: &PoolState, tried: &[usize]) -> Option<Bond> {
        self.bond.filter(|_| tried.is_empty() && pool.pool.sticky.is_some())
    }

    /// The backend that the client is bound to, or another one.
    #[inline(never)]
    pub(super) fn keep_to(&self, pool: &Rc<PoolState>, tried: &[usize]) -> Option<usize> {
        let bound = self.bound(pool, tried).and_then(|bond| pool.pool.bound(bond, clock::now()));
        bound.or_else(|| pool.choose(&self.conn.worker, self.hash, tried))
    }

    /// Decides if the answer of this backend binds the client to it: unless it is bound to it already, or to another one that
    /// had no room just now.
    #[inline(never)]
    pub(super) fn bind(&mut self, pool: &PoolState, backend: usize) {
        let bound = self.bond.and_then(|bond| pool.pool.bound(bond, clock::now()));
        self.binds = match bound {
            Some(bound) if bound == backend => false,
            Some(bound) => !pool.pool.backends[bound].is_full(),
            None => true,
        };
    }

    /// Writes the field that binds the client.
    #[inline(never)]
    pub(super) fn write_bond(&self, out: &mut Vec<u8>) {
        if let (Some(pool), Some(backend)) = (&self.pool, self.backend)
            && let Some(sticky) = &pool.pool.sticky
        {
            out.extend_from_slice(sticky.field(backend).as_bytes());
        }
    }
}
