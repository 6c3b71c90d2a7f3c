//! Listeners: what is bound, time-outs and limits, and which keys mean nothing for the protocol.

use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};

use super::{
    PoolNames,
    acme::{self, Reach},
    address, condition,
    files::Room,
    kept, route,
    shared::Shared,
    tls, value, within,
};
use crate::{
    draft::{DefaultsDraft, ErrorPageDraft, ListenerDraft, Setting, TcpDraft, Text, filled},
    listener::{
        AcceptProxy, Access, ErrorPage, Listener, ListenerLimits, Networks, Normalize, Protocol, TcpOptions,
        Timeouts,
    },
    problem::{Located, Problem, Span},
    route::RouteTable,
    status::Registry,
    time::Millis,
};

/// What listeners have in common.
pub(super) struct Context<'d> {
    pub(super) pools: &'d PoolNames<'d>,
    pub(super) room: &'d Room,
    pub(super) defaults: &'d DefaultsDraft,
    pub(super) shared: &'d Shared<'d>,
    pub(super) reach: Reach,
}

/// One listener. `written` is what the file says of it.
pub(super) fn listener(
    written: &ListenerDraft,
    context: &Context<'_>,
    registry: &mut Registry,
    problems: &mut Vec<Problem>,
) -> Listener {
    let draft = &filled(written, &context.defaults.listener, |listener, from| listener.fill(from));
    let missing = |key: &str, remedy: &str| {
        let cause = format!("the listener `{}` has no `{key}`", draft.name.value);
        Problem::error(draft.name.span, cause, remedy)
    };
    if draft.binds.is_empty() && !draft.broken {
        problems.push(missing("bind", "add an address: `bind: \":8080\"`"));
    }
    if draft.protocol.is_none() && !draft.broken {
        problems.push(missing("protocol", "add `protocol: http`, `https`, `tcp` or `tls`"));
    }
    let binds: Vec<_> =
        draft.binds.iter().filter_map(|text| kept(address::binds(text), problems)).flatten().collect();
    let protocol = draft.protocol.as_ref().map_or(Protocol::Http, |protocol| protocol.value);
    if draft.protocol.as_ref().is_some_and(|protocol| !protocol.value.has_requests()) {
        refuse_http_keys(written, protocol, problems);
    }
    let tls = tls::termination(draft, written, problems).map(Arc::new);
    let has_tls = tls.is_some() || matches!(protocol, Protocol::Https | Protocol::Tls);
    let opens = has_tls || draft.accept_proxy.as_ref().is_some_and(|given| !given.value.off);
    if let Some(given) = written.timeouts.handshake.as_ref().filter(|_| !opens) {
        let cause = format!(
            "`timeouts.handshake` has no meaning for `protocol: {}` without TLS and PROXY headers",
            protocol.word()
        );
        problems.push(Problem::error(given.span, cause, "remove it: nothing comes before the protocol here"));
    }
    if let Some(first) = draft.sni.first().filter(|_| !has_tls) {
        let cause = format!("`sni` has no meaning for `protocol: {}` without TLS", protocol.word());
        let remedy = "clients ask for a name when they begin TLS only: remove it, or use `https` or `tls`";
        problems.push(Problem::error(first.span, cause, remedy));
    }
    let trusted = draft.trusted_proxies.iter().flat_map(|networks| &networks.value);
    let acme = tls.as_ref().and_then(|_| acme::acme(draft, &binds, context.reach, registry, problems));
    Listener {
        name: draft.name.value.as_str().into(),
        binds,
        protocol,
        sni: draft.sni.iter().filter_map(|text| kept(condition::server_name(text), problems)).collect(),
        tls,
        acme: acme.map(Arc::new),
        timeouts: timeouts(draft, protocol),
        limits: limits(draft, problems),
        accept_proxy: accept_proxy(draft, problems),
        trusted_proxies: address::networks(trusted, problems),
        access: access(draft, problems),
        max_connections: context.room.of_listener(&draft.max_connections, problems),
        normalize: normalize(draft),
        tcp: tcp(&draft.tcp, problems),
        errors: errors(&draft.errors, problems),
        routes: RouteTable::new(
            route::routes(draft, protocol, context, registry, problems).into_iter().map(Arc::new).collect(),
        ),
        status: registry.listener(&draft.name.value),
    }
}

fn accept_proxy(draft: &ListenerDraft, problems: &mut Vec<Problem>) -> Option<AcceptProxy> {
    let given = draft.accept_proxy.as_ref().filter(|given| !given.value.off)?;
    let trust = given.value.trust.as_ref();
    if trust.is_none_or(|trust| trust.value.is_empty()) && !draft.broken {
        let span = trust.map_or(given.span, |trust| trust.span);
        let cause = "`accept_proxy_protocol` trusts nobody";
        let remedy = "name those whose headers are believed: `trust: [10.0.0.0/8]`";
        problems.push(Problem::error(span, cause, remedy));
    }
    let texts = || trust.iter().flat_map(|trust| &trust.value);
    if let Some(all) = texts().find(|text| text.value.ends_with("/0")) {
        let cause = format!("`{}` is everybody: any client can say that it is any other", all.value);
        let remedy = "name the networks of the load balancers in front of this one";
        problems.push(Problem::warning(all.span, cause, remedy));
    }
    let trust = address::networks(texts(), problems);
    Some(AcceptProxy { trust, required: value(&given.value.required, true) })
}

fn timeouts(draft: &ListenerDraft, protocol: Protocol) -> Timeouts {
    let defaults = Timeouts::defaults(protocol);
    let draft = &draft.timeouts;
    Timeouts {
        header: value(&draft.header, defaults.header),
        handshake: value(&draft.handshake, defaults.handshake),
        idle: value(&draft.idle, defaults.idle),
        body_idle: value(&draft.body_idle, defaults.body_idle),
        body_min_rate: value(&draft.body_min_rate, defaults.body_min_rate),
        send_idle: value(&draft.send_idle, defaults.send_idle),
        tunnel: value(&draft.tunnel, defaults.tunnel),
        max_age: value(&draft.max_age, defaults.max_age),
    }
}

fn limits(draft: &ListenerDraft, problems: &mut Vec<Problem>) -> ListenerLimits {
    let defaults = ListenerLimits::default();
    let bytes = within(&draft.limits.header_bytes, 1024..=1 << 20, "`header_bytes`", problems);
    let count = within(&draft.limits.headers, 1..=1000, "`headers`", problems);
    let streams = within(&draft.limits.streams, 1..=10_000, "`streams`", problems);
    ListenerLimits {
        header_bytes: bytes.map_or(defaults.header_bytes, |bytes| bytes as usize),
        headers: count.map_or(defaults.headers, |count| count as usize),
        body: value(&draft.limits.body, defaults.body),
        streams: streams.unwrap_or(defaults.streams),
    }
}

fn access(draft: &ListenerDraft, problems: &mut Vec<Problem>) -> Access {
    if let Some(allow) = draft.allow.as_ref().filter(|allow| allow.value.is_empty()) {
        let remedy = "leave `allow` out to serve everybody; `deny: [0.0.0.0/0, \"::/0\"]` serves nobody";
        problems.push(Problem::error(allow.span, "`allow` names no network", remedy));
    }
    let mut networks = |setting: &Setting<Vec<Text>>| -> Networks {
        address::networks(setting.iter().flat_map(|networks| &networks.value), problems)
    };
    let access = Access { allow: networks(&draft.allow), deny: networks(&draft.deny) };
    problems.extend(nobody(draft, &access));
    access
}

/// A listener that serves nobody may be meant so for a while.
fn nobody(draft: &ListenerDraft, access: &Access) -> Option<Problem> {
    let deny = draft.deny.as_ref()?;
    let everybody = Networks::new(vec![Ipv4Net::default().into(), Ipv6Net::default().into()]);
    if access.deny.cover(&everybody) {
        let cause = "`deny` covers every address, so that this listener serves nobody";
        return Some(Problem::warning(deny.span, cause, "remove the networks that are to be served"));
    }
    let allow = draft.allow.as_ref().filter(|_| !access.allow.is_empty())?;
    access.deny.cover(&access.allow).then(|| {
        let cause = "`deny` covers all of `allow`, so that this listener serves nobody";
        let problem = Problem::warning(deny.span, cause, "`deny` wins: leave out what is to be served");
        problem.with_related(allow.span, "this is allowed")
    })
}

pub(super) fn normalize(draft: &ListenerDraft) -> Normalize {
    let defaults = Normalize::default();
    let Some(Located { value: draft, .. }) = &draft.normalize else { return defaults };
    Normalize {
        encoded_slash: value(&draft.encoded_slash, defaults.encoded_slash),
        double_slash: value(&draft.double_slash, defaults.double_slash),
        dot_segments: value(&draft.dot_segments, defaults.dot_segments),
    }
}

fn tcp(draft: &TcpDraft, problems: &mut Vec<Problem>) -> TcpOptions {
    let defaults = TcpOptions::default();
    let mut length = |setting: &Setting<Millis>, default: Millis| {
        let Some(length) = setting else { return default };
        let seconds = Millis::secs(1)..=Millis::secs(32_400);
        if !length.value.is_none() && !seconds.contains(&length.value) {
            let cause = "the system counts this in seconds, up to nine hours";
            problems.push(Problem::error(length.span, cause, "choose from `1s` to `9h`, or `none`"));
            return default;
        }
        length.value
    };
    TcpOptions {
        keepalive: length(&draft.keepalive, defaults.keepalive),
        user_timeout: length(&draft.user_timeout, defaults.user_timeout),
        backlog: within(&draft.backlog, 1..=65_535, "`backlog`", problems).unwrap_or(defaults.backlog),
    }
}

fn errors(draft: &Setting<Vec<ErrorPageDraft>>, problems: &mut Vec<Problem>) -> Vec<ErrorPage> {
    let drafts = draft.iter().flat_map(|pages| &pages.value);
    problems.extend(drafts.clone().filter_map(never_answered));
    let mut pages: Vec<_> = drafts.filter_map(|page| kept(error_page(page), problems)).collect();
    pages.sort_by_key(|page| page.status);
    pages
}

/// A page for a status that is nobody's but a backend's.
fn never_answered(draft: &ErrorPageDraft) -> Option<Problem> {
    let status: u16 = draft.status.value.parse().ok().filter(|code| (400..=599).contains(code))?;
    (!ErrorPage::STATUSES.contains(&status)).then(|| {
        let cause =
            format!("weir never answers with {status} itself, and answers of backends stay as they are");
        let listed = ErrorPage::STATUSES.map(|status| status.to_string()).join(", ");
        Problem::warning(draft.status.span, cause, format!("remove it; pages are shown for {listed}"))
    })
}

fn error_page(draft: &ErrorPageDraft) -> Result<ErrorPage, Problem> {
    let status = draft.status.value.parse().ok().filter(|code| (400..=599).contains(code));
    let Some(status) = status.filter(|_| draft.status.value.len() == 3) else {
        let cause = format!("`{}` is not the status of an error", draft.status.value);
        return Err(Problem::error(
            draft.status.span,
            cause,
            "write one from 400 to 599, as in `\"503\": sorry.html`",
        ));
    };
    let Some(content_type) = ErrorPage::content_type(&draft.file.value) else {
        let cause = format!("the name `{}` does not say what kind of text it is", draft.file.value);
        let remedy = "let it end in `.html`, `.txt`, `.json` or `.xml`, which decides the Content-Type";
        return Err(Problem::error(draft.file.span, cause, remedy));
    };
    if draft.body.len() > ErrorPage::LARGEST {
        let cause = format!("the page `{}` has {} bytes", draft.file.value, draft.body.len());
        return Err(Problem::error(
            draft.file.span,
            cause,
            "1 MiB is the most; let it name images instead of holding them",
        ));
    }
    Ok(ErrorPage { status, content_type, body: draft.body.clone() })
}

/// What only HTTP has means nothing on a byte stream.
fn refuse_http_keys(draft: &ListenerDraft, protocol: Protocol, problems: &mut Vec<Problem>) {
    let span = |key: &'static str, span: Option<Span>| span.map(|span| (key, span));
    let timeouts = &draft.timeouts;
    let limits = &draft.limits;
    let given = [
        span("timeouts.header", timeouts.header.as_ref().map(|setting| setting.span)),
        span("timeouts.body_idle", timeouts.body_idle.as_ref().map(|setting| setting.span)),
        span("timeouts.body_min_rate", timeouts.body_min_rate.as_ref().map(|setting| setting.span)),
        span("timeouts.tunnel", timeouts.tunnel.as_ref().map(|setting| setting.span)),
        span("timeouts.max_age", timeouts.max_age.as_ref().map(|setting| setting.span)),
        span("limits.header_bytes", limits.header_bytes.as_ref().map(|setting| setting.span)),
        span("limits.headers", limits.headers.as_ref().map(|setting| setting.span)),
        span("limits.body", limits.body.as_ref().map(|setting| setting.span)),
        span("limits.streams", limits.streams.as_ref().map(|setting| setting.span)),
        span("trusted_proxies", draft.trusted_proxies.as_ref().map(|setting| setting.span)),
        span("normalize", draft.normalize.as_ref().map(|setting| setting.span)),
        span("errors", draft.errors.as_ref().map(|setting| setting.span)),
    ];
    for (key, span) in given.into_iter().flatten() {
        let cause =
            format!("`{key}` has no meaning for `protocol: {}`, which knows no requests", protocol.word());
        problems.push(Problem::error(span, cause, "remove it, or use `protocol: http`"));
    }
}
