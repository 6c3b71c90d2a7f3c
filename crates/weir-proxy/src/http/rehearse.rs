//! A request that nobody sends: parsed, judged and rewritten by the code that does it for traffic, so that `explain`
//! cannot say anything else than what would happen.

use std::net::IpAddr;

use weir_model::{
    listener::{Listener, Protocol},
    route::{RequestFacts, Route},
};

use super::{
    decide::source,
    names::Name,
    reply,
    request::{BodyLength, Facts, RequestHead},
    write::{Client, write_request},
};
use crate::{
    conn::forwarded_for,
    error::{Cause, ProxyError},
    tls::{Known, hello::Hello},
};

/// A judged request that stays where it is.
#[derive(Debug)]
pub struct Rehearsal {
    bytes: Vec<u8>,
    request: RequestHead,
    peer: IpAddr,
    source: IpAddr,
    trusted: bool,
    secure: bool,
    hello: Hello,
}

impl Rehearsal {
    /// Judges a request head as it would come to this listener from `peer`, who has asked for `server_name` if the listener
    /// speaks TLS.
    ///
    /// # Errors
    /// Why the listener would refuse it.
    pub fn new(
        listener: &Listener,
        mut bytes: Vec<u8>,
        peer: IpAddr,
        server_name: Option<&str>,
    ) -> Result<Self, ProxyError> {
        let mut request = RequestHead::default();
        let length = request.parse(&bytes, listener.limits.headers)?;
        let length = length.ok_or(ProxyError::new(Cause::ClientBadRequestLine))?;
        if length > listener.limits.header_bytes {
            return Err(Cause::ClientHeaderTooLarge.into());
        }
        bytes.truncate(length);
        request.judge(&bytes, listener)?;
        let (source, trusted) = source(listener, &request, &bytes, peer);
        if !listener.access.admits(source) {
            return Err(Cause::ClientDenied.into());
        }
        let secure = listener.protocol == Protocol::Https;
        let hello = Hello::asking_for(server_name.filter(|_| secure));
        Ok(Self { bytes, request, peer, source, trusted, secure, hello })
    }

    /// What routes may ask about it.
    pub fn facts(&self) -> impl RequestFacts {
        let tls = Known { hello: Some(&self.hello), facts: None, secure: self.secure };
        Facts { head: &self.request, bytes: &self.bytes, source: self.source, tls }
    }

    /// Why it is refused although this route takes it.
    pub fn refused_by(&self, route: &Route) -> Option<Cause> {
        self.request.is_refused_by(route).then_some(Cause::ClientMethodRefused)
    }

    /// True if it may be passed on no more, so that no backend is asked.
    pub fn is_last(&self) -> bool {
        self.request.is_last()
    }

    /// True if it may be sent a second time after it was sent once.
    pub fn is_idempotent(&self) -> bool {
        self.request.idempotent
    }

    /// True if its content can be sent a second time; none if it does not say that it has any.
    pub fn can_resend(&self) -> Option<bool> {
        match self.request.body {
            BodyLength::None => self.request.lines.of_kind(Name::ContentLength).next().map(|_| true),
            body => Some(body.is_short()),
        }
    }

    /// The head that a backend gets if this route takes it, but for fields whose values name facts of an exchange.
    pub fn forwarded(&self, route: &Route) -> Vec<u8> {
        let mut out = Vec::new();
        let forwarded_for = forwarded_for(self.peer);
        let client = Client {
            forwarded_for: forwarded_for.as_bytes(),
            local: b"",
            secure: self.secure,
            trusted: self.trusted,
            known: None,
        };
        write_request(&mut out, &self.bytes, &self.request, route, client, self.request.expects_continue);
        out
    }

    /// The fields of the answer that this route gives by itself, but for those too.
    pub fn answered(&self, route: &Route) -> Vec<u8> {
        let mut out = Vec::new();
        reply::write_answer(&mut out, &self.bytes, &self.request, route, (self.secure, b"", None));
        out
    }
}
