//! Listeners.

use weir_model::{
    draft::{
        AcceptProxyDraft, Draft, ErrorPageDraft, ListenerDraft, ListenerLimitsDraft, NormalizeDraft,
        TcpDraft, Text, TimeoutsDraft,
    },
    listener::{DotSegments, DoubleSlash, EncodedSlash, ErrorPage, Protocol},
};

use super::{Reader, fields::Fields, keys, route, tls};
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
    let binds = fields.texts(reader, "bind");
    draft.binds = binds.into_iter().map(|bind| reader.bind(bind)).collect();
    draft.sni = fields.texts(reader, "sni");
    settings(reader, &fields, &mut draft);
    draft.pool = fields.text(reader, "pool");
    if let Some(routes) = fields.node("routes") {
        let nodes = reader.list(routes, "routes");
        draft.routes = nodes.iter().map(|node| route::route(reader, node)).collect();
    }
    draft
}

/// The keys that may have defaults.
pub(super) fn settings(reader: &mut Reader, fields: &Fields<'_>, draft: &mut ListenerDraft) {
    draft.protocol = fields.setting(reader, "protocol", |reader, node| {
        let ready = [
            ("http", Protocol::Http),
            ("https", Protocol::Https),
            ("tcp", Protocol::Tcp),
            ("tls", Protocol::Tls),
        ];
        reader.word(node, &ready, &["udp"])
    });
    draft.tls = fields.setting(reader, "tls", tls::termination);
    draft.accept_proxy = fields.setting(reader, "accept_proxy_protocol", accept_proxy);
    draft.trusted_proxies = fields.setting(reader, "trusted_proxies", networks);
    draft.allow = fields.setting(reader, "allow", networks);
    draft.deny = fields.setting(reader, "deny", networks);
    draft.max_connections = fields.setting(reader, "max_connections", Reader::connections);
    draft.normalize = fields.setting(reader, "normalize", normalize);
    draft.tcp = tcp(reader, fields);
    draft.errors = fields.setting(reader, "errors", errors);
    draft.timeouts = timeouts(reader, fields);
    draft.limits = limits(reader, fields);
}

fn accept_proxy(reader: &mut Reader, node: &Node) -> Option<AcceptProxyDraft> {
    if let Value::Scalar { text, .. } = &node.value
        && text == "none"
    {
        return Some(AcceptProxyDraft { off: true, ..AcceptProxyDraft::default() });
    }
    let fields = reader.fields(node, &keys::ACCEPT_PROXY)?;
    Some(AcceptProxyDraft {
        off: false,
        trust: fields.setting(reader, "trust", networks),
        required: fields.setting(reader, "mode", |reader, node| {
            reader.word(node, &[("required", true), ("optional", false)], &[])
        }),
    })
}

/// One network or several; an empty list is for compile to judge.
fn networks(reader: &mut Reader, node: &Node) -> Option<Vec<Text>> {
    match &node.value {
        Value::List(items) => Some(items.iter().filter_map(|item| reader.text(item)).collect()),
        _ => Some(vec![reader.text(node)?]),
    }
}

fn normalize(reader: &mut Reader, node: &Node) -> Option<NormalizeDraft> {
    let fields = reader.fields(node, &keys::NORMALIZE)?;
    Some(NormalizeDraft {
        dot_segments: fields.setting(reader, "dot_segments", |reader, node| {
            let words = [
                ("resolve", DotSegments::Resolve),
                ("keep", DotSegments::Keep),
                ("reject", DotSegments::Reject),
            ];
            reader.word(node, &words, &[])
        }),
        encoded_slash: fields.setting(reader, "encoded_slash", |reader, node| {
            let words = [
                ("keep", EncodedSlash::Keep),
                ("decode", EncodedSlash::Decode),
                ("reject", EncodedSlash::Reject),
            ];
            reader.word(node, &words, &[])
        }),
        double_slash: fields.setting(reader, "double_slash", |reader, node| {
            reader.word(node, &[("keep", DoubleSlash::Keep), ("merge", DoubleSlash::Merge)], &[])
        }),
    })
}

fn tcp(reader: &mut Reader, listener: &Fields<'_>) -> TcpDraft {
    let fields = listener.node("tcp").and_then(|node| reader.fields(node, &keys::TCP));
    let Some(fields) = fields else {
        return TcpDraft::default();
    };
    TcpDraft {
        keepalive: fields.setting(reader, "keepalive", Reader::timeout),
        user_timeout: fields.setting(reader, "user_timeout", Reader::timeout),
        backlog: fields.setting(reader, "backlog", Reader::number),
    }
}

/// Files by status; they are read here, so that nothing but the file's text matters later.
fn errors(reader: &mut Reader, node: &Node) -> Option<Vec<ErrorPageDraft>> {
    let pages = reader.named(node, "files by status, such as `\"503\": sorry.html`");
    let page = |(status, node): (Text, &Node)| {
        let file = reader.text(node)?;
        // That it cannot be read has been said; what else is wrong with the page is said as well.
        let body = reader.content(&file, ErrorPage::LARGEST as u64).unwrap_or_default().into();
        Some(ErrorPageDraft { status, file, body })
    };
    Some(pages.into_iter().filter_map(page).collect())
}

fn timeouts(reader: &mut Reader, listener: &Fields<'_>) -> TimeoutsDraft {
    let fields = listener.node("timeouts").and_then(|node| reader.fields(node, &keys::TIMEOUTS));
    let Some(fields) = fields else {
        return TimeoutsDraft::default();
    };
    TimeoutsDraft {
        header: fields.setting(reader, "header", Reader::timeout),
        handshake: fields.setting(reader, "handshake", Reader::timeout),
        idle: fields.setting(reader, "idle", Reader::timeout),
        body_idle: fields.setting(reader, "body_idle", Reader::timeout),
        body_min_rate: fields.setting(reader, "body_min_rate", Reader::byte_rate),
        send_idle: fields.setting(reader, "send_idle", Reader::timeout),
        tunnel: fields.setting(reader, "tunnel", Reader::timeout),
        max_age: fields.setting(reader, "max_age", Reader::timeout),
    }
}

fn limits(reader: &mut Reader, listener: &Fields<'_>) -> ListenerLimitsDraft {
    let fields = listener.node("limits").and_then(|node| reader.fields(node, &keys::LISTENER_LIMITS));
    let Some(fields) = fields else {
        return ListenerLimitsDraft::default();
    };
    ListenerLimitsDraft {
        header_bytes: fields.setting(reader, "header_bytes", Reader::bounded_size),
        headers: fields.setting(reader, "headers", Reader::number),
        body: fields.setting(reader, "body", Reader::size),
        streams: fields.setting(reader, "streams", Reader::number),
    }
}
