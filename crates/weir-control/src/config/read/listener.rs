//! Listeners.

use weir_model::{
    draft::{Draft, ListenerDraft, ListenerLimitsDraft, Text, TimeoutsDraft},
    listener::Protocol,
};

use super::{Reader, fields::Fields, keys, route};
use crate::config::yaml::{Node, Value};

/// Reads `listeners`.
pub(super) fn listeners(reader: &mut Reader, top: &Fields<'_>, draft: &mut Draft) {
    let Some(node) = top.node("listeners") else { return };
    let (named, broken) = reader.watched(|reader| reader.named(node, "listeners by name"));
    draft.listeners_incomplete |= broken || (matches!(node.value, Value::Empty) && top.strange);
    for (name, node) in named {
        let (mut listener, broken) = reader.watched(|reader| listener(reader, name, node));
        listener.broken = broken;
        draft.listeners.push(listener);
    }
}

fn listener(reader: &mut Reader, name: Text, node: &Node) -> ListenerDraft {
    let mut draft = ListenerDraft { name, ..ListenerDraft::default() };
    let Some(fields) = reader.fields(node, &keys::LISTENER) else {
        return draft;
    };
    draft.binds = fields.texts(reader, "bind");
    draft.protocol = fields.setting(reader, "protocol", |reader, node| {
        reader.word(node, &[("http", Protocol::Http), ("tcp", Protocol::Tcp)], &["https", "udp", "tls"])
    });
    draft.trusted_proxies = fields.setting(reader, "trusted_proxies", |reader, node| match &node.value {
        Value::List(items) => Some(items.iter().filter_map(|item| reader.text(item)).collect()),
        _ => Some(vec![reader.text(node)?]),
    });
    draft.timeouts = timeouts(reader, &fields);
    draft.limits = limits(reader, &fields);
    draft.pool = fields.text(reader, "pool");
    if let Some(routes) = fields.node("routes") {
        let nodes = reader.list(routes, "routes");
        draft.routes = nodes.iter().map(|node| route::route(reader, node)).collect();
    }
    draft
}

fn timeouts(reader: &mut Reader, listener: &Fields<'_>) -> TimeoutsDraft {
    let fields = listener.node("timeouts").and_then(|node| reader.fields(node, &keys::TIMEOUTS));
    let Some(fields) = fields else {
        return TimeoutsDraft::default();
    };
    TimeoutsDraft {
        header: fields.setting(reader, "header", Reader::timeout),
        idle: fields.setting(reader, "idle", Reader::timeout),
        body_idle: fields.setting(reader, "body_idle", Reader::timeout),
        body_min_rate: fields.setting(reader, "body_min_rate", Reader::byte_rate),
        send_idle: fields.setting(reader, "send_idle", Reader::timeout),
        tunnel: fields.setting(reader, "tunnel", Reader::timeout),
    }
}

fn limits(reader: &mut Reader, listener: &Fields<'_>) -> ListenerLimitsDraft {
    let fields = listener.node("limits").and_then(|node| reader.fields(node, &keys::LISTENER_LIMITS));
    let Some(fields) = fields else {
        return ListenerLimitsDraft::default();
    };
    ListenerLimitsDraft {
        header_bytes: fields.setting(reader, "header_bytes", Reader::size),
        headers: fields.setting(reader, "headers", Reader::number),
        body: fields.setting(reader, "body", Reader::size),
    }
}
