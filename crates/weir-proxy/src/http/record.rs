//! The one record that an exchange leaves: counters, a line of the access log, and a word about what failed.

use super::{
    exchange::{Ended, Exchange, first_line},
    kept::say_http2,
    serve::After,
};
use crate::{
    clock,
    error::{ProxyError, Side},
    telemetry::Failure,
};

impl Exchange<'_> {
    /// Leaves the one record of this exchange.
    pub(super) fn record(&mut self, ended: Ended) -> After {
        if let Some(mut kept) = self.kept.take() {
            self.log(&mut kept, ended.error.as_ref());
            if kept.is_small() {
                self.conn.worker.room.kept.give(kept);
            }
        }
        let worker = &self.conn.worker;
        let waited = clock::micros().saturating_sub(self.started);
        let counters = self.conn.counters(&self.listener);
        counters.overhead.record(worker.overhead.end(&self.work));
        counters.bytes_in.add(self.came - self.counted);
        match self.route() {
            Some(route) => {
                let counters = route.status[self.arm].shards.of(worker.index);
                counters.codes.count(self.status);
                counters.duration.record(waited);
                if let Some(status) = self.grpc_status {
                    counters.grpc.count(status);
                }
                if let Some(error) = &ended.error {
                    counters.failures.count(error.cause as usize);
                }
            }
            None => {
                let counters = self.conn.counters(&self.listener);
                counters.codes.count(self.status);
                if let Some(error) = &ended.error {
                    counters.rejected.count(error.cause as usize);
                }
            }
        }
        if let Some(error) = &ended.error {
            self.report(error);
        }
        worker.room.give_text(std::mem::take(&mut self.text));
        ended.after
    }

    #[cold]
    fn report(&self, error: &ProxyError) {
        let pool = self.pool.as_ref().map(|state| &state.pool);
        let backend = pool.zip(self.backend).map(|(pool, index)| &pool.backends[index]);
        let worker = &self.conn.worker;
        if let Some(backend) = backend.filter(|_| error.cause.side() == Side::Backend) {
            backend.status.set_last_error(&error.to_string());
        }
        // The request line of an exchange that got as far as a backend stands in what was sent there. Before that, the text is
        // room that another exchange has left as it was.
        let forwarded = self.pool.is_some() && self.request_line.is_empty();
        let mut line = if forwarded { first_line(&self.text) } else { self.request_line.clone() };
        if self.client.is_stream() {
            say_http2(&mut line);
        }
        worker.journal.fail(Failure {
            error,
            client: self.conn.peer,
            listener: &self.listener.name,
            route: self.route().map_or("", |route| &route.name),
            pool: pool.map_or("", |pool| &pool.name),
            backend: backend.map_or("", |backend| &backend.name),
            request: &line,
            status: self.status,
        });
    }
}
