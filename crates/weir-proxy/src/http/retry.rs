//! What is tried again when a backend fails a request, and how long an attempt and the whole exchange may take.

use std::rc::Rc;

use weir_model::{
    pool::Pool,
    route::Retry,
    status::{BackendStatus, PoolStatus},
    time::Moment,
};

use super::{exchange::Exchange, forward::Answer, upload::Upload};
use crate::{
    choose::{InFlight, PoolState},
    clock,
    error::{Cause, ProxyError, Side},
    telemetry::Outcome,
};

/// Why there is no head of an answer.
pub(super) struct Failed {
    pub(super) error: ProxyError,
    /// Something of an answer had come.
    pub(super) heard: bool,
    /// The request was not sent at all.
    pub(super) unsent: bool,
    /// The backend has said that it has not looked at the request.
    pub(super) unprocessed: bool,
    /// The backend was waited for, and nobody else: to accept a connection, or to answer what it had in whole.
    pub(super) waited_for: bool,
}

impl Failed {
    /// True if the backend ended the connection without a word.
    const fn is_silent(&self) -> bool {
        !self.heard && !matches!(self.error.cause, Cause::BackendTimeoutHeader | Cause::BackendTimeoutTry)
    }
}

/// What was tried so far.
#[derive(Default)]
pub(super) struct Tried {
    /// The backends that failed.
    pub(super) backends: Vec<usize>,
    /// Attempts after the first one.
    pub(super) again: u32,
    /// The last attempt failed because a kept connection had gone stale. That is no failure of the backend, counts as no
    /// attempt and costs no budget.
    pub(super) stale: bool,
    /// The backend whose connection that was: it is asked again, over a new one. This is still in flight there.
    pub(super) anew: Option<usize>,
    /// The current attempt is that one.
    pub(super) over_new: bool,
    /// How often a backend has said that it has not looked at the request, which is the same.
    pub(super) sent_away: u32,
    /// One more attempt would have been made, had the pool's budget for retries not been used up.
    over_budget: bool,
}

/// So often a request that was sent away goes elsewhere as if nothing had happened.
const MOST_SENT_AWAY: u32 = 3;

impl Tried {
    /// An attempt has failed, on a connection that had been used before or not.
    fn failed(&mut self, failed: &Failed, reused: bool) {
        self.stale = reused && failed.is_silent() && !self.stale;
        if failed.unprocessed && self.sent_away < MOST_SENT_AWAY {
            self.sent_away += 1;
            self.stale = true;
        }
    }

    /// A reload has changed the pool: this is where its backends stand now.
    #[cold]
    pub(super) fn moved(&mut self, places: &[Option<usize>]) {
        self.backends = self.backends.iter().filter_map(|backend| places[*backend]).collect();
    }

    /// True if there is nobody any more where a connection had gone stale: what was to be sent again goes elsewhere, and that costs
    /// as little as if it had been known at once.
    const fn is_free(&self, failed: &Failed) -> bool {
        self.over_new && failed.unsent
    }

    /// Has the backend asked again whose kept connection had gone stale: it has not failed, and whoever is bound to it, by a
    /// session or by a key, stays there, unless it takes nothing any more. What is in flight goes on to be.
    #[cold]
    pub(super) fn stay(
        &mut self,
        failed: &Failed,
        pool: &Pool,
        index: usize,
        in_flight: InFlight<&BackendStatus>,
    ) {
        let backend = &pool.backends[index];
        let takes = || backend.is_eligible() || pool.sticky.is_some() && backend.keeps(clock::now());
        if self.stale && !failed.unprocessed && takes() {
            self.backends.pop();
            self.anew = Some(index);
            in_flight.hand_on();
        }
    }
}

impl Exchange<'_> {
    /// A failure before anything was sent, on a connection that had not been used before.
    #[cold]
    pub(super) fn unsent(&self, error: ProxyError) -> Failed {
        let late = error.cause == Cause::BackendConnectTimeout;
        let error = if late && clock::now() >= self.until { self.late().into() } else { error };
        Failed { error, heard: false, unsent: true, unprocessed: false, waited_for: true }
    }

    /// An answer that another backend is asked for in its place.
    #[cold]
    pub(super) fn passed_over(&mut self, pool: &PoolState, backend: usize, answer: Answer) -> Failed {
        let status = answer.response.status;
        pool.ended(&self.conn.worker, backend, self.amounts_to(status), None);
        self.grpc_status = None;
        if let Some(attempt) = self.attempt() {
            attempt.ended = clock::micros();
        }
        self.conn.worker.room.responses.give(answer.response);
        Failed {
            error: ProxyError { cause: Cause::BackendStatus, detail: status.to_string().into() },
            heard: true,
            unsent: false,
            unprocessed: false,
            waited_for: false,
        }
    }

    /// There is no head of an answer.
    #[cold]
    pub(super) fn fell_through(&mut self, mut failed: Failed, reused: bool, tried: &mut Tried) -> Failed {
        failed.error = self.in_time(failed.error);
        if let Some(attempt) = self.attempt() {
            attempt.ended = clock::micros();
            attempt.outcome = Outcome::Failed(failed.error.cause);
        }
        tried.failed(&failed, reused);
        failed
    }

    /// Counts an attempt that failed, at the backend that was asked then; tells whether another one follows.
    #[cold]
    pub(super) fn goes_on(
        &self,
        pool: &PoolState,
        (backend, asked): (usize, u64),
        failed: &mut Failed,
        upload: &Upload,
        tried: &mut Tried,
    ) -> bool {
        let cause = failed.error.cause;
        if cause.side() != Side::Backend && cause != Cause::OutOfResources {
            self.note_end(pool, backend, failed);
            return false;
        }
        tried.backends.push(backend);
        let again = cause == Cause::BackendStatus || self.may_retry(failed, upload, &pool.pool.status, tried);
        if !(again && tried.stale) {
            // A kept connection that went stale and is made anew is no failure of its backend.
            let micros = clock::micros().saturating_sub(asked);
            pool.failed(&self.conn.worker, backend, &failed.error, micros);
        }
        tried.again += u32::from(again && !tried.stale && !tried.is_free(failed));
        if tried.over_budget {
            failed.error.add("not tried again: the pool's budget for retries is used up");
        }
        again
    }

    /// An attempt has ended that was not the backend's to end.
    #[cold]
    fn note_end(&self, pool: &PoolState, backend: usize, failed: &Failed) {
        let late = matches!(failed.error.cause, Cause::TimeoutRoute | Cause::CallDeadline);
        if late && failed.waited_for {
            pool.kept_waiting(&self.conn.worker, backend, &failed.error);
        }
        pool.count_cut(backend, &failed.error);
    }

    /// Counts another attempt by what had failed before it.
    #[cold]
    pub(super) fn count_retry(&self, pool: &PoolState, error: &ProxyError, stale: bool) {
        let retries = pool.pool.status.retries.of(self.conn.worker.index);
        if stale {
            retries.stale.add(1);
        } else {
            retries.causes.count(error.cause as usize);
        }
    }

    /// How the route tries again.
    fn retry(&self) -> Option<&Retry> {
        self.route().map(|route| &route.retry)
    }

    /// Starts the time that one attempt may take.
    pub(super) fn start_attempt(&mut self) {
        let per_try = self.route().map_or(Moment::NEVER, |route| clock::now() + route.retry.per_try);
        self.until = per_try.min(self.deadline);
    }

    /// What it means that [`Exchange::until`] has come.
    pub(super) fn late(&self) -> Cause {
        if clock::now() >= self.deadline { self.out_of_time() } else { Cause::BackendTimeoutTry }
    }

    /// Whether a request that failed goes to another backend: after the request was sent only what may be asked twice,
    /// only while nothing of an answer had come, and only as far as the pool's budget goes.
    fn may_retry(&self, failed: &Failed, upload: &Upload, status: &PoolStatus, tried: &mut Tried) -> bool {
        let Some(retry) = self.retry() else { return false };
        let repeatable = !failed.heard && upload.pump.can_restart() && self.asked.repeatable;
        if failed.unprocessed && (tried.stale || tried.again < retry.retries) {
            return upload.can_resend();
        }
        if tried.stale || tried.is_free(failed) {
            return repeatable;
        }
        if tried.again >= retry.retries {
            return false;
        }
        let wanted = match failed.error.cause {
            Cause::BackendTimeoutTry => true,
            Cause::BackendTimeoutHeader => retry.on.timeout,
            // No backend has done any work yet: whatever the method, and free of budget.
            _ if failed.unsent => return retry.on.connect,
            _ => retry.on.reset,
        };
        // What was never sent can be sent by any method.
        let wanted = wanted && (repeatable || failed.unsent);
        let granted = wanted && self.is_granted(status, retry);
        tried.over_budget = wanted && !granted;
        granted
    }

    /// Whether the pool's budget has a retry left.
    fn is_granted(&self, status: &PoolStatus, retry: &Retry) -> bool {
        let granted = status.retry_budget.try_retry(clock::now(), retry.budget);
        if !granted {
            status.retries.of(self.conn.worker.index).refused.add(1);
        }
        granted
    }

    /// Whether an answer is thrown away because its status is one that another backend shall be asked for. It is kept if
    /// there is no other.
    pub(super) fn rejects(
        &self,
        answer: &Answer,
        upload: &Upload,
        pool: &Rc<PoolState>,
        backend: usize,
        tried: &Tried,
    ) -> bool {
        let Some(retry) = self.retry() else { return false };
        let status = answer.response.status;
        let listed = !retry.on.statuses.is_empty() && retry.on.status(self.amounts_to(status));
        if !listed && !self.grpc_status.is_some_and(|said| retry.on.grpc(said)) {
            return false;
        }
        tried.again < retry.retries
            && self.asked.repeatable
            && upload.pump.can_restart()
            && pool.has_another(&self.conn.worker, &tried.backends, backend)
            && self.is_granted(&pool.pool.status, retry)
    }
}
