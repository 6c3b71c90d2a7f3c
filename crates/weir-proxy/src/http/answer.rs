//! The wait for the head of the answer: interim answers are passed on, the rest of the request goes on being sent, the client
//! is watched, and every wait has an end.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, ready},
};

use weir_model::{
    route::HeaderEdits,
    time::{Millis, Moment},
};

use super::{
    chunked::{BadChunk, ChunkDecoder},
    exchange::Exchange,
    forward::{Answer, Link},
    lines::{HeadEnd, find_end},
    pump::Waiting,
    request::BodyLength,
    response::ResponseHead,
    upload::Upload,
    watch::Watch,
    write::{Framing, write_response},
};
use crate::{
    buffer::{Buffer, LARGE},
    choose::PoolState,
    clock,
    error::{Cause, ProxyError},
    io::insist,
    upstream::Way,
};

/// Bytes of a response head.
const MOST_HEAD: usize = LARGE;
/// Interim responses passed on; more are dropped, and far more are refused.
const MOST_INTERIM: usize = 16;
const TOO_MANY_INTERIM: usize = 100;
/// The window that `body_min_rate` is averaged over.
const RATE_WINDOW_MS: u64 = 30_000;

impl Exchange<'_> {
    /// Waits for the head of the final response, passing interim ones on.
    pub(super) async fn await_head(
        &mut self,
        input: &mut Buffer,
        pool: &Rc<PoolState>,
        upload: &mut Upload,
        link: &mut Link,
    ) -> Result<Answer, ProxyError> {
        let mut response = None;
        let begun = clock::now();
        let (mut scanned, mut interim, mut tried) = (0, 0, false);
        loop {
            // As with requests: parsed when it comes, and again only when its end has been seen.
            let bytes = link.answer.filled();
            let end = if tried { find_end(bytes, &mut scanned) } else { HeadEnd::Missing };
            let mut head = None;
            if matches!(end, HeadEnd::At(_)) || !tried && !bytes.is_empty() {
                let response = response.get_or_insert_with(|| self.conn.worker.room.responses.take());
                head = response.judge(bytes, self.asked.head)?;
                tried = true;
            }
            if let Some((length, mut judged)) = head.zip(response.take()) {
                if self.asked.connect {
                    judged.answers_connect();
                }
                if judged.status >= 200 || judged.status == 101 {
                    if let Way::Shared(lane) = &link.way {
                        judged.body_of_stream(lane.channel.is_at_end(), self.client.is_stream());
                    } else {
                        judge_body(judged.body, &bytes[length..])?;
                    }
                    return Ok(Answer { response: judged, length });
                }
                interim += 1;
                if judged.status == 100 {
                    upload.invite();
                }
                Box::pin(self.pass_interim(link, &judged, length, interim)).await?;
                self.conn.worker.room.responses.give(judged);
                link.answer.consume(length);
                (scanned, tried) = (0, false);
                continue;
            }
            if end == HeadEnd::BadLineEnd {
                return Err(ProxyError::with(Cause::BackendBadResponse, "a line that ends without CR LF"));
            }
            if bytes.len() >= MOST_HEAD {
                return Err(Cause::BackendHeaderTooLarge.into());
            }
            if !link.answer.has_space() {
                link.answer.grow(MOST_HEAD);
            }
            self.more(input, pool, upload, (link, begun)).await?;
            link.heard = true;
            let start = &link.answer.filled()[..link.answer.len().min(7)];
            if !b"HTTP/1.".starts_with(start) {
                return Err(ProxyError::with(Cause::BackendBadResponse, "it does not begin with HTTP/1."));
            }
        }
    }

    /// Waits for more bytes from the backend, which was asked at `begun`, while the request goes on being sent and the client is
    /// watched.
    fn more(
        &mut self,
        input: &mut Buffer,
        pool: &PoolState,
        upload: &mut Upload,
        (link, begun): (&mut Link, Moment),
    ) -> impl Future<Output = Result<(), ProxyError>> {
        let (client, timer) = (self.client, self.timer);
        let mut watch = Watch::default();
        poll_fn(move |cx| {
            self.advance(cx, upload, input, link.way.duplex())?;
            match link.poll_head(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(broken_off(link))),
                Poll::Ready(Ok(_)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
            if let Some(error) = watch.poll(cx, client, input, upload, &mut self.half_closed) {
                return Poll::Ready(Err(ProxyError::from_client(&error)));
            }
            if let Some(cause) = self.conn.cut() {
                return Poll::Ready(Err(cause.into()));
            }
            self.work.wait();
            let (mut deadline, mut cause) = self.deadline(upload, pool, begun);
            if self.until < deadline {
                (deadline, cause) = (self.until, self.late());
            }
            let drained = pool.drain_ends(self.backend);
            if drained < deadline {
                (deadline, cause) = (drained, Cause::DrainOver);
            }
            timer.set(deadline);
            if !timer.poll_elapsed(cx) || self.is_still_taken(cx, cause, upload, input, link)? {
                return Poll::Pending;
            }
            Poll::Ready(Err(self.too_late(cause)))
        })
    }

    /// True if the backend is not late after all: it reads slowly, and has taken more of the request than the kernel has made
    /// known. Then the wait begins anew.
    #[cold]
    fn is_still_taken(
        &self,
        cx: &mut Context<'_>,
        cause: Cause,
        upload: &mut Upload,
        input: &mut Buffer,
        link: &Link,
    ) -> Result<bool, ProxyError> {
        if cause != Cause::BackendTimeoutHeader || upload.is_over() || upload.pump.waiting != Waiting::Sink {
            return Ok(false);
        }
        let written = upload.pump.written;
        insist(|| self.advance(cx, upload, input, link.way.duplex()))?;
        let taken = upload.pump.written > written;
        if taken {
            cx.waker().wake_by_ref();
        }
        Ok(taken)
    }

    /// What nobody can say how long it takes is waited for as long as for a tunnel, and it is said that this is why.
    #[cold]
    fn too_late(&self, cause: Cause) -> ProxyError {
        if cause == Cause::BackendTimeoutHeader && self.is_open_ended() {
            return ProxyError::with(cause, "for calls of gRPC, upgrades and CONNECT: timeouts.tunnel");
        }
        cause.into()
    }

    /// What a call takes, and when its caller has something to say, is theirs to know; so it is with what is to become a tunnel.
    fn is_open_ended(&self) -> bool {
        self.asked.call.is_some() || self.asked.upgrade.is_some() || self.asked.connect
    }

    /// What is waited for, and until when.
    fn deadline(&self, upload: &mut Upload, pool: &PoolState, begun: Moment) -> (Moment, Cause) {
        let pump = &upload.pump;
        let since = pump.moved_at.max(begun);
        if self.is_open_ended() {
            return (since + self.listener.timeouts.tunnel, Cause::BackendTimeoutHeader);
        }
        // A client that waits to be told to go on owes nothing yet.
        let uninvited = self.asked.expects_continue && !upload.invited && pump.taken == 0;
        if upload.is_over() || pump.waiting == Waiting::Sink || uninvited {
            return (since + pool.pool.response_timeout, Cause::BackendTimeoutHeader);
        }
        let timeouts = &self.listener.timeouts;
        let idle = (pump.moved_at + timeouts.body_idle, Cause::ClientTimeoutBody);
        if timeouts.body_min_rate == 0 {
            return idle;
        }
        let window_end = upload.window + Millis(RATE_WINDOW_MS);
        if clock::now() >= window_end {
            let taken = pump.taken - upload.window_taken;
            if taken < timeouts.body_min_rate * RATE_WINDOW_MS / 1000 {
                return (clock::now(), Cause::ClientBodyTooSlow);
            }
            (upload.window, upload.window_taken) = (clock::now(), pump.taken);
        }
        let window_end = upload.window + Millis(RATE_WINDOW_MS);
        // At the end of the window this is asked again.
        if window_end < idle.0 {
            (window_end.max(clock::now() + Millis(1)), Cause::ClientBodyTooSlow)
        } else {
            idle
        }
    }

    /// Passes an interim response on (RFC 9110 section 15.2).
    async fn pass_interim(
        &mut self,
        link: &Link,
        response: &ResponseHead,
        length: usize,
        count: usize,
    ) -> Result<(), ProxyError> {
        if count > TOO_MANY_INTERIM {
            return Err(ProxyError::with(Cause::BackendBadResponse, "more than 100 interim responses"));
        }
        if count > MOST_INTERIM || self.asked.http10 {
            return Ok(());
        }
        let mut out = self.conn.worker.room.texts.take();
        out.clear();
        let framing = Framing { chunked: false, close: false, say_keep_alive: false };
        let head = link.answer.part(0..length);
        write_response(&mut out, head, response, &HeaderEdits::default(), framing, None);
        out.extend_from_slice(b"\r\n");
        let sent = self.send_interim(&out).await;
        self.conn.worker.room.give_text(out);
        sent
    }
}

/// The backend has closed before its answer had a whole head.
#[cold]
fn broken_off(link: &Link) -> ProxyError {
    let detail = if link.heard { "a part of a head had come" } else { "" };
    ProxyError::with(Cause::BackendClosed, detail)
}

impl Link {
    /// Takes what comes of a head.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, ProxyError>> {
        match &self.way {
            Way::Own(upstream) => upstream
                .stream
                .poll_fill(cx, &mut self.answer)
                .map_err(|error| ProxyError::from_backend(&error)),
            Way::Shared(lane) => {
                let mut text = Vec::new();
                match ready!(lane.poll_head(cx, &mut text)) {
                    Ok(()) => {
                        self.answer.append(&text);
                        Poll::Ready(Ok(text.len()))
                    }
                    Err(broken) => {
                        self.unprocessed = broken.unprocessed;
                        Poll::Ready(Err(broken.error))
                    }
                }
            }
        }
    }
}

/// What has come of the body together with the head is judged before the client sees anything of either.
fn judge_body(body: BodyLength, bytes: &[u8]) -> Result<(), ProxyError> {
    if body == BodyLength::Chunked && !bytes.is_empty() {
        let checked = ChunkDecoder::default().check(bytes);
        checked.map_err(|BadChunk(how)| ProxyError::with(Cause::BackendBadChunk, how))?;
    }
    Ok(())
}
