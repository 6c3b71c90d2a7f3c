//! Connections to backends: made, kept for reuse, and limited in number.

mod addresses;
mod connect;
mod gate;
mod reuse;
mod shared;
mod trunk;

use std::rc::{Rc, Weak};

use weir_model::time::Moment;

use crate::{conn::Mark, duplex::Duplex, io::Stream};

pub(crate) use addresses::Unreached;
pub(crate) use connect::{Errand, Introduction, connect, introduction};
pub(crate) use gate::{Gate, Hold, Permit, Tried, Wait, add_below};
pub(crate) use reuse::Idle;
pub(crate) use shared::{Boarded, Passenger, Shared};
pub(crate) use trunk::{Asked, Lane};

/// A connection to a backend.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) stream: Stream,
    /// When it was made.
    pub(crate) opened: Moment,
    /// When it was last put aside.
    pub(crate) idle_since: Moment,
    /// Requests it has carried.
    pub(crate) requests: u64,
    /// The client connection that it is for: the backend was told whose it is. None if it may carry anybody's requests.
    pub(crate) owner: Option<Weak<Mark>>,
}

/// How a backend is reached for one exchange.
pub(crate) enum Way {
    /// Over a connection that carries one exchange at a time.
    Own(Upstream),
    /// Over a connection of HTTP/2 that many exchanges share.
    Shared(Box<Lane>),
}

impl Way {
    /// Where the request goes to, and the answer comes from.
    #[inline]
    pub(crate) fn duplex(&self) -> Duplex<'_> {
        match self {
            Self::Own(upstream) => Duplex::Bytes(&upstream.stream),
            Self::Shared(lane) => Duplex::Frames(&lane.channel),
        }
    }
}

impl Upstream {
    /// True if it may carry requests of this client connection.
    fn belongs_to(&self, owner: &Rc<Mark>) -> bool {
        self.owner.as_ref().is_some_and(|own| own.as_ptr() == Rc::as_ptr(owner))
    }

    /// It is not used any more, and nothing is left to be said on it: where TLS is spoken, the backend is told so.
    fn part(&self) {
        if self.stream.facts().is_some() {
            // A backend that takes nothing now is not waited for.
            let _ = self.stream.finish();
        }
    }

    /// True if the client connection that it is for has ended.
    fn is_orphaned(&self) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.strong_count() == 0)
    }
}
