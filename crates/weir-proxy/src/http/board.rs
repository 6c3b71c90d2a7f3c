//! How a request gets to its backend: on a connection that was kept, over a new one, or beside others over HTTP/2.

use std::rc::Rc;

use h2::ext::Protocol;
use http::Method;
use weir_model::pool::{Pool, UpstreamProtocol};

use super::{exchange::Exchange, request::BodyLength, upload::Upload};
use crate::{
    choose::PoolState,
    error::{Cause, ProxyError},
    http2::{accept, head},
    tls::Carries,
    upstream::{Asked, Boarded, Errand, Introduction, Passenger, Upstream, Way, connect, introduction},
};

impl Exchange<'_> {
    /// A kept connection to the backend, for this request alone; `fresh` asks for a new one.
    #[inline]
    pub(super) fn reuse(&self, pool: &PoolState, backend: usize, fresh: bool) -> Option<Upstream> {
        let carries = self.carries(&pool.pool);
        let own = carries == Carries::Http1 || carries == Carries::Requests && pool.shared.is_http1(backend);
        if fresh || !own {
            return None;
        }
        // What could not be sent again is not sent on a connection that may be gone.
        let certain =
            !self.asked.repeatable || self.asked.body != BodyLength::None && !self.asked.body.is_short();
        match &pool.pool.send_proxy {
            None => pool.idle.take(&pool.pool, backend, certain),
            Some(_) => pool.idle.take_own(&pool.pool, backend, certain, self.conn.mark()),
        }
    }

    /// Reaches the backend over a new connection, or one that is shared; tells whether that had been used before.
    pub(super) async fn reach(
        &mut self,
        pool: &Rc<PoolState>,
        backend: usize,
        upload: &mut Upload,
    ) -> Result<(Way, bool), ProxyError> {
        let carries = self.carries(&pool.pool);
        if carries != Carries::Http1 {
            return self.board(pool, backend, carries, upload).await;
        }
        let introduction = self.introduction(&pool.pool);
        let errand = Errand { worker: &self.conn.worker, timer: self.timer, carries, introduction };
        let made = connect(&errand, &pool.pool, &pool.pool.backends[backend], self.until);
        Ok((Way::Own(made.await?), false))
    }

    /// What the connection is told of whose it is, if it is told.
    pub(super) fn introduction(&self, pool: &Pool) -> Option<Introduction> {
        introduction(self.conn, pool, self.kept.as_ref().map_or(&b""[..], |kept| kept.request_id()))
    }

    /// By what the request may go to backends of this pool.
    #[inline]
    pub(super) fn carries(&self, pool: &Pool) -> Carries {
        match (pool.protocol, &pool.tls) {
            // What it was made of was no message of HTTP/1.1 with a length any more.
            _ if self.bridged().is_some() => Carries::H2,
            (UpstreamProtocol::Http1, _) => Carries::Http1,
            (UpstreamProtocol::H2, _) => Carries::H2,
            // An upgrade is a matter of HTTP/1.1, and not every backend of HTTP/2 knows another way.
            (UpstreamProtocol::Auto, Some(_)) if self.asked.upgrade.is_some() => Carries::Http1,
            (UpstreamProtocol::Auto, Some(_)) => Carries::Requests,
            // Calls of gRPC come by HTTP/2 only.
            (UpstreamProtocol::Auto, None) if self.asked.call.is_some() => Carries::H2,
            (UpstreamProtocol::Auto, None) => Carries::Http1,
        }
    }

    /// Sends the head over a connection of HTTP/2 that is shared with others; or finds that the backend speaks HTTP/1.1. The
    /// flag tells whether the connection had been used before.
    ///
    /// # Errors
    /// If nothing could be sent.
    pub(super) async fn board(
        &mut self,
        pool: &Rc<PoolState>,
        backend: usize,
        carries: Carries,
        upload: &mut Upload,
    ) -> Result<(Way, bool), ProxyError> {
        let conn = self.conn;
        let passenger = Passenger {
            worker: &conn.worker,
            timer: self.timer,
            pool: &pool.pool,
            backend,
            carries,
            owner: pool.pool.send_proxy.as_ref().map(|_| conn.mark().clone()),
            until: self.until,
        };
        let (secure, upgrade) = (pool.pool.tls.is_some(), self.asked.upgrade.as_deref());
        let socket = upgrade.is_some_and(|asked| asked.eq_ignore_ascii_case(b"websocket"));
        let call = self.asked.call.is_some();
        let introduction = || self.introduction(&pool.pool);
        let boarded = pool.shared.board(&passenger, introduction, |trunk| {
            if socket && !trunk.takes_sockets() {
                let detail =
                    "it does not take WebSockets over HTTP/2 (RFC 8441); `protocol: http1` reaches it";
                return Err(ProxyError::with(Cause::BackendNoH2, detail));
            }
            asked(upload, secure, (socket, call))
        });
        match boarded.await? {
            Boarded::Lane(lane) => {
                upload.board(&lane.channel);
                let reused = lane.reused;
                Ok((Way::Shared(lane), reused))
            }
            Boarded::Own(_) if upload.sent.is_some() => {
                let detail =
                    "it does not speak HTTP/2, by which a part of the request was sent elsewhere before";
                Err(ProxyError::with(Cause::BackendNoH2, detail))
            }
            Boarded::Own(upstream) => Ok((Way::Own(upstream), false)),
        }
    }
}

/// The head of a request as HTTP/2 has it.
fn asked(upload: &mut Upload, secure: bool, (socket, call): (bool, bool)) -> Result<Asked, ProxyError> {
    let text = upload.pump.head();
    let unsaid = ProxyError::with(Cause::BackendNoH2, "the request cannot be said in HTTP/2");
    let mut request = head::read_request(text, secure, call).ok_or(unsaid)?;
    if !socket {
        let last = upload.begin_stream() && *request.method() != Method::CONNECT;
        return Ok(Asked { request, last, socket: None });
    }
    // RFC 8441 section 5: the key and its answer have no place here.
    let key = request.headers_mut().remove("sec-websocket-key");
    let key = key.as_ref().and_then(|key| key.to_str().ok()).unwrap_or_default();
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    upload.begin_stream();
    Ok(Asked { request, last: false, socket: Some(accept(key)) })
}
