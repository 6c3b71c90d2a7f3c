//! The path's own judgement of requests, as `explain` asks for it.

use weir_control::explain::{Question, Refused, Rehearse, Rehearsed};
use weir_model::{
    listener::Listener,
    route::{RequestFacts, Route},
};
use weir_proxy::{
    Rehearsal,
    error::{Cause, ProxyError},
};

/// Judges with weir-proxy's code.
#[derive(Clone, Copy, Debug)]
pub struct Path;

/// A request that weir-proxy judged.
#[derive(Debug)]
pub struct Judged(Rehearsal);

impl Rehearse for Path {
    type Request = Judged;

    fn rehearse(&self, listener: &Listener, question: &Question) -> Result<Judged, Refused> {
        Rehearsal::new(listener, question.head(), question.source.ip(), question.server_name().as_deref())
            .map(Judged)
            .map_err(|error| refused(&error))
    }

    fn connect(&self, listener: &Listener, question: &Question) -> Result<(), Refused> {
        if listener.access.admits(question.source.ip()) {
            return Ok(());
        }
        let denied = refused(&Cause::ClientDenied.into());
        // Nothing is said on a connection of bytes.
        Err(Refused { status: 0, ..denied })
    }
}

impl Rehearsed for Judged {
    fn facts(&self) -> impl RequestFacts {
        self.0.facts()
    }

    fn refused_by(&self, route: &Route) -> Option<Refused> {
        self.0.refused_by(route).map(|cause| refused(&cause.into()))
    }

    fn is_last(&self) -> bool {
        self.0.is_last()
    }

    fn is_idempotent(&self) -> bool {
        self.0.is_idempotent()
    }

    fn can_resend(&self) -> Option<bool> {
        self.0.can_resend()
    }

    fn forwarded(&self, route: &Route) -> Vec<u8> {
        self.0.forwarded(route)
    }

    fn answered(&self, route: &Route) -> Vec<u8> {
        self.0.answered(route)
    }
}

fn refused(error: &ProxyError) -> Refused {
    Refused { code: error.cause.code(), status: error.cause.status(), sentence: error.to_string() }
}
