//! What is in flight in a pool that its counts do not know of, since it began before a reload set what asks for them: nothing
//! is counted in vain.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use weir_model::{
    pool::Pool,
    status::{BackendStatus, HEARD},
    time::Moment,
};

use super::PoolState;
use crate::{clock, error::ProxyError, upstream::Permit};

/// Where something may be in flight that is not counted.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    since: Moment,
    at: Vec<Arc<BackendStatus>>,
}

/// How many are in flight that are not counted.
#[derive(Default)]
pub(super) struct Uncounted {
    pub(super) connections: u32,
    requests: u32,
}

impl PoolState {
    /// Admits one request, or says that `limits.requests` are in flight. Without a limit nothing is counted.
    pub(crate) fn admit(&self) -> Result<Option<Permit>, ProxyError> {
        match self.pool.limits.requests {
            u32::MAX => Ok(None),
            limit => Permit::request(&self.pool, limit.saturating_sub(self.uncounted().requests)).map(Some),
        }
    }

    /// Takes notice of what may be in flight in the pool as it was, which may have had no limits.
    pub(super) fn count_what_is_there(&self, before: &Self) {
        let earlier = before.earlier.borrow();
        let was = earlier.at.iter().chain(before.pool.backends.iter().map(|backend| &backend.status));
        let was = was.filter(|status| status.active.load(Ordering::Relaxed) > 0);
        // Workers that have not heard of the limit go on without counting for a moment.
        let may = [&before.pool, &self.pool].into_iter().flat_map(|pool| &pool.backends);
        let may = may.map(|backend| &backend.status).filter(|_| is_counted(&self.pool));
        let each: HashMap<_, _> =
            was.chain(may).map(|status| (Arc::as_ptr(status), status.clone())).collect();
        *self.earlier.borrow_mut() = Earlier { since: clock::now(), at: each.into_values().collect() };
        self.keep_count();
    }

    /// Takes notice of what has ended of it, for balancing by `bounded_load`, which looks at the sum only.
    pub(super) fn keep_count(&self) {
        if self.pool.balance.bounded_load.is_some() {
            self.uncounted();
        }
    }

    /// How many are in flight that the limits do not count.
    #[inline]
    pub(super) fn uncounted(&self) -> Uncounted {
        if self.earlier.borrow().at.is_empty() { Uncounted::default() } else { self.count_uncounted() }
    }

    /// Whatever is counted is at some backend or waits for one: what is beyond that is not counted. It comes to its end, since
    /// workers count as soon as they have heard of the limit.
    #[cold]
    fn count_uncounted(&self) -> Uncounted {
        let (limits, status) = (&self.pool.limits, &self.pool.status);
        let mut earlier = self.earlier.borrow_mut();
        // In this order: what ends in between is not refused anything that it would not have been a moment ago.
        let active: u32 = earlier.at.iter().map(|status| status.active.load(Ordering::Relaxed)).sum();
        let requests = active + status.pending.load(Ordering::Relaxed);
        let requests = requests.saturating_sub(status.carried.load(Ordering::Relaxed));
        let beyond = |there: u32, limit: u32, counted: u32| match limit {
            u32::MAX => 0,
            _ => there.saturating_sub(counted),
        };
        let uncounted = Uncounted {
            connections: beyond(active, limits.connections, status.connections.load(Ordering::Relaxed)),
            requests: beyond(requests, limits.requests, status.requests.load(Ordering::Relaxed)),
        };
        let beside = match self.pool.balance.bounded_load {
            None => 0,
            Some(_) => active.saturating_sub(status.in_flight.load(Ordering::Relaxed)),
        };
        status.beside.store(beside, Ordering::Relaxed);
        let over = uncounted.connections + uncounted.requests + beside == 0;
        if over && clock::now().since(earlier.since) >= HEARD {
            *earlier = Earlier::default();
        }
        uncounted
    }
}

/// True if anything is counted.
fn is_counted(pool: &Pool) -> bool {
    let limits = &pool.limits;
    limits.connections != u32::MAX || limits.requests != u32::MAX || pool.balance.bounded_load.is_some()
}
