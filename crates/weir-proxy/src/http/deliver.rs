//! The way back: the head of the answer and its body to the client, or a tunnel if both sides agreed on one.

use std::{future::poll_fn, io, rc::Rc, task::Poll};

use weir_model::{
    route::HeaderEdits,
    time::{Millis, Moment},
};

use super::{
    exchange::{Ended, Exchange},
    forward::{Answer, Link},
    grpc_web::{self, Answered, Bridge, Form},
    kept::{Kept, ResponseFields},
    pump::{COPIED, Coding, Pump, Stop, Waiting},
    request::BodyLength,
    response::ResponseHead,
    serve::{After, has_another},
    upload::Upload,
    watch::Watch,
    write::{Framing, write_response},
};
use crate::{
    buffer::Buffer,
    choose::PoolState,
    clock,
    duplex::Duplex,
    error::{Cause, ProxyError, Side},
    io::insist,
    telemetry::{Fields, Record},
    upstream::Way,
};

impl Exchange<'_> {
    /// Delivers the answer whose head stands in the link's buffer.
    pub(crate) async fn deliver(
        &mut self,
        input: &mut Buffer,
        pool: &Rc<PoolState>,
        upload: &mut Upload,
        slot: &mut Option<Link>,
        answer: Answer,
    ) -> Ended {
        if (answer.response.status == 101 || self.asked.connect && answer.response.opens_tunnel())
            && let Some(link) = slot.take()
        {
            return Box::pin(self.switch(pool, link, answer)).await;
        }
        let Some(link) = slot else { return Ended::well(After::Reset) };
        if let Way::Shared(lane) = &link.way {
            // There is no way back.
            drop(lane.channel.take_sent());
        }
        let Answer { mut response, length } = answer;
        if self.bridged().is_some() {
            grpc_web::forget_length(&mut response, link.answer.part(0..length));
        }
        // What came whole before the client said that it sends no more is answered.
        let over = self.half_closed && !has_another(input);
        let close = !self.asked.keep_alive || over || !upload.pump.is_done() || self.conn.is_leaving();
        let (framing, body) = self.framing(&response, close);
        self.note_answer(&response, link.answer.part(0..length));
        let patience = self.patience(pool, &response, link.answer.part(0..length));
        let (mut download, opened) = self.stage_head(link, &response, length, framing);
        self.status = response.status;
        let keep_alive = response.keep_alive;
        self.conn.worker.room.responses.give(response);
        let outcome = match opened {
            Ok(()) => self.carry(input, (pool, patience), upload, (link, &mut download)).await,
            Err(error) => Err(ProxyError::from_client(&error)),
        };
        self.count_sent(&mut download);
        // What was staged when it was cut has been taken, and was not sent.
        self.note_sent(download.written, download.taken.min(download.passed()));
        let said = download.bridge.as_ref().map_or(&download.trailers[..], |bridge| bridge.said());
        self.note_call_trailers(said);
        self.conn.worker.room.give_text(download.into_head());
        match outcome {
            Ok(()) => {
                self.put_back(pool, upload, slot.take(), keep_alive);
                let after = match (framing.close, upload.is_over()) {
                    (false, true) => After::Keep,
                    (true, true)
                        if upload.pump.is_done()
                            && (self.client.is_stream() || !self.conn.has_more(input)) =>
                    {
                        After::Close
                    }
                    _ => After::Linger,
                };
                Ended::well(after)
            }
            Err(error) => {
                if let Some(backend) = self.backend {
                    pool.count_cut(backend, &error);
                }
                if let Duplex::Frames(channel) = self.client
                    && self.asked.call.is_some_and(|call| call.web.is_none())
                    && error.cause.side() != Side::Client
                {
                    let error = self.in_time(error);
                    let mut trailers = Vec::new();
                    self.write_call_status(&error, &mut trailers);
                    // If the stream is over, there is nobody to be told.
                    let _ = channel.end(&trailers);
                    return Ended { after: After::Close, error: Some(error) };
                }
                // A body that ends with the connection looks complete unless the end is a reset.
                let open_ended = body != BodyLength::None && framing.close && !framing.chunked;
                let after = if open_ended || self.client.is_stream() { After::Reset } else { After::Close };
                Ended { after, error: Some(error) }
            }
        }
    }

    /// How long the backend may be silent in its answer: calls and streams of events may be for as long as tunnels.
    fn patience(&self, pool: &PoolState, response: &ResponseHead, head: &[u8]) -> Patience {
        let unknown = matches!(response.body, BodyLength::Chunked | BodyLength::UntilClose);
        let endless = unknown && is_event_stream(response, head);
        if endless || unknown && self.asked.call.is_some() {
            return Patience { length: self.listener.timeouts.tunnel, cause: Cause::TimeoutTunnel, endless };
        }
        Patience { length: pool.pool.stream_idle, cause: Cause::BackendTimeoutBody, endless }
    }

    /// How the answer is framed for this client, and how it is delimited where it comes from.
    fn framing(&self, response: &ResponseHead, close: bool) -> (Framing, BodyLength) {
        let body = response.body;
        let unknown = matches!(body, BodyLength::Chunked | BodyLength::UntilClose);
        let chunked = unknown && !self.asked.http10 && !self.client.is_stream();
        let close = close || (unknown && self.asked.http10);
        (Framing { chunked, close, say_keep_alive: self.asked.http10 && !close }, body)
    }

    /// Writes the head, and makes the message of it and its body. Where content has come with the head and the new head is
    /// no longer than the old one, it takes its place in the buffer: one plain write costs less than a gathering one.
    /// A stream gets its head at once; that it is gone is the error.
    fn stage_head(
        &self,
        link: &mut Link,
        response: &ResponseHead,
        length: usize,
        framing: Framing,
    ) -> (Pump, io::Result<()>) {
        let lead = self.write_head(link, response, length, framing);
        if let Some(call) = self.bridged() {
            return self.stage_bridged(link, (response.body, length), (lead, framing), call.reads);
        }
        if let Duplex::Frames(channel) = self.client {
            link.answer.consume(length);
            let opened = channel.send_head(&lead, response.body == BodyLength::None);
            let mut download = Pump::new(lead, response.body, Coding::Frames, u64::MAX);
            download.go_as_frames();
            return (link.take_out(download), opened);
        }
        let content = link.answer.len() - length;
        let plain = matches!(response.body, BodyLength::Length(_) | BodyLength::UntilClose);
        if lead.len() > length || content <= COPIED || !plain || framing.chunked {
            link.answer.consume(length);
            let coding = if framing.chunked { Coding::Chunked } else { Coding::Plain };
            return (link.take_out(Pump::new(lead, response.body, coding, u64::MAX)), Ok(()));
        }
        link.answer.consume(length - lead.len());
        link.answer.filled_mut()[..lead.len()].copy_from_slice(&lead);
        let head = lead.len();
        self.conn.worker.room.give_text(lead);
        (Pump::in_place(head, response.body), Ok(()))
    }

    /// The same for the answer to a call of gRPC-Web.
    #[cold]
    fn stage_bridged(
        &self,
        link: &mut Link,
        (body, length): (BodyLength, usize),
        (mut lead, framing): (Vec<u8>, Framing),
        reads: Form,
    ) -> (Pump, io::Result<()>) {
        link.answer.consume(length);
        let answered = grpc_web::translate_answer(&mut lead, reads, body == BodyLength::None);
        let coding = if framing.chunked { Coding::Chunked } else { Coding::Plain };
        let mut download = if let Some(Answered::Whole(content)) = &answered {
            link.answer.grow(content.len());
            link.answer.space()[..content.len()].copy_from_slice(content);
            link.answer.filled_by(content.len());
            Pump::new(lead, BodyLength::Length(content.len() as u64), coding, u64::MAX)
        } else {
            link.take_out(Pump::new(lead, body, coding, u64::MAX))
        };
        if answered == Some(Answered::Content) {
            download.bridge = Some(Bridge::answering(reads, self.conn.worker.spare.buffer()));
        }
        let Duplex::Frames(channel) = self.client else { return (download, Ok(())) };
        let opened = channel.send_head(download.head(), download.is_complete());
        download.go_as_frames();
        (download, opened)
    }

    pub(crate) fn write_head(
        &self,
        link: &Link,
        response: &ResponseHead,
        length: usize,
        framing: Framing,
    ) -> Vec<u8> {
        let mut lead = self.conn.worker.room.texts.take();
        lead.clear();
        let head = link.answer.part(0..length);
        let none = HeaderEdits::default();
        let edits = self.route().map_or(&none, |route| &route.response_headers);
        match &self.kept {
            Some(kept) if self.route().is_some_and(|route| route.has_variables) => {
                self.write_head_with_values(&mut lead, head, response, (kept, edits), framing);
            }
            _ => write_response(&mut lead, head, response, edits, framing, None),
        }
        if self.listener.debug_headers {
            self.write_debug_fields(&mut lead);
        }
        if self.binds {
            self.write_bond(&mut lead);
        }
        lead.extend_from_slice(b"\r\n");
        lead
    }

    #[cold]
    fn write_head_with_values(
        &self,
        out: &mut Vec<u8>,
        head: &[u8],
        response: &ResponseHead,
        (kept, edits): (&Kept, &HeaderEdits),
        framing: Framing,
    ) {
        let fields = ResponseFields { response, head };
        self.known(kept, &kept.request, |known| {
            let known = Record { response: Some(&fields), status: response.status, ..known };
            write_response(out, head, response, edits, framing, Some(&known));
        });
    }

    /// Notes of the answer what the log will show.
    #[inline]
    pub(super) fn note_answer(&mut self, response: &ResponseHead, head: &[u8]) {
        if let (Some(kept), Some(log)) = (&mut self.kept, &self.listener.access_log) {
            kept.note_answer(&log.response_fields, response, head);
        }
    }

    /// Moves the body to the client, and the rest of the request to the backend meanwhile.
    fn carry(
        &mut self,
        input: &mut Buffer,
        (pool, patience): (&PoolState, Patience),
        upload: &mut Upload,
        (link, download): (&mut Link, &mut Pump),
    ) -> impl Future<Output = Result<(), ProxyError>> {
        let (client, timer) = (self.client, self.timer);
        let mut watch = Watch::default();
        poll_fn(move |cx| {
            let backend = link.way.duplex();
            self.advance(cx, upload, input, backend)?;
            match download.poll(cx, backend, &mut link.answer, client) {
                Poll::Ready(result) => return Poll::Ready(result.map_err(backend_stop)),
                Poll::Pending => {}
            }
            if let Some(error) = watch.poll(cx, client, input, upload, &mut self.half_closed) {
                return Poll::Ready(Err(ProxyError::from_client(&error)));
            }
            self.count_sent(download);
            if self.half_closed && patience.endless {
                // Nobody but the client can end such a stream, and that is how it does.
                return Poll::Ready(Err(ProxyError::with(Cause::ClientAborted, "in a stream of events")));
            }
            if let Some(cause) = self.conn.cut() {
                return Poll::Ready(Err(cause.into()));
            }
            let (deadline, mut cause) = match download.waiting {
                Waiting::Source => (download.moved_at + patience.length, patience.cause),
                Waiting::Sink => {
                    (download.moved_at + self.listener.timeouts.send_idle, Cause::ClientTimeoutSend)
                }
            };
            // A request that still moves is a sign of life too.
            let mut deadline =
                if upload.is_over() { deadline } else { later(deadline, upload, patience.length) };
            if self.deadline < deadline {
                (deadline, cause) = (self.deadline, self.out_of_time());
            }
            let drained = pool.drain_ends(self.backend);
            if drained < deadline {
                (deadline, cause) = (drained, Cause::DrainOver);
            }
            timer.set(deadline);
            if !timer.poll_elapsed(cx) {
                return Poll::Pending;
            }
            if cause == Cause::ClientTimeoutSend {
                // One who reads slowly is not one who reads nothing.
                let written = download.written;
                if let Poll::Ready(result) = insist(|| download.poll(cx, backend, &mut link.answer, client)) {
                    return Poll::Ready(result.map_err(backend_stop));
                }
                timer.set(download.moved_at + self.listener.timeouts.send_idle);
                if download.written > written && !timer.poll_elapsed(cx) {
                    return Poll::Pending;
                }
            }
            Poll::Ready(Err(cause.into()))
        })
    }

    /// Counts what has been sent since this was done last: a long answer is not to be seen at its end only.
    #[inline]
    fn count_sent(&self, download: &mut Pump) {
        let sent = download.written - std::mem::replace(&mut download.counted, download.written);
        self.conn.counters(&self.listener).bytes_out.add(sent);
    }

    /// Keeps the connection to the backend, if the exchange left it as it found it.
    fn put_back(&self, pool: &PoolState, upload: &Upload, link: Option<Link>, keep_alive: bool) {
        let Some(Link { way: Way::Own(mut upstream), answer, .. }) = link else { return };
        // Bytes beyond the answer belong to nobody: whoever got this connection next would read them as theirs.
        if keep_alive && upload.pump.is_done() && answer.is_empty() {
            upstream.requests += 1;
            if let Some(backend) = self.backend {
                pool.idle.give(&pool.pool, backend, upstream);
            }
        }
    }
}

/// How long the backend may be silent.
#[derive(Clone, Copy)]
struct Patience {
    length: Millis,
    /// Why it ends then.
    cause: Cause,
    /// What it says has no end of its own.
    endless: bool,
}

fn is_event_stream(response: &ResponseHead, head: &[u8]) -> bool {
    let fields = ResponseFields { response, head };
    let media_type = |value: &[u8]| {
        value
            .split(|byte| *byte == b';')
            .next()
            .is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
    };
    fields.first("content-type").is_some_and(media_type)
}

fn later(deadline: Moment, upload: &Upload, patience: Millis) -> Moment {
    deadline.max(upload.pump.moved_at + patience).max(clock::now())
}

/// Why the backend's body could not be passed on.
fn backend_stop(stop: Stop) -> ProxyError {
    match stop {
        Stop::BadChunk(how) => ProxyError::with(Cause::BackendBadChunk, how),
        Stop::BadText => Cause::BackendBadChunk.into(),
        Stop::Truncated | Stop::TooLarge => Cause::BackendTruncated.into(),
        Stop::Source(error) => {
            ProxyError { cause: Cause::BackendTruncated, detail: error.to_string().into() }
        }
        Stop::Sink(error) => ProxyError::from_client(&error),
    }
}
