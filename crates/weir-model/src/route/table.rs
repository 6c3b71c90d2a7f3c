//! The routes of one listener, and which of them takes a request.

use std::sync::Arc;

use super::{
    ConnectionFacts, RequestFacts, Route,
    explain::Verdict,
    host::without_dot,
    index::{Entry, Index},
};

/// Up to this many routes are simply tried in order; measured, an index is no faster there.
const FEW: usize = 8;

/// The routes of one listener in order of evaluation.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    index: Option<Index>,
    names_connect: bool,
}

impl RouteTable {
    /// A table of routes in order of evaluation.
    pub fn new(routes: Vec<Arc<Route>>) -> Self {
        let index = (routes.len() > FEW).then(|| Index::new(routes.iter().map(|route| &**route)));
        let names_connect = routes.iter().any(|route| route.names_connect());
        Self { routes, index, names_connect }
    }

    /// True if any route was written for requests for a tunnel; where none was, CONNECT is refused.
    pub const fn names_connect(&self) -> bool {
        self.names_connect
    }

    /// The first route that takes the request. Allocates nothing (except to decode an escaped query parameter that
    /// a route asks for).
    pub fn find(&self, request: &impl RequestFacts) -> Option<&Arc<Route>> {
        self.position(request).map(|number| &self.routes[number])
    }

    /// Where the route that [`RouteTable::find`] finds stands in [`RouteTable::routes`].
    pub fn position(&self, request: &impl RequestFacts) -> Option<usize> {
        let Some(index) = &self.index else {
            return self.routes.iter().position(|route| route.takes(request));
        };
        let holds = |entry: Entry| {
            let conditions = &self.routes[entry.route as usize].conditions;
            // Without a condition of that number the route takes everything.
            conditions.get(entry.condition as usize).is_none_or(|condition| condition.holds(request))
        };
        let host = without_dot(request.host());
        index.first(Some(host), Some(request.path()), u32::MAX, holds)
    }

    /// The first route that takes a connection.
    pub fn find_connection(&self, connection: &ConnectionFacts<'_>) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.takes(connection))
    }

    /// Every route that was tried, in order, up to and with the one that took the request.
    pub fn explain(&self, request: &impl RequestFacts) -> Vec<(&Arc<Route>, Verdict)> {
        let mut tried = Vec::new();
        for route in &self.routes {
            let verdict = route.verdict(request);
            let matched = verdict.matched;
            tried.push((route, verdict));
            if matched {
                break;
            }
        }
        tried
    }

    /// As [`RouteTable::explain`], for a connection.
    pub fn explain_connection(&self, connection: &ConnectionFacts<'_>) -> Vec<(&Arc<Route>, Verdict)> {
        self.explain(connection)
    }

    /// All routes in order of evaluation.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }
}
