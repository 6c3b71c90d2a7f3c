//! Bytes both ways until both ends have finished: TCP connections and upgraded ones.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};

use weir_model::{
    status::{Drain, ListenerCounters},
    time::Millis,
};

use crate::{
    buffer::{Buffer, LARGE},
    clock,
    conn::Conn,
    duplex::Duplex,
    error::{Cause, ProxyError},
    io::insist,
    timer::Timer,
};

/// What was carried, and how it ended.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) to_backend: u64,
    pub(crate) to_client: u64,
    pub(crate) end: Result<(), ProxyError>,
    /// It ended early, by the drain of its backend, and everything that was read has been passed on: both sides may see an end, and
    /// not a break.
    pub(crate) orderly: bool,
}

/// One direction. It holds a buffer only while bytes are in it.
#[derive(Debug)]
struct Direction {
    buffer: Buffer,
    carried: u64,
    ended: bool,
    finished: bool,
}

/// Which end failed.
enum Broken {
    Source(io::Error),
    Sink(io::Error),
}

impl Direction {
    fn new(buffer: Buffer) -> Self {
        Self { buffer, carried: 0, ended: false, finished: false }
    }

    /// Moves what can be moved; ready once the source has ended and the sink has been told.
    fn poll(&mut self, cx: &mut Context<'_>, from: Duplex<'_>, to: Duplex<'_>) -> Poll<Result<(), Broken>> {
        while !self.finished {
            while !self.buffer.is_empty() {
                let count = ready!(to.poll_write(cx, self.buffer.filled())).map_err(Broken::Sink)?;
                self.buffer.consume(count);
                self.carried += count as u64;
            }
            if self.ended {
                if from.is_truncated() {
                    // Nobody has said that this was all, and we do not say it either.
                    to.finish_unsaid();
                } else {
                    ready!(to.poll_finish(cx));
                }
                self.finished = true;
                break;
            }
            match ready!(from.poll_fill(cx, &mut self.buffer)).map_err(Broken::Source)? {
                0 => self.ended = true,
                // Filled to the brim: worth fewer, larger transfers from here on.
                _ if !self.buffer.has_space() => self.buffer.grow(LARGE),
                _ => {}
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Carries bytes both ways. An end of stream on one side is passed on while the other direction goes on
/// (RFC 9293 section 3.6); no byte either way for `idle` ends both, and so does a client that takes nothing of what waits
/// for it for `send_idle`, and the end of the drain of a backend that is let go. Bytes are counted as they go.
pub(crate) async fn relay(
    (conn, client, timer): (&Conn, Duplex<'_>, &Timer),
    (backend, drain, counters): (Duplex<'_>, &Drain, &ListenerCounters),
    idle: Millis,
    send_idle: Millis,
    early_from_client: Buffer,
    early_from_backend: Buffer,
) -> Carried {
    let mut up = Direction::new(early_from_client);
    let mut down = Direction::new(early_from_backend);
    let (mut carried, mut moved_at) = ((0, 0), clock::now());
    // What had been taken by the client when it was last seen to take something, or had nothing to take.
    let (mut taken, mut taken_at) = (0, clock::now());
    timer.tie(true);
    let end = poll_fn(|cx| {
        let upward = up.poll(cx, client, backend);
        counters.bytes_in.add(up.carried - carried.0);
        if let Poll::Ready(Err(broken)) = upward {
            return Poll::Ready(Err(match broken {
                Broken::Source(error) => ProxyError::from_client(&error),
                Broken::Sink(error) => ProxyError::from_backend(&error),
            }));
        }
        let downward = down.poll(cx, backend, client);
        counters.bytes_out.add(down.carried - carried.1);
        if let Poll::Ready(Err(broken)) = downward {
            return Poll::Ready(Err(match broken {
                Broken::Source(error) => ProxyError::from_backend(&error),
                Broken::Sink(error) => ProxyError::from_client(&error),
            }));
        }
        if upward.is_ready() && downward.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if (up.carried, down.carried) != carried {
            (carried, moved_at) = ((up.carried, down.carried), clock::now());
        }
        if let Some(cause) = conn.cut() {
            return Poll::Ready(Err(cause.into()));
        }
        if down.buffer.is_empty() || down.carried != taken {
            (taken, taken_at) = (down.carried, clock::now());
        }
        let (mut deadline, mut cause) = (moved_at + idle, Cause::TimeoutIdle);
        if !down.buffer.is_empty() && taken_at + send_idle < deadline {
            (deadline, cause) = (taken_at + send_idle, Cause::ClientTimeoutSend);
        }
        if drain.ends() < deadline {
            (deadline, cause) = (drain.ends(), Cause::DrainOver);
        }
        timer.set(deadline);
        if !timer.poll_elapsed(cx) {
            return Poll::Pending;
        }
        if cause == Cause::ClientTimeoutSend {
            // One who reads slowly is not one who reads nothing.
            let before = down.carried;
            let polled = insist(|| down.poll(cx, backend, client));
            timer.set(clock::now() + send_idle);
            if !matches!(polled, Poll::Ready(Err(_))) && down.carried > before && !timer.poll_elapsed(cx) {
                return Poll::Pending;
            }
        }
        Poll::Ready(Err(cause.into()))
    })
    .await;
    let drained = end.as_ref().is_err_and(|error| error.cause == Cause::DrainOver);
    if drained {
        drain.count_cut();
    }
    let whole = up.buffer.is_empty() && down.buffer.is_empty();
    Carried { to_backend: up.carried, to_client: down.carried, end, orderly: drained && whole }
}
