//! Whether a pool can do without one of its backends, and what becomes of ejections.

use std::sync::{PoisonError, atomic::Ordering};

use crate::{
    health::{Fact, Shift},
    pool::{Backend, Pool},
    status::{Health, State},
    time::{Millis, Moment},
};

/// A backend that has been ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejected {
    /// For how long.
    pub length: Millis,
}

/// Why a backend stays although it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The pool ejects nobody, or it is not up anyway.
    NotUp,
    /// It is the last one that takes traffic.
    Last,
    /// So many are out already, and no more of so many may be.
    Most {
        /// Out.
        ejected: usize,
        /// Backends that may be given work.
        of: usize,
    },
}

impl Pool {
    /// Ejects a backend if the pool can do without it. The caller says why, in words, and tells the log what came of it.
    ///
    /// # Errors
    /// Why it stays.
    pub fn eject(&self, backend: usize, why: &str, now: Moment) -> Result<Ejected, Refused> {
        let outlier = self.outlier.as_ref().ok_or(Refused::NotUp)?;
        let status = &self.backends[backend].status;
        // Held for as long as it takes to count, and only when something is to be ejected: two workers must not take out
        // the last two at the same time.
        let _one = self.status.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        if status.health() != Health::Up {
            return Err(Refused::NotUp);
        }
        let others = || self.backends.iter().enumerate().filter(|(index, _)| *index != backend);
        if !others().any(|(_, other)| other.is_eligible() && other.weight_now() > 0) {
            return Err(Refused::Last);
        }
        let (ejected, of) = (self.ejected(), self.employed());
        if ejected >= outlier.most_ejected(of) {
            return Err(Refused::Most { ejected, of });
        }
        status.apply(Fact::Ejected(outlier.eject, why), now);
        let until = status.ejected_until().unwrap_or(now);
        status.ejections.fetch_add(1, Ordering::Relaxed);
        self.status.unsettled.store(true, Ordering::Release);
        self.status.touch();
        Ok(Ejected { length: until.since(now) })
    }

    /// Takes back a backend whose ejection is over by now, or whose pool ejects nobody any more. A change of its health
    /// comes back; the caller then calls [`PoolStatus::touch`](crate::status::PoolStatus::touch).
    pub fn readmit(&self, backend: usize, now: Moment) -> Option<Shift> {
        let status = &self.backends[backend].status;
        let reason = match (&self.outlier, status.ejected_until()?) {
            (None, _) => "the pool ejects nobody any more",
            (Some(_), until) if until <= now => "its ejection is over",
            (Some(_), _) => return None,
        };
        status.apply(Fact::Returned(reason), now)
    }

    /// How many backends are ejected, those included that are down as well.
    pub fn ejected(&self) -> usize {
        self.backends.iter().filter(|backend| backend.status.ejected_until().is_some()).count()
    }

    /// How many of its backends may be ejected at the same time; none if it ejects nobody.
    pub fn most_ejected(&self) -> Option<usize> {
        self.outlier.as_ref().map(|outlier| outlier.most_ejected(self.employed()))
    }

    /// Backends that may be given work, as far as that is not about their health.
    fn employed(&self) -> usize {
        let employed = |backend: &&Backend| backend.state_now() == State::Active && backend.weight_now() > 0;
        self.backends.iter().filter(employed).count()
    }
}
