//! The request on its way to a backend, which may go on while the answer already comes.

use std::{
    io::ErrorKind,
    task::{Context, Poll},
};

use weir_model::time::Moment;

use super::{
    exchange::Exchange,
    pump::{Coding, Pump, Stop},
};
use crate::{
    buffer::Buffer,
    clock,
    duplex::Duplex,
    error::{Cause, ProxyError},
    http2::{Channel, Sent},
};

/// The request on its way to a backend.
pub(crate) struct Upload {
    pub(crate) pump: Pump,
    /// Nothing is left to be sent: all of it is gone, or the backend takes no more; its answer may still come.
    pub(super) over: bool,
    /// The start of the window that `body_min_rate` is averaged over.
    pub(super) window: Moment,
    /// What had been taken by then.
    pub(super) window_taken: u64,
    /// What has been sent to somebody else over HTTP/2, and has to be sent again before the rest.
    pub(super) sent: Option<Box<Sent>>,
    /// That is being done.
    pub(super) again: bool,
    /// The client has been told to go on (RFC 9110 section 10.1.1).
    pub(super) invited: bool,
}

impl Upload {
    /// True if nothing is left to be sent.
    #[inline]
    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    /// The client is told to go on: what it owes counts from now.
    pub(super) fn invite(&mut self) {
        self.invited = true;
        self.pump.moved_at = clock::now();
        self.window = clock::now();
    }

    /// True if all of it can be sent again, by HTTP/2 at least.
    pub(super) const fn can_resend(&self) -> bool {
        self.pump.taken == 0 || self.pump.can_restart() || self.sent.is_some()
    }

    /// Gets ready for another attempt; how it goes out is said anew.
    pub(super) fn restart(&mut self, coding: Coding, input: &mut Buffer) {
        (self.over, self.again) = (false, false);
        if self.pump.taken == 0 || self.pump.can_restart() {
            self.sent = None;
            self.pump.restart(coding, input);
        }
    }

    /// It goes out over a stream from now on, whose head says whether that is all.
    pub(super) fn begin_stream(&mut self) -> bool {
        self.pump.go_as_frames();
        self.sent.is_none() && self.pump.is_done()
    }

    /// What has been sent to somebody else goes out first.
    pub(super) fn board(&mut self, channel: &Channel) {
        if let Some(sent) = self.sent.take() {
            channel.send_again(sent);
            self.again = true;
        }
    }

    fn send(
        &mut self,
        cx: &mut Context<'_>,
        client: Duplex<'_>,
        input: &mut Buffer,
        backend: Duplex<'_>,
    ) -> Result<(), ProxyError> {
        if self.again
            && let Duplex::Frames(channel) = backend
        {
            match channel.poll_send_again(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(())) => self.again = false,
                Poll::Ready(Err(_)) => {
                    self.over = true;
                    return Ok(());
                }
            }
        }
        match self.pump.poll(cx, client, input, backend) {
            // It may have answered before it stopped reading.
            Poll::Ready(Ok(()) | Err(Stop::Sink(_))) => self.over = true,
            Poll::Ready(Err(stop)) => return Err(client_stop(stop)),
            Poll::Pending => {}
        }
        Ok(())
    }
}

impl Exchange<'_> {
    /// Sends what can be sent now of the request. Fails only if the client's side of it failed.
    #[inline]
    pub(super) fn advance(
        &self,
        cx: &mut Context<'_>,
        upload: &mut Upload,
        input: &mut Buffer,
        backend: Duplex<'_>,
    ) -> Result<(), ProxyError> {
        if upload.over {
            return Ok(());
        }
        upload.send(cx, self.client, input, backend)?;
        if !upload.over {
            self.count_came(&mut upload.pump);
        }
        Ok(())
    }

    /// Counts what has been passed on of a body that goes on, since this was done last: a long one is not to be seen at its end
    /// only.
    fn count_came(&self, pump: &mut Pump) {
        let more = pump.passed().saturating_sub(pump.counted);
        pump.counted += more;
        self.conn.counters(&self.listener).bytes_in.add(more);
    }
}

/// Why the client's body could not be passed on.
fn client_stop(stop: Stop) -> ProxyError {
    match stop {
        Stop::BadChunk(how) => ProxyError::with(Cause::ClientBadChunk, how),
        Stop::BadText => Cause::ClientBadText.into(),
        Stop::TooLarge => Cause::ClientBodyTooLarge.into(),
        Stop::Truncated => ProxyError::with(Cause::ClientAborted, "in the request body"),
        Stop::Source(error) | Stop::Sink(error) if error.kind() == ErrorKind::TimedOut => {
            Cause::ClientTimeoutBody.into()
        }
        Stop::Source(error) | Stop::Sink(error) => ProxyError::from_client(&error),
    }
}
