//! The table of variables: their names, where they are known, what they mean.

/// Where a template stands, in the order in which an exchange comes to know things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Header fields of the forwarded request.
    Request,
    /// Header fields and body of an answer that weir gives itself.
    Answer,
    /// Header fields of the response to the client.
    Response,
    /// A line of the access log.
    Log,
}

impl Place {
    /// The place in words, for "is not known in …".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Request => "a request that is about to be forwarded",
            Self::Answer => "an answer that weir gives itself",
            Self::Response => "a response that is about to be sent",
            Self::Log => "the access log",
        }
    }
}

/// Which traffic has a value for a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// Requests and connections.
    Any,
    /// Requests only.
    Http,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Without the dollar. A family ends in `<name>`.
    pub name: &'static str,
    /// The first place that knows it; every later one does too.
    pub from: Place,
    /// Which traffic has it.
    pub protocols: Protocols,
    /// One sentence.
    pub meaning: &'static str,
}

macro_rules! variables {
    (
        $($plain:ident = $name:literal, $from:ident, $protocols:ident, $meaning:literal;)+
        ; families: $($family:ident = $prefix:literal, $family_from:ident, $family_meaning:literal;)+
    ) => {
        /// A variable of an exchange or a connection; the meanings stand in [`VARIABLES`].
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Variable {
            $(#[doc = $meaning] $plain,)+
            $(#[doc = $family_meaning] $family(Box<str>),)+
        }

        /// Every variable, in the order of the reference.
        pub const VARIABLES: &[Description] = &[
            $(Description {
                name: $name, from: Place::$from, protocols: Protocols::$protocols, meaning: $meaning,
            },)+
            $(Description {
                name: concat!($prefix, "<name>"), from: Place::$family_from, protocols: Protocols::Http,
                meaning: $family_meaning,
            },)+
        ];

        impl Variable {
            /// The variable of this name and the first place that knows it.
            pub(super) fn find(name: &str) -> Option<(Self, Place)> {
                $(if name == $name { return Some((Self::$plain, Place::$from)); })+
                $(if let Some(rest) = name.strip_prefix($prefix).filter(|rest| !rest.is_empty()) {
                    return Some((Self::$family(rest.into()), Place::$family_from));
                })+
                None
            }
        }
    };
}

variables! {
    ClientAddress = "client_address", Request, Any,
        "address of the client, after `trusted_proxies` was applied";
    ClientPort = "client_port", Request, Any,
        "port of the client; empty where the address was taken from X-Forwarded-For";
    PeerAddress = "peer_address", Request, Any, "address that the connection came from";
    Listener = "listener", Request, Any, "name of the listener";
    Route = "route", Request, Any, "name of the route; empty if none matched";
    Pool = "pool", Request, Any, "name of the pool; empty if none was chosen";
    Time = "time", Request, Any, "when the request or connection began: RFC 3339, UTC, milliseconds";
    TimeClf = "time_clf", Request, Any, "the same as `21/Nov/2026:02:35:33 +0000`";
    TimeUnix = "time_unix", Request, Any, "the same in seconds since 1970, with milliseconds";
    Protocol = "protocol", Request, Any, "`HTTP/2.0`, `HTTP/1.1`, `HTTP/1.0` or `TCP`";
    RequestId = "request_id", Request, Http,
        "X-Request-ID of a trusted proxy, or a new UUID (version 7)";
    Request = "request", Request, Http, "the request line as it came; of HTTP/2, method, target and `HTTP/2.0`";
    Method = "method", Request, Http, "method of the request";
    Scheme = "scheme", Request, Http, "`http` or `https`";
    TlsVersion = "tls_version", Request, Any, "`TLSv1.3` or `TLSv1.2`; empty if no TLS ends here";
    TlsCipher = "tls_cipher", Request, Any, "cipher suite of TLS; empty if none ends here";
    Sni = "sni", Request, Any, "name that the client asked for when it began TLS; empty if it asked for none";
    Alpn = "alpn", Request, Any, "protocol that was agreed on by ALPN; where TLS is passed through, those that the client offers";
    ClientCertSubject = "client_cert_subject", Request, Any,
        "subject of the client's certificate as RFC 4514 writes it; empty unless one was shown and verified";
    ClientCertSan = "client_cert_san", Request, Any,
        "names that it is for, such as `DNS:ops.example.com,URI:spiffe://mesh/ops`";
    ClientCertFingerprint = "client_cert_fingerprint", Request, Any,
        "its SHA-256, as hexadecimal digits";
    Host = "host", Request, Http, "host that was asked for, in lower case and without port";
    Target = "target", Request, Http, "target of the request as it came";
    Path = "path", Request, Http, "path that was matched, without query";
    Query = "query", Request, Http, "what stands behind `?` in the target";
    Status = "status", Answer, Http, "status code that the client was told; empty if none";
    GrpcStatus = "grpc_status", Log, Http,
        "number of the status that a call of gRPC ended with; empty if the request was none";
    Backend = "backend", Response, Any, "name of the backend tried last";
    BackendAddress = "backend_address", Response, Any, "address of the backend tried last, as configured";
    Cause = "cause", Log, Any, "stable code of what went wrong; empty if nothing did";
    Sentence = "sentence", Log, Any, "the same in plain words, with particulars";
    TerminationState = "termination_state", Log, Any, "the same as the four letters of HAProxy";
    Attempts = "attempts", Log, Any, "how many backends were asked, one counted again for each retry";
    Retries = "retries", Log, Any, "attempts beyond the first";
    HeadTime = "head_time", Log, Http, "from the first byte of the request to the end of its head";
    QueueTime = "queue_time", Log, Any, "how long the last attempt waited for a free connection of the pool";
    ConnectTime = "connect_time", Log, Any,
        "how long the last attempt took to connect; empty if the connection was kept";
    ResponseTime = "response_time", Log, Http,
        "from the connection of the last attempt to the end of the response head";
    Duration = "duration", Log, Any, "from the first byte to the last";
    BytesIn = "bytes_in", Log, Any, "bytes from the client: head and content";
    BytesOut = "bytes_out", Log, Any, "bytes sent to the client";
    BodyBytesOut = "body_bytes_out", Log, Any, "the same without the head";
    ; families:
    Header = "header_", Request,
        "field of the request; `_` stands for `-`; the first one if there are several";
    Cookie = "cookie_", Request, "cookie of the request; write `${cookie_my-name}` for a name with `-`";
    Parameter = "query_", Request, "parameter of the query, as it came";
    ResponseHeader = "response_header_", Response,
        "field of the backend's response; `_` stands for `-`; the first one if there are several";
}

/// True for the name of a variable, without the dollar.
pub fn is_variable(name: &str) -> bool {
    Variable::find(name).is_some()
}
