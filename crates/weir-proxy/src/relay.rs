//! Bytes both ways until both ends have finished: TCP connections and upgraded ones.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll, ready},
};

use weir_model::time::Millis;

use crate::{
    buffer::{Buffer, LARGE, Spare},
    clock,
    conn::Conn,
    error::{Cause, ProxyError},
    io::Stream,
};

/// What was carried, and how it ended.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) to_backend: u64,
    pub(crate) to_client: u64,
    pub(crate) end: Result<(), ProxyError>,
}

/// One direction. It holds a buffer only while bytes are in it.
#[derive(Debug, Default)]
struct Direction {
    buffer: Option<Buffer>,
    carried: u64,
    ended: bool,
    finished: bool,
    /// The last read filled its buffer: the next one gets a larger one.
    bulky: bool,
}

/// Which end failed.
enum Broken {
    Source(io::Error),
    Sink(io::Error),
}

impl Direction {
    fn new(early: Option<Buffer>) -> Self {
        Self { buffer: early.filter(|buffer| !buffer.is_empty()), ..Self::default() }
    }

    /// Moves what can be moved; ready once the source has ended and the sink has been told.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &Stream,
        to: &Stream,
        spare: &Rc<Spare>,
    ) -> Poll<Result<(), Broken>> {
        while !self.finished {
            if let Some(buffer) = &mut self.buffer {
                while !buffer.is_empty() {
                    let slices = [IoSlice::new(buffer.filled())];
                    let count = ready!(to.poll_write(cx, &slices)).map_err(Broken::Sink)?;
                    buffer.consume(count);
                    self.carried += count as u64;
                }
                self.buffer = None;
            }
            if self.ended {
                to.finish();
                self.finished = true;
                break;
            }
            ready!(from.poll_readable(cx)).map_err(Broken::Source)?;
            let mut buffer = spare.take();
            if self.bulky {
                buffer.grow(LARGE);
            }
            match from.read_now(buffer.space()) {
                None => {}
                Some(Ok(0)) => self.ended = true,
                Some(Ok(count)) => {
                    buffer.filled_by(count);
                    self.bulky = !buffer.has_space();
                    self.buffer = Some(buffer);
                }
                Some(Err(error)) => return Poll::Ready(Err(Broken::Source(error))),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Carries bytes both ways. An end of stream on one side is passed on while the other direction goes on
/// (RFC 9293 section 3.6); no byte either way for `idle` ends both.
pub(crate) async fn relay(
    conn: &Conn,
    backend: &Stream,
    idle: Millis,
    early_from_client: Option<Buffer>,
    early_from_backend: Option<Buffer>,
) -> Carried {
    let mut up = Direction::new(early_from_client);
    let mut down = Direction::new(early_from_backend);
    let (mut carried, mut moved_at) = (0, clock::now());
    let spare = &conn.worker.spare;
    let end = poll_fn(|cx| {
        let upward = up.poll(cx, &conn.stream, backend, spare);
        if let Poll::Ready(Err(broken)) = upward {
            return Poll::Ready(Err(match broken {
                Broken::Source(error) => ProxyError::from_client(&error),
                Broken::Sink(error) => ProxyError::from_backend(&error),
            }));
        }
        let downward = down.poll(cx, backend, &conn.stream, spare);
        if let Poll::Ready(Err(broken)) = downward {
            return Poll::Ready(Err(match broken {
                Broken::Source(error) => ProxyError::from_backend(&error),
                Broken::Sink(error) => ProxyError::from_client(&error),
            }));
        }
        if upward.is_ready() && downward.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if up.carried + down.carried != carried {
            (carried, moved_at) = (up.carried + down.carried, clock::now());
        }
        conn.timer.set(moved_at + idle);
        if conn.timer.poll_elapsed(cx) { Poll::Ready(Err(Cause::TimeoutIdle.into())) } else { Poll::Pending }
    })
    .await;
    Carried { to_backend: up.carried, to_client: down.carried, end }
}
