//! Routes: which requests a route takes, and what becomes of them.
//!
//! The same [`RouteTable`] answers the data path and `explain`; it reads a request through [`RequestFacts`] only.

mod client_cert;
mod condition;
mod connection;
mod dots;
mod edit;
mod escapes;
mod explain;
mod fields;
mod grpc;
mod host;
mod index;
mod path;
mod retry;
mod table;
mod text;

use std::{net::IpAddr, sync::Arc};

pub use client_cert::{CertificateMatch, NameMatch};
pub use condition::{Condition, Matcher};
pub use connection::{ConnectionFacts, ProtocolNames};
pub use dots::{has_dot_segments, resolve_dot_segments};
pub use edit::{HeaderEdits, Rewrite, RewritePath};
pub use escapes::{escaped, escapes, is_unreserved};
pub use explain::Verdict;
pub(crate) use fields::decoded_into;
pub use fields::{cookie, parameter};
pub use grpc::GrpcMatch;
pub use host::HostMatch;
pub use path::PathMatch;
pub use retry::{Retry, RetryMethods, RetryOn};
pub use table::RouteTable;
pub use text::TextMatch;

use crate::{
    pool::PoolIndex,
    status::{RouteCounters, RouteStatus},
    template::{Escape, Template},
    time::Millis,
    tls::Identity,
};

/// What a route may ask about a request. Implementations read from the request's own bytes, without copies.
pub trait RequestFacts {
    /// The method, as sent (methods are case-sensitive).
    fn method(&self) -> &[u8];
    /// The host in lower case, without port; empty if the request names none.
    fn host(&self) -> &[u8];
    /// The path that is matched and forwarded: normalised, without query.
    fn path(&self) -> &[u8];
    /// What stands after `?`, if there is one.
    fn query(&self) -> Option<&[u8]>;
    /// Calls `each` for the value of every field of that name (compared without case) until it returns true;
    /// returns whether it did.
    fn any_header(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) -> bool;
    /// The client's address after trust was applied.
    fn source(&self) -> IpAddr;
    /// The host that the client asked for when it began TLS, in lower case and without a final dot; none without TLS, or
    /// if it asked for none.
    fn server_name(&self) -> Option<&str> {
        None
    }
    /// Calls `each` for protocols named by ALPN until it returns true; returns whether it did. Where TLS ends here that is
    /// the one that was agreed on, where it is passed through those that the client offers.
    fn any_protocol(&self, _each: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
    /// Who the client is by a certificate that was verified; none if it has shown none.
    fn identity(&self) -> Option<&Identity> {
        None
    }
}

/// One compiled route.
#[derive(Debug)]
pub struct Route {
    /// From the file, or made from the match; appears in logs, metrics, explain.
    pub name: Arc<str>,
    /// Any of them holds; empty takes everything.
    pub conditions: Vec<Condition>,
    /// What becomes of a request that matched.
    pub action: Action,
    /// Applied before the request is forwarded.
    pub rewrite: Option<Rewrite>,
    /// Edits of the forwarded request.
    pub request_headers: HeaderEdits,
    /// Edits of the response to the client.
    pub response_headers: HeaderEdits,
    /// Calls of gRPC-Web are made calls of gRPC for the backend.
    pub grpc_web: bool,
    /// For the whole exchange, from the end of the request head to the end of the answer; none unless given.
    pub timeout: Millis,
    /// What is tried again.
    pub retry: Retry,
    /// True if anything that it writes holds a variable.
    pub has_variables: bool,
    /// Its counters, one for each arm of a split and one for any other action; they survive reloads.
    pub status: Vec<Arc<RouteStatus>>,
}

impl Route {
    /// True if it was written for requests for a tunnel: it names CONNECT as a method.
    pub fn names_connect(&self) -> bool {
        self.conditions.iter().any(Condition::names_connect)
    }

    /// The sum of something over all arms and workers.
    pub fn sum(&self, of: impl Fn(&RouteCounters) -> u64) -> u64 {
        let mut sum = 0u64;
        for (number, status) in self.status.iter().enumerate() {
            // Two arms with the same pool have one status between them.
            if !self.status[..number].iter().any(|other| Arc::ptr_eq(other, status)) {
                sum = sum.wrapping_add(status.shards.sum(&of));
            }
        }
        sum
    }
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Action {
    /// Goes to one backend of this pool.
    Pool(PoolIndex),
    /// Goes to one of several pools, drawn by weight per request.
    Split(Split),
    /// Is answered with a redirect.
    Redirect(Redirect),
    /// Is answered with a fixed response.
    Respond(Respond),
}

impl Action {
    /// The pools that it may lead to, in the order of [`Route::status`].
    pub fn pools(&self) -> impl Iterator<Item = PoolIndex> {
        let (one, many) = match self {
            Self::Pool(pool) => (Some(*pool), [].as_slice()),
            Self::Split(split) => (None, split.arms.as_slice()),
            Self::Redirect(_) | Self::Respond(_) => (None, [].as_slice()),
        };
        one.into_iter().chain(many.iter().map(|(pool, _)| *pool))
    }

    /// The key in the file.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pool(_) => "pool",
            Self::Split(_) => "split",
            Self::Redirect(_) => "redirect",
            Self::Respond(_) => "respond",
        }
    }
}

/// Pools and their shares.
#[derive(Debug, Clone)]
pub struct Split {
    /// Pool and weight; at least one weight is above 0.
    pub arms: Vec<(PoolIndex, u32)>,
}

impl Split {
    /// The number of the arm that a draw falls into; `draw` may be any number, spread evenly.
    pub fn pick(&self, draw: u64) -> usize {
        let total: u64 = self.arms.iter().map(|(_, weight)| u64::from(*weight)).sum();
        // Multiply-shift instead of modulo: no bias that matters, no division.
        let mut point = ((u128::from(draw) * u128::from(total)) >> 64) as u64;
        for (arm, (_, weight)) in self.arms.iter().enumerate() {
            if point < u64::from(*weight) {
                return arm;
            }
            point -= u64::from(*weight);
        }
        0
    }
}

/// A redirect: what is absent is kept from the request (RFC 9110 section 15.4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<Arc<str>>,
    /// A host without port.
    pub host: Option<Arc<str>>,
    /// A port; the scheme's own port is not written.
    pub port: Option<u16>,
    /// How the path changes.
    pub path: RewritePath,
    /// 301, 302, 303, 307 or 308.
    pub code: u16,
}

/// A fixed response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// The body; empty unless given.
    pub body: Body,
    /// Header fields beside Content-Length and Date.
    pub headers: Vec<(Arc<str>, Template)>,
}

/// The body of a fixed response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// What it says.
    pub text: Template,
    /// How values in it are escaped; follows from the Content-Type.
    pub escape: Escape,
    /// A Content-Type that is said because the file gives none: a body with values from a request must not be guessed
    /// to be HTML.
    pub content_type: Option<&'static str>,
}

#[cfg(test)]
mod tests;
