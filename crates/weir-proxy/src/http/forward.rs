//! The way to a backend: choose one, connect or reuse a connection, send the request, wait for the head of the answer;
//! and if that fails in a way that may be tried again, once more with another.

use std::rc::Rc;

use super::{
    exchange::{Ended, Exchange},
    grpc_web::{Bridge, Form},
    pump::{Coding, Pump},
    request::BodyLength,
    response::ResponseHead,
    retry::{Failed, Tried},
    serve::After,
    upload::Upload,
};
use crate::{
    buffer::Buffer,
    choose::{Found, InFlight, PoolState, Search},
    clock,
    error::{Cause, ProxyError},
    http2::Sent,
    telemetry::Outcome,
    upstream::Way,
};

/// A connection to a backend with a request on it.
pub(crate) struct Link {
    pub(crate) way: Way,
    pub(crate) answer: Buffer,
    /// Something came from the backend.
    pub(super) heard: bool,
    /// The backend has said that it has not looked at the request.
    pub(super) unprocessed: bool,
}

impl Link {
    /// What was sent of the request by HTTP/2, if it can be sent again.
    fn take_sent(&self) -> Option<Box<Sent>> {
        match &self.way {
            Way::Own(_) => None,
            Way::Shared(lane) => lane.channel.take_sent(),
        }
    }

    /// There will be no answer on it.
    #[cold]
    fn failed(&self, error: ProxyError, upload: &Upload) -> Failed {
        let waited_for = upload.is_over();
        Failed { error, heard: self.heard, unsent: false, unprocessed: self.unprocessed, waited_for }
    }

    /// The answer, whose body comes from this backend.
    #[inline]
    pub(super) fn take_out(&self, mut answer: Pump) -> Pump {
        if let Way::Shared(_) = &self.way {
            answer.of_frames();
        }
        answer
    }
}

/// The head of a final response.
pub(crate) struct Answer {
    pub(crate) response: Box<ResponseHead>,
    /// Its length in the link's buffer.
    pub(crate) length: usize,
}

/// How a body of this length is delimited for a backend with a connection of its own.
const fn coding(body: BodyLength) -> Coding {
    match body {
        BodyLength::Chunked => Coding::Chunked,
        _ => Coding::Plain,
    }
}

impl Exchange<'_> {
    /// The request, whose body comes from this client.
    fn take_in(&self, request: &mut Pump) {
        let text = self.bridged().is_some_and(|call| call.asks == Form::Text);
        if text {
            request.bridge = Some(Bridge::asking());
        }
        if self.client.is_stream() {
            request.of_frames();
            // What is kept is sent again from its beginning, and that was text.
            if !text && (self.asked.repeatable || self.asked.call.is_some()) {
                request.keep();
            }
        } else if self.asked.repeatable && !text && self.asked.body.is_short() {
            request.keep();
        }
    }

    /// Forwards the request to a backend of the pool, and its answer to the client.
    pub(crate) async fn forward(&mut self, input: &mut Buffer, pool: Rc<PoolState>) -> Ended {
        pool.pool.status.retry_budget.count_request(clock::now());
        let permit = match pool.admit() {
            Ok(permit) => permit,
            Err(error) => return Box::pin(self.give_up(input, error, true)).await,
        };
        let body = self.asked.body;
        let lead = std::mem::take(&mut self.text);
        let mut upload = Upload {
            pump: Pump::new(lead, body, coding(body), self.listener.limits.body),
            over: false,
            window: clock::now(),
            window_taken: 0,
            sent: None,
            again: false,
            invited: false,
        };
        self.take_in(&mut upload.pump);
        self.timer.tie(true);
        let ended = self.attempts(input, pool, &mut upload).await;
        self.hold = None;
        self.timer.tie(false);
        self.came += upload.pump.passed();
        self.counted = upload.pump.counted.min(upload.pump.passed());
        self.text = upload.pump.into_head();
        let Some(mut tunnel) = self.tunnel.take() else { return ended };
        tunnel.keep(permit);
        Box::pin(self.carry_tunnel(input, tunnel)).await
    }

    async fn attempts(&mut self, input: &mut Buffer, mut pool: Rc<PoolState>, upload: &mut Upload) -> Ended {
        let conn = self.conn;
        let mut tried = Tried::default();
        // The body is here already: the backend need not be asked whether it is wanted.
        if self.asked.expects_continue
            && !input.is_empty()
            && let Err(error) = Box::pin(self.send_interim(b"HTTP/1.1 100 Continue\r\n\r\n")).await
        {
            return Box::pin(self.give_up(input, error, false)).await;
        }
        let mut last = None;
        loop {
            let mut begun = None;
            let (backend, counted) = match self.choose(&pool, &mut tried) {
                Some(chosen) => chosen,
                None => {
                    begun = Some(clock::micros());
                    match Box::pin(self.find(&mut pool, &mut tried)).await {
                        Ok(found) => found,
                        Err(error) => {
                            return Box::pin(self.give_up(input, error.behind(last), true)).await;
                        }
                    }
                }
            };
            let pool = &pool;
            self.backend = Some(backend);
            if pool.pool.sticky.is_some() {
                self.bind(pool, backend);
            }
            if let Some(error) = &last {
                self.count_retry(pool, error, tried.stale);
            }
            let in_flight = InFlight::found(&*pool.pool.backends[backend].status, pool.total(), counted);
            let asked = clock::micros();
            if let Some(kept) = &mut self.kept {
                kept.attempt(backend, begun.unwrap_or(asked));
            }
            self.start_attempt();
            let reached = match self.reuse(pool, backend, tried.stale) {
                Some(upstream) => Ok((Way::Own(upstream), true)),
                None => Box::pin(conn.unless_over(self.client, self.reach(pool, backend, upload))).await,
            };
            let mut link = None;
            let answer = match reached {
                Ok((way, reused)) => {
                    let link = link.insert(self.link(way, reused));
                    let answer = self.await_head(input, pool, upload, link).await;
                    answer.map_err(|error| (link.failed(error, upload), reused))
                }
                Err(error) => Err((self.unsent(error), false)),
            };
            let mut failed = match answer {
                Ok(answer) => {
                    self.answered(pool, (backend, asked), link.as_ref(), &answer);
                    if !self.rejects(&answer, upload, pool, backend, &tried) {
                        let code = answer.response.status;
                        let ended = self.deliver(input, pool, upload, &mut link, answer).await;
                        pool.ended(&conn.worker, backend, self.amounts_to(code), ended.error.as_ref());
                        return ended;
                    }
                    tried.stale = false;
                    self.passed_over(pool, backend, answer)
                }
                Err((failed, reused)) => self.fell_through(failed, reused, &mut tried),
            };
            upload.sent = link.as_ref().and_then(Link::take_sent);
            if !self.goes_on(pool, (backend, asked), &mut failed, upload, &mut tried) {
                return Box::pin(self.give_up(input, failed.error, failed.unsent)).await;
            }
            tried.stay(&failed, &pool.pool, backend, in_flight);
            upload.restart(coding(self.asked.body), input);
            last = Some(failed.error);
        }
    }

    /// A backend that need not be waited for; true if it counts the request already.
    #[inline]
    fn choose(&mut self, pool: &Rc<PoolState>, tried: &mut Tried) -> Option<(usize, bool)> {
        tried.over_new = tried.anew.is_some();
        if let Some(backend) = tried.anew.take() {
            return Some((backend, true));
        }
        let chosen = match (&pool.pool.sticky, pool.queued) {
            (None, false) => pool.choose(&self.conn.worker, self.hash, &tried.backends),
            (Some(_), false) => self.keep_to(pool, &tried.backends),
            (_, true) => None,
        };
        chosen.map(|backend| (backend, false))
    }

    /// The backend is reached this way, which was used before or not.
    #[inline]
    fn link(&mut self, way: Way, reused: bool) -> Link {
        if let Some(attempt) = self.attempt() {
            (attempt.connected, attempt.reused) = (clock::micros(), reused);
        }
        Link { way, answer: self.conn.worker.spare.buffer(), heard: false, unprocessed: false }
    }

    /// The backend, which was asked then, has answered.
    #[inline]
    fn answered(
        &mut self,
        pool: &PoolState,
        (backend, asked): (usize, u64),
        link: Option<&Link>,
        answer: &Answer,
    ) {
        let micros = clock::micros().saturating_sub(asked);
        pool.answered(&self.conn.worker, backend, answer.response.status, micros);
        if let Some(link) = link {
            self.note_call_head(&answer.response, link.answer.part(0..answer.length));
        }
        if let Some(attempt) = self.attempt() {
            attempt.answered = clock::micros();
            attempt.outcome = Outcome::Answered(answer.response.status);
        }
    }

    /// A backend that has to be waited for, with what is held of it; true if the backend counts it already.
    #[cold]
    async fn find(
        &mut self,
        pool: &mut Rc<PoolState>,
        tried: &mut Tried,
    ) -> Result<(usize, bool), ProxyError> {
        // What the last attempt held.
        self.hold = None;
        let conn = self.conn;
        let search = Search {
            conn,
            timer: self.timer,
            client: self.client,
            hash: self.hash,
            bound: self.bound(pool, &tried.backends),
            tried: &tried.backends,
            // Where nothing else is eligible, a connection that had gone stale may be made anew.
            again: tried.backends.last().copied().filter(|_| tried.stale),
            until: self.deadline,
        };
        let found = pool.find(search).await;
        let Found { moved, backend, counted, hold } = found.map_err(|error| {
            let late = error.cause == Cause::PoolQueueTimeout && clock::now() >= self.deadline;
            if late { self.out_of_time().into() } else { error }
        })?;
        if let Some(moved) = moved {
            let places = pool.places_in(&moved);
            tried.moved(&places);
            if let Some(kept) = &mut self.kept {
                kept.attempts.iter_mut().for_each(|attempt| attempt.moved(&pool.pool, &places));
            }
            self.pool = Some(moved.clone());
            *pool = moved;
        }
        self.hold = hold;
        Ok((backend, counted))
    }

    /// The end of an exchange that no backend answered.
    async fn give_up(&mut self, input: &mut Buffer, error: ProxyError, unsent: bool) -> Ended {
        let after = if unsent || self.asked.body == BodyLength::None {
            self.after_own_answer(input)
        } else {
            After::Linger
        };
        self.refuse(error, after).await
    }
}
