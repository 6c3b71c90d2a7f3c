//! Everything that can go wrong with an exchange or a connection, mapped in one place to a status, a stable cause
//! code and a plain sentence.

use std::{borrow::Cow, fmt, io};

use weir_model::grpc;

use crate::tls;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client sent it, or went away.
    Client,
    /// The backend did.
    Backend,
    /// We decided so.
    Ours,
}

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $side:ident, $status:literal, $sentence:literal;)*) => {
        /// The stable cause of a failure. The code appears in logs and metrics and never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Cause { $($(#[$doc])* $name,)* }

        impl Cause {
            /// Every cause, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable code.
            pub const fn code(self) -> &'static str { match self { $(Self::$name => $code,)* } }

            /// Whose fault it is.
            pub const fn side(self) -> Side { match self { $(Self::$name => Side::$side,)* } }

            /// The status that an HTTP client is told; 0 where nothing can be told any more.
            pub const fn status(self) -> u16 { match self { $(Self::$name => $status,)* } }

            /// One plain sentence.
            pub const fn sentence(self) -> &'static str { match self { $(Self::$name => $sentence,)* } }
        }
    };
}

causes! {
    /// RFC 9112 section 3.
    ClientBadRequestLine = "client_bad_request_line", Client, 400, "the request line is not HTTP";
    /// RFC 9112 section 5.
    ClientBadHeader = "client_bad_header", Client, 400, "a header field is malformed";
    /// RFC 9112 section 2.2: a line end that is not CR LF.
    ClientBadLineEnd = "client_bad_line_end", Client, 400, "a line ends without CR LF";
    /// RFC 9112 section 6.3: length and chunked together, or two lengths.
    ClientAmbiguousLength = "client_ambiguous_length", Client, 400, "the length of the body is ambiguous";
    /// RFC 9110 section 8.6.
    ClientBadLength = "client_bad_length", Client, 400, "Content-Length is not a number";
    /// RFC 9112 section 6.1.
    ClientBadTransferEncoding = "client_bad_transfer_encoding", Client, 400, "Transfer-Encoding is not exactly `chunked`";
    /// RFC 9112 section 7.1.
    ClientBadChunk = "client_bad_chunk", Client, 400, "a chunk of the request body is malformed";
    /// PROTOCOL-WEB of gRPC.
    ClientBadText = "client_bad_text", Client, 400, "the body of a gRPC-Web call in text is not base64";
    /// RFC 9112 section 3.2.
    ClientBadHost = "client_bad_host", Client, 400, "the request has no valid Host, or more than one";
    /// RFC 9112 section 3.2.
    ClientBadTarget = "client_bad_target", Client, 400, "the request target is malformed";
    /// RFC 9110 section 7.4.
    ClientMisdirected = "client_misdirected", Client, 421, "the request is for a scheme that this listener does not speak";
    /// RFC 9112 section 3.
    ClientUriTooLong = "client_uri_too_long", Client, 414, "the request target is longer than the header limit";
    /// RFC 6585 section 5.
    ClientHeaderTooLarge = "client_header_too_large", Client, 431, "the request head is larger than limits.header_bytes";
    /// RFC 6585 section 5.
    ClientTooManyHeaders = "client_too_many_headers", Client, 431, "the request has more header fields than limits.headers";
    /// RFC 9110 section 15.5.14.
    ClientBodyTooLarge = "client_body_too_large", Client, 413, "the request body is larger than limits.body";
    /// RFC 9110 section 15.6.6.
    ClientBadVersion = "client_bad_version", Client, 505, "the HTTP version is not 1.0 or 1.1";
    /// RFC 9110 section 15.5.6.
    ClientMethodRefused = "client_method_refused", Client, 405, "CONNECT and TRACE are not served";
    /// RFC 9110 section 10.1.1.
    ClientBadExpectation = "client_bad_expectation", Client, 417, "the only expectation that can be met is 100-continue";
    /// timeouts.header.
    ClientTimeoutHeader = "client_timeout_header", Client, 408, "the request head did not arrive within timeouts.header";
    /// timeouts.body_idle.
    ClientTimeoutBody = "client_timeout_body", Client, 408, "no byte of the request body came within timeouts.body_idle";
    /// timeouts.body_min_rate.
    ClientBodyTooSlow = "client_body_too_slow", Client, 408, "the request body came slower than timeouts.body_min_rate";
    /// timeouts.send_idle.
    ClientTimeoutSend = "client_timeout_send", Client, 0, "the client took nothing of the response within timeouts.send_idle";
    /// The client went away before its answer.
    ClientAborted = "client_aborted", Client, 499, "the client closed the connection before the exchange was complete";
    /// RFC 9112 section 3, or the preface of RFC 9113 section 3.4.
    ClientNotHttp = "client_not_http", Client, 0, "what the client sent begins neither HTTP/1 nor HTTP/2";
    /// RFC 9113 section 5.4.1.
    ClientHttp2 = "client_http2", Client, 0, "the client broke the rules of HTTP/2";
    /// RFC 9113 section 10.5.
    ClientHttp2Flood = "client_http2_flood", Client, 0, "the client sent more HTTP/2 frames that carry nothing than anybody needs";
    /// A listener with TLS, and a client that does not begin it.
    ClientNotTls = "client_not_tls", Client, 0, "the client does not speak TLS, and this listener speaks nothing else";
    /// RFC 8446 section 6.2.
    ClientTlsHandshake = "client_tls_handshake", Client, 0, "no TLS session came about with the client";
    /// timeouts.handshake.
    ClientTimeoutHandshake = "client_timeout_handshake", Client, 0, "what comes before the protocol did not arrive within timeouts.handshake";
    /// HAProxy's "The PROXY protocol".
    ClientProxyHeader = "client_proxy_header", Client, 0, "the connection does not begin with a PROXY header that can be believed";
    /// RFC 6066 section 3.
    ClientSniUnknown = "client_sni_unknown", Client, 0, "no listener of the address takes the name that the client asks for";
    /// max_connections, where the address is shared.
    ListenerFull = "listener_full", Ours, 0, "its listener has max_connections, and shares its address";
    /// RFC 9110 section 15.5.20.
    ClientMisdirectedHost = "client_misdirected_host", Client, 421, "the host of the request belongs to another listener of the address";
    /// allow and deny.
    ClientDenied = "client_denied", Client, 403, "the listener's allow and deny do not admit the client's address";
    /// 404.
    NoRoute = "no_route", Ours, 404, "no route of the listener matches";
    /// timeout of a route.
    TimeoutRoute = "timeout_route", Ours, 504, "the exchange was not complete within the timeout of its route";
    /// grpc-timeout.
    CallDeadline = "call_deadline", Ours, 504, "the call was not complete within its grpc-timeout";
    /// 503.
    NoHealthyBackend = "no_healthy_backend", Ours, 503, "no backend of the pool takes traffic";
    /// limits.requests.
    PoolRequestsLimit = "pool_requests_limit", Ours, 503, "the pool has limits.requests in flight";
    /// limits.pending.
    PoolQueueFull = "pool_queue_full", Ours, 503, "limits.pending exchanges already wait for a connection of the pool";
    /// limits.queue_timeout.
    PoolQueueTimeout = "pool_queue_timeout", Ours, 503, "no connection of the pool came free within limits.queue_timeout";
    /// Out of files or ports.
    OutOfResources = "out_of_resources", Ours, 503, "the process has no file or port left for a connection to the backend";
    /// ECONNREFUSED.
    BackendConnectRefused = "backend_connect_refused", Backend, 502, "the backend refused the connection";
    /// connect_timeout.
    BackendConnectTimeout = "backend_connect_timeout", Backend, 504, "the backend did not accept a connection within connect_timeout";
    /// Any other failure to connect.
    BackendConnectFailed = "backend_connect_failed", Backend, 502, "the backend could not be connected";
    /// Its name has no address.
    BackendUnresolved = "backend_unresolved", Backend, 502, "the backend's host name has no address";
    /// Its certificate.
    BackendTlsVerify = "backend_tls_verify", Backend, 502, "the backend's certificate cannot be trusted";
    /// Any other failure of a TLS handshake.
    BackendTlsHandshake = "backend_tls_handshake", Backend, 502, "no TLS could be agreed on with the backend";
    /// RFC 9113 section 3.2.
    BackendNoH2 = "backend_no_h2", Backend, 502, "the backend does not speak HTTP/2, and the pool's protocol is h2";
    /// Closed before a byte of the response.
    BackendClosed = "backend_closed", Backend, 502, "the backend closed the connection without an answer";
    /// Reset before a byte of the response.
    BackendReset = "backend_reset", Backend, 502, "the backend reset the connection";
    /// response_timeout.
    BackendTimeoutHeader = "backend_timeout_header", Backend, 504, "the backend did not answer within response_timeout";
    /// retry.per_try.
    BackendTimeoutTry = "backend_timeout_try", Backend, 504, "the backend did not answer within retry.per_try";
    /// stream_idle.
    BackendTimeoutBody = "backend_timeout_body", Backend, 504, "the backend fell silent in its answer for stream_idle";
    /// retry.retry_on: the status of an answer that another backend was asked for.
    BackendStatus = "backend_status", Backend, 502, "the backend answered with a status that the route tries again";
    /// The head is not HTTP.
    BackendBadResponse = "backend_bad_response", Backend, 502, "the backend's answer is not valid HTTP";
    /// The head is too large.
    BackendHeaderTooLarge = "backend_header_too_large", Backend, 502, "the head of the backend's answer is too large";
    /// Cut short or malformed after the head was passed on.
    BackendTruncated = "backend_truncated", Backend, 502, "the backend's answer ended before it was complete";
    /// A bad chunk in the body.
    BackendBadChunk = "backend_bad_chunk", Backend, 502, "a chunk of the backend's answer is malformed";
    /// 101 without being asked.
    BackendUnaskedUpgrade = "backend_unasked_upgrade", Backend, 502, "the backend switched protocols without being asked to";
    /// Its address was bound no more for shutdown.drain.
    BindClosed = "bind_closed", Ours, 503, "a reload has closed the address it came in at, and shutdown.drain is over";
    /// drain of a pool.
    DrainOver = "drain_over", Ours, 503, "its backend was taken out of service, and the drain of the pool was over before it ended";
    /// The end of the process, behind shutdown.drain or a second signal.
    ProcessStopped = "process_stopped", Ours, 503, "the process stopped before it ended: the time to drain was over, or it was told to stop at once";
    /// tcp: idle.
    TimeoutIdle = "timeout_idle", Client, 0, "no byte went either way within timeouts.idle";
    /// tunnels: idle.
    TimeoutTunnel = "timeout_tunnel", Client, 0, "no byte went either way within timeouts.tunnel";
}

impl Cause {
    /// The status of gRPC that a caller is told.
    pub const fn grpc_status(self) -> u8 {
        match self {
            Self::TimeoutRoute
            | Self::CallDeadline
            | Self::BackendTimeoutBody
            | Self::BackendTimeoutHeader
            | Self::BackendTimeoutTry
            | Self::TimeoutTunnel => grpc::DEADLINE_EXCEEDED,
            Self::ClientAborted => grpc::CANCELLED,
            Self::ClientDenied => grpc::PERMISSION_DENIED,
            Self::ClientUriTooLong
            | Self::ClientHeaderTooLarge
            | Self::ClientTooManyHeaders
            | Self::ClientBodyTooLarge => grpc::RESOURCE_EXHAUSTED,
            // What a backend answers that is no answer: the protocol knows it as what is broken.
            Self::BackendBadResponse
            | Self::BackendHeaderTooLarge
            | Self::BackendTruncated
            | Self::BackendBadChunk
            | Self::BackendUnaskedUpgrade => grpc::INTERNAL,
            _ => grpc::of_http(self.status()),
        }
    }
}

/// A failure: its cause, and what there is to say beyond the cause's own sentence.
#[derive(Debug, Clone)]
pub struct ProxyError {
    /// The stable cause.
    pub cause: Cause,
    /// Particulars, such as the system's error.
    pub detail: Cow<'static, str>,
}

impl ProxyError {
    /// A failure whose cause says it all.
    pub const fn new(cause: Cause) -> Self {
        Self { cause, detail: Cow::Borrowed("") }
    }

    /// A failure with particulars.
    pub const fn with(cause: Cause, detail: &'static str) -> Self {
        Self { cause, detail: Cow::Borrowed(detail) }
    }

    /// A failure of a connection to a backend.
    pub fn from_connect(error: &io::Error) -> Self {
        let cause = match error.kind() {
            io::ErrorKind::ConnectionRefused => Cause::BackendConnectRefused,
            io::ErrorKind::TimedOut => Cause::BackendConnectTimeout,
            _ if is_exhaustion(error) => Cause::OutOfResources,
            _ => Cause::BackendConnectFailed,
        };
        Self { cause, detail: Cow::Owned(error.to_string()) }
    }

    /// A failure of reading from or writing to a backend that had been connected.
    pub fn from_backend(error: &io::Error) -> Self {
        if let Some(refusal) = tls::afterthought(error) {
            return refusal;
        }
        Self { cause: Cause::BackendReset, detail: Cow::Owned(error.to_string()) }
    }

    /// A failure of reading from or writing to the client.
    pub fn from_client(error: &io::Error) -> Self {
        Self { cause: Cause::ClientAborted, detail: Cow::Owned(error.to_string()) }
    }
}

impl ProxyError {
    /// Says more about it.
    #[cold]
    pub(crate) fn add(&mut self, particular: &'static str) {
        self.detail = match &*self.detail {
            "" => Cow::Borrowed(particular),
            known => Cow::Owned(format!("{known}; {particular}")),
        };
    }

    /// True if there is nobody any more to try anything for: the client has left, or is cut.
    pub(crate) const fn ends_all(&self) -> bool {
        matches!(self.cause, Cause::ClientAborted | Cause::BindClosed | Cause::ProcessStopped)
    }

    /// Why nothing came of an exchange for which no backend was found behind the last one that failed: that failure, unless the
    /// search was not what came to nothing.
    #[cold]
    pub(crate) fn behind(self, last: Option<Self>) -> Self {
        match last {
            Some(last) if !self.ends_all() => last,
            _ => self,
        }
    }
}

impl From<Cause> for ProxyError {
    fn from(cause: Cause) -> Self {
        Self::new(cause)
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cause.sentence())?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}

/// True if the process or the host has run out of files, memory or ports.
pub fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| exhausted.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use weir_model::listener::ErrorPage;

    use super::*;

    #[test]
    fn pages_can_be_given_for_what_is_answered_and_for_nothing_else() {
        // 499 stands in logs, for clients that are gone.
        let told = Cause::ALL.iter().map(|cause| cause.status()).filter(|status| !matches!(status, 0 | 499));
        let told: Vec<_> = told.collect::<BTreeSet<_>>().into_iter().collect();
        assert_eq!(told, ErrorPage::STATUSES);
    }
}
