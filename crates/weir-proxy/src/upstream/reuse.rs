//! Connections to backends that wait for their next request: a stack per backend and worker, the warmest on top.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use weir_model::pool::Pool;

use super::Upstream;
use crate::{clock, conn::Mark};

/// What one worker keeps for one pool.
#[derive(Debug)]
pub(crate) struct Idle {
    /// Most that is kept per backend.
    most: Cell<usize>,
    by_backend: RefCell<Vec<Vec<Upstream>>>,
}

impl Idle {
    pub(crate) fn new(pool: &Pool, workers: usize) -> Self {
        // `max_idle` is meant over all workers; a worker may always keep one unless none is wanted.
        let most = match pool.keepalive.max_idle {
            0 => 0,
            all => (all / workers.max(1)).max(1),
        };
        let by_backend = pool.backends.iter().map(|_| Vec::new()).collect();
        Self { most: Cell::new(most), by_backend: RefCell::new(by_backend) }
    }

    /// Takes over what was kept for backends that are still there: `places` says where each of them stands now.
    pub(crate) fn inherit(&self, before: &Self, places: &[Option<usize>]) {
        let mut kept = before.by_backend.borrow_mut();
        let mut by_backend = self.by_backend.borrow_mut();
        for (old, place) in kept.iter_mut().zip(places) {
            if let Some(place) = *place {
                by_backend[place] = std::mem::take(old);
                by_backend[place].truncate(self.most.get());
            }
        }
    }

    /// Closes what is kept, and keeps nothing from now on.
    pub(crate) fn retire(&self) {
        self.most.set(0);
        let mut by_backend = self.by_backend.borrow_mut();
        by_backend.iter_mut().flat_map(|kept| kept.drain(..)).for_each(|upstream| upstream.part());
    }

    /// A connection to this backend that can be used, if one is kept. `certain` asks the kernel whether it is still
    /// open, for requests that could not be sent again.
    pub(crate) fn take(&self, pool: &Pool, backend: usize, certain: bool) -> Option<Upstream> {
        let mut by_backend = self.by_backend.borrow_mut();
        let kept = &mut by_backend[backend];
        while let Some(upstream) = kept.pop() {
            if is_usable(pool, &upstream) && upstream.stream.is_silent(certain) {
                return Some(upstream);
            }
            upstream.part();
        }
        None
    }

    /// The same where backends were told whose connections are: only one of this client connection will do.
    #[cold]
    pub(crate) fn take_own(
        &self,
        pool: &Pool,
        backend: usize,
        certain: bool,
        owner: &Rc<Mark>,
    ) -> Option<Upstream> {
        let mut by_backend = self.by_backend.borrow_mut();
        let kept = &mut by_backend[backend];
        while let Some(place) = kept.iter().rposition(|upstream| upstream.belongs_to(owner)) {
            let upstream = kept.remove(place);
            if is_usable(pool, &upstream) && upstream.stream.is_silent(certain) {
                return Some(upstream);
            }
            upstream.part();
        }
        None
    }

    /// Keeps a connection for its next request.
    pub(crate) fn give(&self, pool: &Pool, backend: usize, mut upstream: Upstream) {
        upstream.idle_since = clock::now();
        let mut by_backend = self.by_backend.borrow_mut();
        let kept = &mut by_backend[backend];
        if kept.len() < self.most.get() && is_usable(pool, &upstream) {
            kept.push(upstream);
        }
    }

    /// Closes what has waited too long or was closed by the backend.
    pub(crate) fn sweep(&self, pool: &Pool) {
        for (kept, backend) in self.by_backend.borrow_mut().iter_mut().zip(&pool.backends) {
            let stays = backend.is_eligible();
            kept.retain(|upstream| {
                let stays = stays
                    && is_usable(pool, upstream)
                    && !upstream.is_orphaned()
                    && upstream.stream.is_silent(false);
                if !stays {
                    upstream.part();
                }
                stays
            });
        }
    }
}

fn is_usable(pool: &Pool, upstream: &Upstream) -> bool {
    let (now, keepalive) = (clock::now(), &pool.keepalive);
    now.since(upstream.idle_since) < keepalive.idle
        && now.since(upstream.opened) < keepalive.max_age
        && upstream.requests < keepalive.max_requests
}
