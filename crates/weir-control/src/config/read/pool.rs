//! Pools.

use weir_model::{
    balance::Policy,
    draft::{
        BackendDraft, BalanceDraft, Draft, HealthDraft, HttpProbeDraft, KeepaliveDraft, OutlierDraft,
        PoolDraft, PoolLimitsDraft, ProbeDraft, SameSite, SendProxyDraft, StickyDraft, Text, UdpProbeDraft,
    },
    pool::{ProxyTlv, ProxyVersion, UpstreamProtocol},
    problem::{Located, Problem},
    status::State,
};

use super::{Reader, discover, fields::Fields, keys, route, tls};
use crate::config::yaml::{Node, Value};

const POLICIES: [(&str, Policy); 9] = [
    ("round_robin", Policy::RoundRobin),
    ("least_conn", Policy::LeastConn),
    ("random", Policy::Random),
    ("two_choices", Policy::TwoChoices),
    ("ewma", Policy::Ewma),
    ("source_hash", Policy::SourceHash),
    ("ring_hash", Policy::RingHash),
    ("maglev", Policy::Maglev),
    ("first", Policy::First),
];

/// Reads `pools`.
pub(super) fn pools(reader: &mut Reader, top: &Fields<'_>, draft: &mut Draft) {
    let Some(node) = top.node("pools") else { return };
    let (named, broken) = reader.watched(|reader| reader.named(node, "pools by name"));
    draft.pools_incomplete |= broken || (matches!(node.value, Value::Empty) && top.strange);
    for (name, node) in named {
        let (mut pool, broken) = reader.watched(|reader| pool(reader, name, node));
        pool.broken = broken;
        draft.pools.push(pool);
    }
}

fn pool(reader: &mut Reader, name: Text, node: &Node) -> PoolDraft {
    let mut draft = PoolDraft { name, ..PoolDraft::default() };
    let Some(fields) = reader.fields(node, &keys::POOL) else {
        return draft;
    };
    settings(reader, &fields, &mut draft);
    draft.sticky = fields.entry("sticky").and_then(|entry| {
        if let Value::Scalar { text, .. } = &entry.value.value
            && text == "source"
        {
            let problem = Problem::not_yet(entry.value.span, "`sticky: source`");
            let remedy = "write `sticky: { cookie: WEIR }`, or `balance: source_hash`".into();
            reader.problems.push(Problem { remedy, ..problem });
            return None;
        }
        let fields = reader.fields(&entry.value, &keys::STICKY)?;
        Some(StickyDraft { span: entry.key.span, ..sticky(reader, &fields, &entry.value) })
    });
    if let Some(node) = fields.node("backends") {
        let nodes = reader.list(node, "backends");
        draft.backends = nodes.iter().filter_map(|node| backend(reader, node)).collect();
    }
    draft.discover = discover::discover(reader, &fields);
    draft
}

/// The keys that may have defaults.
pub(super) fn settings(reader: &mut Reader, fields: &Fields<'_>, draft: &mut PoolDraft) {
    draft.balance = fields.setting(reader, "balance", balance);
    draft.protocol = fields.setting(reader, "protocol", protocol);
    draft.health = fields.entry("health").and_then(|entry| {
        if let Value::Scalar { text, .. } = &entry.value.value
            && text == "none"
        {
            return Some(HealthDraft { span: entry.key.span, off: true, ..HealthDraft::default() });
        }
        let fields = reader.fields(&entry.value, &keys::HEALTH)?;
        Some(HealthDraft { span: entry.key.span, ..health(reader, &fields) })
    });
    draft.outlier = fields.setting(reader, "outlier", outlier);
    draft.slow_start = fields.setting(reader, "slow_start", Reader::delay);
    draft.panic = fields.setting(reader, "panic", Reader::share);
    draft.zone_aware = fields.setting(reader, "zone_aware", |reader, node| {
        reader.word(node, &[("prefer", true), ("off", false)], &[])
    });
    draft.connect_timeout = fields.setting(reader, "connect_timeout", Reader::timeout);
    draft.response_timeout = fields.setting(reader, "response_timeout", Reader::timeout);
    draft.stream_idle = fields.setting(reader, "stream_idle", Reader::timeout);
    draft.drain = fields.setting(reader, "drain", |reader, node| reader.delay_or_none(node));
    draft.keepalive = fields.setting(reader, "keepalive", keepalive);
    draft.tls = fields.setting(reader, "tls", tls::origination);
    draft.send_proxy = fields.setting(reader, "send_proxy_protocol", send_proxy);
    draft.limits = limits(reader, fields);
}

fn protocol(reader: &mut Reader, node: &Node) -> Option<UpstreamProtocol> {
    if let Value::Scalar { text, .. } = &node.value
        && ["http2", "h2c", "http/2", "grpc"].contains(&&**text)
    {
        let cause = format!("`{text}` is not what HTTP/2 is called here");
        reader.error(
            node.span,
            cause,
            "write `h2`; with `tls` it is agreed on by ALPN, without it is spoken in clear text",
        );
        return None;
    }
    reader.word(node, &UpstreamProtocol::ALL.map(|protocol| (protocol.word(), protocol)), &[])
}

fn send_proxy(reader: &mut Reader, node: &Node) -> Option<Option<SendProxyDraft>> {
    let versions = [ProxyVersion::V1, ProxyVersion::V2].map(|version| (version.word(), version));
    let Value::Map(_) = node.value else {
        let words = versions.map(|(word, version)| (word, Some(version)));
        let version = reader.word(node, &[words[0], words[1], ("none", None)], &[])?;
        return Some(version.map(|version| SendProxyDraft { version, tlvs: Vec::new() }));
    };
    let fields = reader.fields(node, &keys::SEND_PROXY)?;
    let Some(version) = fields.node("version") else {
        if !fields.strange {
            let cause = "the long form of `send_proxy_protocol` names no version";
            reader.error(node.span, cause, "add `version: v2`");
        }
        return None;
    };
    let version = reader.word(version, &versions, &[])?;
    let tlvs = match fields.node("tlvs") {
        None => &[][..],
        Some(Node { value: Value::List(items), .. }) => items,
        Some(node) => std::slice::from_ref(node),
    };
    let words = ProxyTlv::ALL.map(|tlv| (tlv.word(), tlv));
    let tlvs = tlvs.iter().filter_map(|node| Some(Located::new(reader.word(node, &words, &[])?, node.span)));
    Some(Some(SendProxyDraft { version, tlvs: tlvs.collect() }))
}

fn balance(reader: &mut Reader, node: &Node) -> Option<BalanceDraft> {
    if let Value::Map(_) = node.value {
        let fields = reader.fields(node, &keys::BALANCE)?;
        let Some(policy) = fields.node("policy") else {
            reader.error(
                node.span,
                "the long form of `balance` names no policy",
                "add `policy: round_robin`",
            );
            return None;
        };
        return Some(BalanceDraft {
            policy: reader.word(policy, &POLICIES, &[])?,
            key: fields.text(reader, "key"),
            bounded_load: fields.setting(reader, "bounded_load", Reader::percent),
        });
    }
    let policy = reader.word(node, &POLICIES, &[])?;
    Some(BalanceDraft { policy, ..BalanceDraft::default() })
}

fn sticky(reader: &mut Reader, fields: &Fields<'_>, node: &Node) -> StickyDraft {
    if fields.node("cookie").is_none() && !fields.strange {
        reader.error(node.span, "`sticky` does not say which cookie it sets", "add `cookie: WEIR`");
    }
    let words = [("lax", SameSite::Lax), ("strict", SameSite::Strict), ("none", SameSite::None)];
    StickyDraft {
        cookie: fields.text(reader, "cookie"),
        ttl: fields.setting(reader, "ttl", Reader::timeout),
        path: fields.text(reader, "path"),
        domain: fields.text(reader, "domain"),
        secure: fields.setting(reader, "secure", Reader::flag),
        http_only: fields.setting(reader, "http_only", Reader::flag),
        same_site: fields.setting(reader, "same_site", |reader, node| reader.word(node, &words, &[])),
        ..StickyDraft::default()
    }
}

/// One entry of a list of backends.
pub(super) fn backend(reader: &mut Reader, node: &Node) -> Option<BackendDraft> {
    if !matches!(node.value, Value::Map(_)) {
        let address = reader.text(node)?;
        let address = reader.address(address);
        return Some(BackendDraft { address, ..BackendDraft::default() });
    }
    let fields = reader.fields(node, &keys::BACKEND)?;
    if fields.node("address").is_none() && !fields.strange {
        reader.error(node.span, "the backend has no `address`", "add `address: 10.0.0.1:8080`");
    }
    Some(BackendDraft {
        address: fields.text(reader, "address").map(|text| reader.address(text))?,
        name: fields.text(reader, "name"),
        weight: fields.setting(reader, "weight", Reader::number),
        server_id: fields.text(reader, "server_id"),
        zone: fields.text(reader, "zone"),
        backup: fields.setting(reader, "backup", Reader::flag),
        max_connections: fields.setting(reader, "max_connections", count_or_none),
        state: fields.setting(reader, "state", |reader, node| {
            reader.word(node, &State::ALL.map(|state| (state.word(), state)), &[])
        }),
    })
}

fn health(reader: &mut Reader, fields: &Fields<'_>) -> HealthDraft {
    let mut probes = Vec::new();
    if let Some(entry) = fields.entry("http") {
        let mut probe = http_probe(reader, &entry.value);
        probe.span = entry.key.span;
        probes.push(Located::new(ProbeDraft::Http(Box::new(probe)), entry.key.span));
    }
    if let Some(entry) = fields.entry("tcp") {
        if !matches!(entry.value.value, Value::Empty) {
            reader.fields(&entry.value, &keys::TCP_PROBE);
        }
        probes.push(Located::new(ProbeDraft::Tcp, entry.key.span));
    }
    if let Some(entry) = fields.entry("tls") {
        if !matches!(entry.value.value, Value::Empty) {
            reader.fields(&entry.value, &keys::TLS_PROBE);
        }
        probes.push(Located::new(ProbeDraft::Tls, entry.key.span));
    }
    if let Some(entry) = fields.entry("grpc") {
        let service = match &entry.value.value {
            Value::Empty => None,
            Value::Map(_) => {
                let fields = reader.fields(&entry.value, &keys::GRPC_PROBE);
                fields.and_then(|fields| fields.text(reader, "service"))
            }
            _ => reader.text(&entry.value),
        };
        probes.push(Located::new(ProbeDraft::Grpc(service), entry.key.span));
    }
    if let Some(entry) = fields.entry("udp") {
        let span = entry.key.span;
        let mut probe = UdpProbeDraft { span, ..UdpProbeDraft::default() };
        if let Some(fields) = reader.fields(&entry.value, &keys::UDP_PROBE) {
            (probe.send, probe.expect) = (fields.text(reader, "send"), fields.text(reader, "expect"));
        }
        probes.push(Located::new(ProbeDraft::Udp(probe), span));
    }
    probes.sort_by_key(|probe| probe.span);
    HealthDraft {
        probes,
        interval: fields.setting(reader, "interval", Reader::period),
        interval_down: fields.setting(reader, "interval_down", Reader::period),
        timeout: fields.setting(reader, "timeout", Reader::period),
        fall: fields.setting(reader, "fall", Reader::number),
        rise: fields.setting(reader, "rise", Reader::number),
        port: fields.setting(reader, "port", Reader::number),
        initially_up: fields.setting(reader, "initial", |reader, node| {
            reader.word(node, &[("unknown", false), ("up", true)], &[])
        }),
        plain: fields.setting(reader, "plain", Reader::flag),
        ..HealthDraft::default()
    }
}

fn http_probe(reader: &mut Reader, node: &Node) -> HttpProbeDraft {
    if let Value::Scalar { .. } = node.value {
        return HttpProbeDraft { path: reader.text(node), ..HttpProbeDraft::default() };
    }
    let Some(fields) = reader.fields(node, &keys::HTTP_PROBE) else {
        return HttpProbeDraft::default();
    };
    HttpProbeDraft {
        path: fields.text(reader, "path"),
        host: fields.text(reader, "host"),
        method: fields.text(reader, "method"),
        headers: fields.node("headers").map_or_else(Vec::new, |node| route::pairs(reader, node)),
        expect: fields.texts(reader, "expect"),
        body: fields.text(reader, "body"),
        ..HttpProbeDraft::default()
    }
}

fn outlier(reader: &mut Reader, node: &Node) -> Option<OutlierDraft> {
    if let Value::Scalar { text, .. } = &node.value
        && text == "none"
    {
        return Some(OutlierDraft { off: true, ..OutlierDraft::default() });
    }
    let fields = reader.fields(node, &keys::OUTLIER)?;
    Some(OutlierDraft {
        consecutive_errors: fields.setting(reader, "consecutive_errors", Reader::limit),
        error_rate: fields.setting(reader, "error_rate", Reader::share_or_none),
        window: fields.setting(reader, "window", Reader::period),
        eject: fields.setting(reader, "eject", Reader::period),
        max_ejected: fields.setting(reader, "max_ejected", Reader::share),
        ..OutlierDraft::default()
    })
}

fn keepalive(reader: &mut Reader, node: &Node) -> Option<KeepaliveDraft> {
    let fields = reader.fields(node, &keys::KEEPALIVE)?;
    Some(KeepaliveDraft {
        idle: fields.setting(reader, "idle", Reader::timeout),
        max_idle: fields.setting(reader, "max_idle", any_count_or_none),
        max_requests: fields.setting(reader, "max_requests", |reader, node| {
            reader.limit(node).map(|limit| limit.map_or(u64::MAX, u64::from))
        }),
        max_age: fields.setting(reader, "max_age", Reader::timeout),
    })
}

fn limits(reader: &mut Reader, pool: &Fields<'_>) -> PoolLimitsDraft {
    let fields = pool.node("limits").and_then(|node| reader.fields(node, &keys::POOL_LIMITS));
    let Some(fields) = fields else {
        return PoolLimitsDraft::default();
    };
    PoolLimitsDraft {
        connections: fields.setting(reader, "connections", count_or_none),
        pending: fields.setting(reader, "pending", any_count_or_none),
        requests: fields.setting(reader, "requests", count_or_none),
        queue_timeout: fields.setting(reader, "queue_timeout", Reader::timeout),
    }
}

/// The same where 0 means something.
fn any_count_or_none(reader: &mut Reader, node: &Node) -> Option<u32> {
    reader.number_or(node, "none").map(|limit| limit.unwrap_or(u32::MAX))
}

/// `u32::MAX` for `none`.
fn count_or_none(reader: &mut Reader, node: &Node) -> Option<u32> {
    reader.limit(node).map(|limit| limit.unwrap_or(u32::MAX))
}
