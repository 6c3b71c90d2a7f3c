//! `defaults`: what fills absent keys of listeners, routes and pools.

use weir_model::{
    draft::{DefaultsDraft, ListenerDraft, PoolDraft, RouteDraft, Setting},
    problem::Located,
};

use super::{
    Reader,
    fields::Fields,
    keys::{self, Keys},
    listener, pool, process, route,
};

/// Reads `defaults`. Another file may have set some of them before.
pub(super) fn defaults(reader: &mut Reader, top: &Fields<'_>, draft: &mut DefaultsDraft) {
    let Some(fields) = top.node("defaults").and_then(|node| reader.fields(node, &keys::DEFAULTS)) else {
        return;
    };
    let listener = settings(reader, &fields, "listener", &keys::LISTENER_DEFAULTS, |reader, fields| {
        let mut draft = ListenerDraft::default();
        listener::settings(reader, fields, &mut draft);
        draft
    });
    process::once(reader, &mut draft.listener, listener, "defaults.listener");
    let route = settings(reader, &fields, "route", &keys::ROUTE_DEFAULTS, |reader, fields| {
        let mut draft = RouteDraft::default();
        route::settings(reader, fields, &mut draft);
        draft
    });
    process::once(reader, &mut draft.route, route, "defaults.route");
    let pool = settings(reader, &fields, "pool", &keys::POOL_DEFAULTS, |reader, fields| {
        let mut draft = PoolDraft::default();
        pool::settings(reader, fields, &mut draft);
        draft
    });
    process::once(reader, &mut draft.pool, pool, "defaults.pool");
}

/// The defaults of one kind.
fn settings<T>(
    reader: &mut Reader,
    defaults: &Fields<'_>,
    key: &str,
    keys: &'static Keys,
    read: impl FnOnce(&mut Reader, &Fields<'_>) -> T,
) -> Setting<Box<T>> {
    let entry = defaults.entry(key)?;
    let fields = reader.fields(&entry.value, keys)?;
    Some(Located::new(Box::new(read(reader, &fields)), entry.key.span))
}
