//! Routes that bridge gRPC-Web against the pools that they lead to.

use std::sync::Arc;

use crate::{
    draft::{ActionDraft, Draft, RouteDraft},
    pool::{Pool, UpstreamProtocol},
    problem::{Located, Problem},
};

/// Refuses the bridge where it would lead to backends that gRPC cannot reach.
pub(super) fn judge(draft: &Draft, pools: &[Arc<Pool>], problems: &mut Vec<Problem>) {
    let default = draft.defaults.route.as_ref().and_then(|route| route.value.grpc_web.as_ref());
    let own = draft.listeners.iter().flat_map(|listener| &listener.routes);
    for route in own.chain(draft.routes.iter().map(|shared| &shared.route)) {
        problems.extend(unreachable(route, default, pools));
    }
}

fn unreachable(route: &RouteDraft, default: Option<&Located<bool>>, pools: &[Arc<Pool>]) -> Option<Problem> {
    let bridged = route.grpc_web.as_ref().or(default).filter(|setting| setting.value)?;
    let named = route.actions.iter().flat_map(|action| match &action.value {
        ActionDraft::Pool(name) => vec![name],
        ActionDraft::Split(arms) => arms.iter().filter_map(|arm| arm.pool.as_ref()).collect(),
        ActionDraft::Redirect(_) | ActionDraft::Respond(_) => Vec::new(),
    });
    let is_http1 =
        |name: &str| pools.iter().any(|pool| *pool.name == *name && pool.protocol == UpstreamProtocol::Http1);
    let name = named.into_iter().find(|name| is_http1(&name.value))?;
    let cause = format!(
        "`grpc_web` leads to the pool `{}`, whose backends are spoken to by HTTP/1.1, which gRPC does not know",
        name.value
    );
    let problem = Problem::error(
        bridged.span,
        cause,
        "write `protocol: h2` in the pool, or `grpc_web: false` in the route",
    );
    Some(problem.with_related(name.span, "it is named here"))
}
