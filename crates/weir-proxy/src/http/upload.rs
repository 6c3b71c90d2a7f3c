//! The request on its way to a backend, which may go on while the answer already comes.

use std::{
    io::ErrorKind,
    task::{Context, Poll},
};

use weir_model::time::Moment;

use super::pump::{Pump, Stop};
use crate::{
    buffer::Buffer,
    duplex::Duplex,
    error::{Cause, ProxyError},
};

/// The request on its way to a backend.
pub(crate) struct Upload {
    pub(crate) pump: Pump,
    /// The backend takes no more of it; its answer may still come.
    pub(crate) cut: bool,
    /// The start of the window that `body_min_rate` is averaged over.
    pub(super) window: Moment,
    /// What had been taken by then.
    pub(super) window_taken: u64,
}

impl Upload {
    /// True if nothing is left to be sent.
    pub(crate) fn is_over(&self) -> bool {
        self.cut || self.pump.is_done()
    }

    /// Sends what can be sent now. Fails only if the client's side of it failed.
    pub(crate) fn advance(
        &mut self,
        cx: &mut Context<'_>,
        client: Duplex<'_>,
        input: &mut Buffer,
        backend: Duplex<'_>,
    ) -> Result<(), ProxyError> {
        if self.is_over() {
            return Ok(());
        }
        match self.pump.poll(cx, client, input, backend) {
            // It may have answered before it stopped reading.
            Poll::Ready(Err(Stop::Sink(_))) => self.cut = true,
            Poll::Ready(Err(stop)) => return Err(client_stop(stop)),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        Ok(())
    }
}

/// Why the client's body could not be passed on.
fn client_stop(stop: Stop) -> ProxyError {
    match stop {
        Stop::BadChunk => Cause::ClientBadChunk.into(),
        Stop::TooLarge => Cause::ClientBodyTooLarge.into(),
        Stop::Truncated => ProxyError::with(Cause::ClientAborted, "in the request body"),
        Stop::Source(error) | Stop::Sink(error) if error.kind() == ErrorKind::TimedOut => {
            Cause::ClientTimeoutBody.into()
        }
        Stop::Source(error) | Stop::Sink(error) => ProxyError::from_client(&error),
    }
}
