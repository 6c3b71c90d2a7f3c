//! A backend that has to be waited for: because those that there are have `max_connections` or the pool has
//! `limits.connections`, or because no check has decided yet, or because nothing has come of the first question for its
//! backends.

use std::{borrow::Cow, rc::Rc, sync::atomic::Ordering, task::Context};

use weir_model::{
    balance::Tier,
    pool::{Backend, Bond},
    time::Moment,
};

use super::{PoolState, places};
use crate::{
    clock,
    conn::Conn,
    duplex::Duplex,
    error::{Cause, ProxyError},
    timer::Timer,
    upstream::{Hold, Tried, Wait, add_below},
    worker::Worker,
};

/// What a backend is looked for.
#[derive(Clone, Copy)]
pub(crate) struct Search<'s> {
    pub(crate) conn: &'s Conn,
    pub(crate) timer: &'s Timer,
    /// Who waits meanwhile.
    pub(crate) client: Duplex<'s>,
    /// Of the key, if the pool has one.
    pub(crate) hash: u64,
    /// What the client is bound to.
    pub(crate) bound: Option<Bond>,
    /// Backends that were tried before.
    pub(crate) tried: &'s [usize],
    /// The one of those that may be tried again if there is no other.
    pub(crate) again: Option<usize>,
    /// How long it may be looked for at most.
    pub(crate) until: Moment,
}

/// A backend, and what is held of it.
pub(crate) struct Found {
    /// The pool as it is now, if a reload has changed it while it was waited for.
    pub(crate) moved: Option<Rc<PoolState>>,
    pub(crate) backend: usize,
    /// It is among the backend's requests in flight already.
    pub(crate) counted: bool,
    pub(crate) hold: Option<Hold>,
}

impl PoolState {
    /// A backend for somebody who was not given one at once: waits for it in the pool's queue.
    ///
    /// # Errors
    /// If there is none and none is to be expected, if the queue is full, or when the time is over.
    #[cold]
    pub(crate) async fn find(self: &Rc<Self>, search: Search<'_>) -> Result<Found, ProxyError> {
        let look = || loop {
            let (state, tried) =
                self.at_latest(&search, |state, search| (state.clone(), state.enter(search)));
            match tried {
                Tried::Found(found) if !Rc::ptr_eq(&state, self) => {
                    return Tried::Found(Found { moved: Some(state), ..found });
                }
                Tried::Over(error) => {
                    // Perhaps a reload has just taken its backends: what took their place is published by then.
                    search.conn.worker.keep_up();
                    if Rc::ptr_eq(&state, &self.latest()) {
                        return Tried::Over(error);
                    }
                }
                tried => return tried,
            }
        };
        if !self.gate.is_awaited(&self.pool.status) {
            match look() {
                Tried::Found(found) => return Ok(found),
                Tried::Over(error) => return Err(error),
                Tried::Wait => {}
            }
        }
        let wait = Wait { timer: search.timer, until: search.until, picky: !search.tried.is_empty() };
        let over = |cx: &mut Context<'_>| search.conn.poll_over(search.client, cx);
        let found = self.gate.wait(&self.pool, &wait, look, over).await;
        found.map_err(|error| {
            let late = error.cause == Cause::PoolQueueTimeout;
            // What was waited for was not a slot but a backend that could have one.
            let nobody = || {
                self.at_latest(&search, |state, search| (!state.has_anybody(search)).then(|| state.nobody()))
            };
            if late { nobody().unwrap_or(error) } else { error }
        })
    }

    /// Looks with the state as it is by now: everybody goes by the configuration of the day, and who was somewhere before does not go
    /// there again if that has stayed.
    fn at_latest<R>(
        self: &Rc<Self>,
        search: &Search<'_>,
        look: impl FnOnce(&Rc<Self>, &Search<'_>) -> R,
    ) -> R {
        let latest = self.latest();
        if Rc::ptr_eq(&latest, self) {
            return look(self, search);
        }
        let tried = self.moved(&latest, search.tried);
        let again = search.again.and_then(|again| self.places_in(&latest)[again]);
        look(&latest, &Search { tried: &tried, again, ..*search })
    }

    /// Where those stand by now that were tried, as far as they have stayed.
    fn moved<'t>(&self, latest: &Self, tried: &'t [usize]) -> Cow<'t, [usize]> {
        if tried.is_empty() || std::ptr::eq(self, latest) {
            return tried.into();
        }
        let places = self.places_in(latest);
        tried.iter().filter_map(|backend| places[*backend]).collect()
    }

    /// Where each backend stands in the pool as it is by then.
    pub(crate) fn places_in(&self, latest: &Self) -> Vec<Option<usize>> {
        places(&self.pool, &latest.pool)
    }

    /// The state that has taken this one's place, if a reload has changed the pool; else this one. A pool that is gone, perhaps
    /// for one of another name, has none: who was given it goes on with it as it was.
    fn latest(self: &Rc<Self>) -> Rc<Self> {
        let mut latest = self.clone();
        loop {
            let next = latest.successor.borrow().clone();
            match next {
                Some(next) => latest = next,
                None => return latest,
            }
        }
    }

    /// Takes what there is, without waiting.
    fn enter(self: &Rc<Self>, search: &Search<'_>) -> Tried<Found> {
        let found = |backend, counted, hold| Tried::Found(Found { moved: None, backend, counted, hold });
        let bound = search.bound.and_then(|bond| self.pool.bound(bond, clock::now()));
        if !self.queued {
            let choose = || self.choose(&search.conn.worker, search.hash, search.tried);
            return match bound.or_else(choose).or(search.again) {
                Some(backend) => found(backend, false, None),
                None => self.nobody_now(search),
            };
        }
        let (status, limit) = (&self.pool.status, self.pool.limits.connections);
        let limited = limit != u32::MAX;
        let limit = if limited { limit.saturating_sub(self.uncounted().connections) } else { limit };
        if limited && status.connections.load(Ordering::Relaxed) >= limit {
            // Nobody is chosen in vain, and who will never get one is told so.
            return if self.has_anybody(search) { Tried::Wait } else { self.nobody_now(search) };
        }
        let place = bound.and_then(|bound| self.sit_at(bound)).or_else(|| self.occupy(search));
        let Some((backend, counted)) = place else {
            return if self.has_anybody(search) { Tried::Wait } else { self.nobody_now(search) };
        };
        if limited && !add_below(&status.connections, limit) {
            if counted {
                self.vacate(backend);
            }
            return Tried::Wait;
        }
        found(backend, counted, Some(self.gate.hold(status, limited)))
    }

    /// A backend with room; if it has a limit, its slot is taken.
    fn occupy(&self, search: &Search<'_>) -> Option<(usize, bool)> {
        /// Others may be faster a few times; then it waits.
        const RACES: usize = 4;
        for _ in 0..RACES {
            let choice = self.choose(&search.conn.worker, search.hash, search.tried);
            let backend = choice.or(search.again)?;
            if let Some(place) = self.sit_at(backend) {
                return Some(place);
            }
            // The only one there is.
            choice?;
        }
        None
    }

    /// This backend if it has room; if it has a limit, its slot is taken.
    fn sit_at(&self, backend: usize) -> Option<(usize, bool)> {
        let Backend { max_connections, status, .. } = &self.pool.backends[backend];
        match *max_connections {
            u32::MAX => Some((backend, false)),
            limit => add_below(&status.active, limit).then_some((backend, true)),
        }
    }

    /// Gives back what [`PoolState::occupy`] took.
    fn vacate(&self, backend: usize) {
        self.pool.backends[backend].status.release();
    }

    /// True if there is a backend that it could get later.
    fn has_anybody(&self, search: &Search<'_>) -> bool {
        let chooser = &mut *self.chooser.borrow_mut();
        self.refresh(chooser);
        let fresh = || chooser.set.members().iter().any(|member| !search.tried.contains(&member.backend));
        search.again.is_some() || fresh()
    }

    /// There is nobody to be chosen: that is final, unless the first checks or the first question for backends are still
    /// under way.
    fn nobody_now(&self, search: &Search<'_>) -> Tried<Found> {
        if self.pool.backends.is_empty() && self.pool.discover.is_some() {
            let decided = self.pool.status.discovery.is_decided();
            // In this order: what was found is published before it counts as decided.
            search.conn.worker.keep_up();
            if !decided || self.successor.borrow().is_some() {
                return Tried::Wait;
            }
        }
        let undecided = {
            let chooser = self.chooser.borrow();
            let standing = chooser.set.standing();
            standing.tier == Tier::Nobody && standing.primaries.unknown + standing.backups.unknown > 0
        };
        if undecided && search.tried.is_empty() { Tried::Wait } else { Tried::Over(self.nobody()) }
    }

    /// True if another backend than these could take a request just now.
    pub(crate) fn has_another(self: &Rc<Self>, worker: &Worker, tried: &[usize], backend: usize) -> bool {
        worker.keep_up();
        let latest = self.latest();
        let tried: Vec<_> = tried.iter().copied().chain([backend]).collect();
        let tried = self.moved(&latest, &tried);
        let chooser = &mut *latest.chooser.borrow_mut();
        latest.refresh(chooser);
        chooser.set.members().iter().any(|member| {
            let other = member.backend;
            !tried.contains(&other) && !latest.pool.backends[other].is_full()
        })
    }
}
