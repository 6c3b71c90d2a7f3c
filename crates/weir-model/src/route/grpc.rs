//! Calls of gRPC by their service and method.

use std::{fmt, sync::Arc};

use super::{PathMatch, RequestFacts};
use crate::grpc;

/// Which calls are taken. A list holds if any of its members does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcMatch {
    /// Names of services with their packages; empty for every one.
    service: Vec<Arc<str>>,
    /// Names of methods; empty for every one.
    method: Vec<Arc<str>>,
    /// Where these calls are found; empty for everywhere.
    paths: Vec<PathMatch>,
}

impl GrpcMatch {
    /// Calls of any of these services and methods; an empty list stands for all of them.
    pub fn new(service: Vec<Arc<str>>, method: Vec<Arc<str>>) -> Self {
        let call =
            |service: &Arc<str>, method: &Arc<str>| PathMatch::Exact(format!("/{service}/{method}").into());
        let paths = if method.is_empty() {
            service.iter().map(|service| PathMatch::Prefix(format!("/{service}").into())).collect()
        } else {
            service
                .iter()
                .flat_map(|service| method.iter().map(move |method| call(service, method)))
                .collect()
        };
        Self { service, method, paths }
    }

    /// Names of services; empty for every one.
    pub fn service(&self) -> &[Arc<str>] {
        &self.service
    }

    /// Names of methods; empty for every one.
    pub fn method(&self) -> &[Arc<str>] {
        &self.method
    }

    /// Patterns of which one takes the path of every call that is taken; empty if that may be any path.
    pub(crate) fn paths(&self) -> &[PathMatch] {
        &self.paths
    }

    /// True if the request is such a call, in gRPC or in gRPC-Web.
    pub fn takes(&self, request: &impl RequestFacts) -> bool {
        self.takes_path(request.path()) && is_call(request)
    }

    /// True if such a call has this path.
    pub(super) fn takes_path(&self, path: &[u8]) -> bool {
        let Some((service, method)) = grpc::names(path) else { return false };
        let any = |wanted: &[Arc<str>], name: &[u8]| {
            wanted.is_empty() || wanted.iter().any(|wanted| wanted.as_bytes() == name)
        };
        any(&self.service, service) && any(&self.method, method)
    }

    /// True if everything that the other one takes is taken.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let within = |theirs: &[Arc<str>], ours: &[Arc<str>]| {
            ours.is_empty() || !theirs.is_empty() && theirs.iter().all(|name| ours.contains(name))
        };
        within(&other.service, &self.service) && within(&other.method, &self.method)
    }
}

/// True if the request says that it is a call.
pub(super) fn is_call(request: &impl RequestFacts) -> bool {
    request.any_header("content-type", &mut |value| grpc::is_call(value) || grpc::is_web(value))
}

/// `shop.Cart/Add`, with `*` for any service or method.
impl fmt::Display for GrpcMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |f: &mut fmt::Formatter<'_>, names: &[Arc<str>]| match names {
            [] => f.write_str("*"),
            names => f.write_str(&names.join(",")),
        };
        names(f, &self.service)?;
        f.write_str("/")?;
        names(f, &self.method)
    }
}
