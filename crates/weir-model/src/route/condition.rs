//! One condition of a route: every matcher in it holds.

use std::sync::Arc;

use super::{
    CertificateMatch, GrpcMatch, HostMatch, PathMatch, RequestFacts, TextMatch, fields, host::without_dot,
};
use crate::listener::Networks;

/// Every matcher holds; without any it takes everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// What must hold.
    pub matchers: Vec<Matcher>,
}

/// One thing asked about a request. A list holds if any of its members does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matcher {
    /// The host.
    Host(Vec<HostMatch>),
    /// The path.
    Path(Vec<PathMatch>),
    /// The method, in its exact case.
    Method(Vec<Arc<str>>),
    /// A header field of this name (lower case).
    Header(Arc<str>, Vec<TextMatch>),
    /// A query parameter of this name; name and value are compared after percent-decoding.
    Query(Arc<str>, Vec<TextMatch>),
    /// A cookie of this name.
    Cookie(Arc<str>, Vec<TextMatch>),
    /// The client's address.
    Source(Networks),
    /// The name that the client asked for when it began TLS.
    ServerName(Vec<HostMatch>),
    /// A protocol named by ALPN.
    Protocol(Vec<Arc<str>>),
    /// The client's certificate.
    Certificate(CertificateMatch),
    /// A call of gRPC.
    Grpc(GrpcMatch),
    /// None of these conditions holds.
    Not(Vec<Condition>),
}

impl Condition {
    /// True if the request is taken.
    pub fn holds(&self, request: &impl RequestFacts) -> bool {
        self.failing(request).is_none()
    }

    /// The first matcher that does not hold; the data path and `explain` both ask here.
    pub fn failing(&self, request: &impl RequestFacts) -> Option<&Matcher> {
        self.matchers.iter().find(|matcher| !matcher.holds(request))
    }

    /// True if it names CONNECT among the methods it takes.
    pub(crate) fn names_connect(&self) -> bool {
        let names = |matcher: &Matcher| match matcher {
            Matcher::Method(methods) => methods.iter().any(|method| &**method == "CONNECT"),
            _ => false,
        };
        self.matchers.iter().any(names)
    }

    /// The host patterns, if it asks for a host.
    pub(crate) fn hosts(&self) -> Option<&[HostMatch]> {
        self.matchers.iter().find_map(|matcher| match matcher {
            Matcher::Host(hosts) => Some(&**hosts),
            _ => None,
        })
    }

    /// The path patterns, if it asks for a path.
    pub(crate) fn paths(&self) -> Option<&[PathMatch]> {
        self.matchers.iter().find_map(|matcher| match matcher {
            Matcher::Path(paths) => Some(&**paths),
            _ => None,
        })
    }

    /// Path patterns of which one takes the path of every request that it takes, if there are any.
    pub(super) fn places(&self) -> Option<&[PathMatch]> {
        self.matchers.iter().find_map(|matcher| match matcher {
            Matcher::Path(paths) => Some(&**paths),
            Matcher::Grpc(calls) if !calls.paths().is_empty() => Some(calls.paths()),
            _ => None,
        })
    }
}

impl Matcher {
    /// True if it holds for the request.
    pub fn holds(&self, request: &impl RequestFacts) -> bool {
        match self {
            Self::Host(hosts) => {
                let host = without_dot(request.host());
                hosts.iter().any(|pattern| pattern.takes(host))
            }
            Self::Path(paths) => paths.iter().any(|pattern| pattern.takes(request.path())),
            Self::Method(methods) => methods.iter().any(|method| method.as_bytes() == request.method()),
            Self::Header(name, texts) => {
                any_text(texts, |each| request.any_header(name, &mut |value| each(value)))
            }
            Self::Query(name, texts) => any_text(texts, |each| any_parameter(request, name, each)),
            Self::Cookie(name, texts) => any_text(texts, |each| any_cookie(request, name, each)),
            Self::Source(networks) => networks.contains(request.source()),
            Self::ServerName(hosts) => {
                let name = request.server_name().unwrap_or_default();
                hosts.iter().any(|pattern| pattern.takes(name.as_bytes()))
            }
            Self::Protocol(names) => {
                request.any_protocol(&mut |offered| names.iter().any(|name| name.as_bytes() == offered))
            }
            Self::Certificate(wanted) => wanted.takes(request.identity()),
            Self::Grpc(calls) => calls.takes(request),
            Self::Not(conditions) => !conditions.iter().any(|condition| condition.holds(request)),
        }
    }
}

/// True if one of the texts takes one of the values that `values` walks over, or takes that there is none.
fn any_text(texts: &[TextMatch], values: impl Fn(&mut dyn FnMut(&[u8]) -> bool) -> bool) -> bool {
    texts.iter().any(|text| {
        if text.takes_absence() { !values(&mut |_| true) } else { values(&mut |value| text.takes(value)) }
    })
}

/// Calls `each` for every value of a query parameter, decoded, until it returns true.
pub(super) fn any_parameter(
    request: &impl RequestFacts,
    name: &str,
    each: &mut dyn FnMut(&[u8]) -> bool,
) -> bool {
    let query = request.query().unwrap_or_default();
    fields::parameters(query)
        .any(|(key, value)| fields::decodes_to(key, name.as_bytes()) && each(&fields::decoded(value)))
}

/// Calls `each` for every value of a cookie until it returns true. A request may carry several Cookie fields
/// (RFC 9113 section 8.2.3).
pub(super) fn any_cookie(
    request: &impl RequestFacts,
    name: &str,
    each: &mut dyn FnMut(&[u8]) -> bool,
) -> bool {
    request.any_header("cookie", &mut |field| {
        fields::cookies(field).any(|(key, value)| key == name.as_bytes() && each(value))
    })
}
