//! What happens on the way: edits, forwarded fields, retries, time-outs, each as a sentence.

use weir_model::{
    grpc,
    listener::Listener,
    pool::{Pool, UpstreamProtocol},
    route::{Action, HeaderEdits, RequestFacts as _, Retry, RetryMethods, RetryOn, Route},
    secret,
    snapshot::Snapshot,
    template::Template,
    time::Millis,
};

use super::{Explanation, Refused, Rehearsed};

/// What becomes of a request that the route took.
pub(super) fn of_request(
    snapshot: &Snapshot,
    listener: &Listener,
    route: &Route,
    told: &Explanation,
    request: &impl Rehearsed,
) -> Vec<String> {
    let mut effects = Vec::new();
    match &route.action {
        Action::Redirect(redirect) => {
            let fields = request.answered(route);
            let location = field(&fields, "location").unwrap_or_default();
            effects.push(format!("the client is answered {} and sent to {location}", redirect.code));
        }
        Action::Respond(respond) => {
            let body = match respond.body.text.as_literal() {
                Some(text) => format!("a body of {} bytes", text.len()),
                None => format!("the body `{}`", respond.body.text),
            };
            effects.push(format!("the client is answered {} with {body}", respond.status));
            for (name, value) in &respond.headers {
                effects.push(format!("response header {name}: {} is set", secret::shown(name, said(value))));
            }
        }
        Action::Pool(_) | Action::Split(_) => {
            effects.extend(nobody(snapshot, told, "the client is answered 503"));
            forwarded(&mut effects, route, request);
            let pool = told.pool.as_deref().and_then(|name| snapshot.pool(name));
            effects.extend(pool.and_then(|(_, pool)| said_first(pool)));
            effects.extend(pool.map(|(_, pool)| carried(pool, is_call(request))));
        }
    }
    edits(&mut effects, "response", &route.response_headers);
    let pool = told.pool.as_deref().and_then(|name| snapshot.pool(name));
    if let Some((_, pool)) = pool {
        effects.push(retries(&route.retry, others(pool, told), request));
        if !route.timeout.is_none() {
            effects.push(format!("the whole exchange may take {}", duration(route.timeout)));
        }
        let timeouts = &listener.timeouts;
        let call = is_call(request);
        let silence = if call || is_connect(request) {
            ("tunnel", timeouts.tunnel)
        } else {
            ("body_idle", timeouts.body_idle)
        };
        let client = [("header", timeouts.header), silence, ("send_idle", timeouts.send_idle)];
        effects.push(format!("time-outs towards the client: {}", listed(&client)));
        // A call may be silent for as long as it likes, and has a deadline of its own if it wants one.
        let backend = if call { &of_pool(pool)[..1] } else { &of_pool(pool)[..] };
        effects.push(format!("time-outs towards the backend: {}", listed(backend)));
    }
    effects
}

/// What becomes of a connection that a route took.
pub(super) fn of_connection(snapshot: &Snapshot, listener: &Listener, told: &Explanation) -> Vec<String> {
    let mut effects: Vec<_> = nobody(snapshot, told, "the connection is reset").into_iter().collect();
    if let Some((_, pool)) = told.pool.as_deref().and_then(|name| snapshot.pool(name)) {
        effects.extend(said_first(pool));
        effects.push(match others(pool, told) {
            Some(0) => {
                "if the backend cannot be connected, that is the end: no other one may be chosen".into()
            }
            _ => "a backend that cannot be connected is passed over for another one".into(),
        });
        let times = [("connect_timeout", pool.connect_timeout), ("idle", listener.timeouts.idle)];
        effects.push(format!("time-outs: {}", listed(&times)));
    }
    effects
}

/// What follows where there is nobody to choose.
fn nobody(snapshot: &Snapshot, told: &Explanation, consequence: &str) -> Option<String> {
    if told.pick.is_some() {
        return None;
    }
    let pool = told.pool.as_deref().and_then(|name| snapshot.pool(name));
    let source = pool.and_then(|(_, pool)| pool.discover.as_ref());
    Some(match source {
        Some(source) if !told.live => {
            format!("the backends are discovered ({source}): the file alone does not say which they are")
        }
        Some(source) if told.candidates.is_empty() => {
            format!("{consequence}: no backend was discovered yet ({source})")
        }
        _ => format!("{consequence}: no backend of the pool may be chosen"),
    })
}

/// What becomes of what is refused before it is routed.
pub(super) fn of_refusal(refused: &Refused) -> String {
    let Refused { code, status, sentence } = refused;
    match status {
        0 => format!("the connection is closed: {sentence} ({code})"),
        _ => format!("the client is answered {status}: {sentence} ({code})"),
    }
}

/// What the backend gets beside what the client sent.
fn forwarded(effects: &mut Vec<String>, route: &Route, request: &impl Rehearsed) {
    let facts = request.facts();
    let head = request.forwarded(route);
    let line =
        String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    let target = line.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    let came = String::from_utf8_lossy(facts.path()).into_owned();
    if is_connect(request) {
        effects.push(format!("the backend is asked for a tunnel to {target}"));
    } else if path != came {
        effects.push(format!("the path {came} becomes {path}"));
    }
    let host = route.rewrite.as_ref().and_then(|rewrite| rewrite.host.as_deref());
    if let Some(host) = host {
        effects.push(format!("the backend is told Host: {host}"));
    }
    for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"] {
        if let Some((name, value)) = full_field(&head, name) {
            effects.push(format!("the backend is told {name}: {value}"));
        }
    }
    edits(effects, "request", &route.request_headers);
}

/// What connections to a pool begin with.
fn said_first(pool: &Pool) -> Option<String> {
    let header = pool.send_proxy.as_ref().map(|sent| format!("a PROXY header {}", sent.version.word()));
    let tls = pool.tls.as_ref().map(|tls| match (&tls.server_name, tls.verify) {
        (Some(name), true) => format!("TLS, verified for {name}"),
        (None, true) => "TLS, verified for the name of the backend".to_owned(),
        (_, false) => "TLS, which is not verified".to_owned(),
    });
    let said: Vec<_> = header.into_iter().chain(tls).collect();
    (!said.is_empty()).then(|| format!("the connection to the backend begins with {}", said.join(", then ")))
}

/// True if the request is a call of gRPC.
fn is_call(request: &impl Rehearsed) -> bool {
    request.facts().any_header("content-type", &mut |value| grpc::is_call(value))
}

/// True if the request asks for a tunnel.
fn is_connect(request: &impl Rehearsed) -> bool {
    request.facts().method() == b"CONNECT"
}

/// What carries the request to the backend.
fn carried(pool: &Pool, call: bool) -> String {
    let version = match (pool.protocol, &pool.tls) {
        (UpstreamProtocol::H2, _) => "HTTP/2",
        (UpstreamProtocol::Http1, _) => "HTTP/1.1",
        (UpstreamProtocol::Auto, Some(_)) => "HTTP/2 if it agrees on that (ALPN), else by HTTP/1.1",
        (UpstreamProtocol::Auto, None) if call => "HTTP/2, since gRPC knows nothing else",
        (UpstreamProtocol::Auto, None) => "HTTP/1.1",
    };
    format!("the backend is asked by {version}")
}

fn edits(effects: &mut Vec<String>, message: &str, edits: &HeaderEdits) {
    for name in &edits.remove {
        effects.push(format!("{message} header {name} is removed"));
    }
    for (name, value) in &edits.set {
        effects.push(format!("{message} header {name} is set to {}", secret::shown(name, said(value))));
    }
    for (name, value) in &edits.add {
        effects.push(format!("{message} header {name} is added: {}", secret::shown(name, said(value))));
    }
}

/// A value as it is sent, or with its variables as the file has it.
fn said(value: &Template) -> &str {
    value.as_literal().unwrap_or(value.source())
}

/// Backends that may be tried after the first one; none if nobody knows, because they are still to be discovered.
fn others(pool: &Pool, told: &Explanation) -> Option<u32> {
    if pool.discover.is_some() && !told.live {
        return None;
    }
    let eligible = told.candidates.iter().filter(|candidate| candidate.eligible).count();
    Some(u32::try_from(eligible.saturating_sub(1)).unwrap_or(u32::MAX))
}

/// When it is tried again, as its route says and as its pool allows.
fn retries(retry: &Retry, others: Option<u32>, request: &impl Rehearsed) -> String {
    let may = match &retry.methods {
        RetryMethods::All => true,
        RetryMethods::Idempotent => request.is_idempotent(),
        RetryMethods::These(methods) => {
            methods.iter().any(|method| method.as_bytes() == request.facts().method())
        }
    };
    let again = may && request.can_resend() != Some(false);
    let mut failures = Vec::new();
    if retry.on.connect {
        failures.push("no connection can be made".to_owned());
    }
    if again {
        if retry.on.reset {
            failures.push("the backend breaks off before it answers".into());
        }
        if retry.on.timeout {
            failures.push("the backend does not answer in time".into());
        }
        if !retry.on.statuses.is_empty() {
            let codes: Vec<_> = retry.on.statuses.iter().map(u16::to_string).collect();
            failures.push(format!("it answers {}", codes.join(" or ")));
        }
        let statuses = RetryOn::GRPC.into_iter().filter(|status| retry.on.grpc(*status)).map(grpc::word);
        let statuses: Vec<_> = statuses.collect();
        if is_call(request) && !statuses.is_empty() {
            failures.push(format!("it ends the call at once with {}", statuses.join(" or ")));
        }
    }
    if retry.retries == 0 || failures.is_empty() {
        return "it is never tried again".into();
    }
    // No backend is asked twice.
    let most = retry.retries.min(others.unwrap_or(u32::MAX));
    if most == 0 {
        return "it is never tried again: no other backend of the pool may be chosen".into();
    }
    let never = match request.can_resend() {
        _ if !may => "; never after it was sent, because its method may not be repeated",
        Some(false) => {
            "; never after it was sent, because its body is not kept: it is longer than 64 KiB, or has no length"
        }
        // Those that come will have a body, though the one that is asked about says nothing of one.
        None if !matches!(request.facts().method(), b"GET" | b"HEAD" | b"OPTIONS" | b"DELETE") => {
            "; after it was sent only with a body of up to 64 KiB, over HTTP/1 one whose length is said"
        }
        _ => "",
    };
    let times = if most == 1 { "once".to_owned() } else { format!("up to {most} times") };
    let within = match retry.budget {
        Some(share) if again => {
            format!(", as far as {} % of the pool's requests", f64::from(share) / 10_000.0)
        }
        _ => String::new(),
    };
    format!("it is tried again elsewhere {times} if {}{never}{within}", failures.join(", or if "))
}

fn of_pool(pool: &Pool) -> [(&'static str, Millis); 3] {
    [
        ("connect_timeout", pool.connect_timeout),
        ("response_timeout", pool.response_timeout),
        ("stream_idle", pool.stream_idle),
    ]
}

fn listed(timeouts: &[(&str, Millis)]) -> String {
    let each: Vec<_> =
        timeouts.iter().map(|(name, length)| format!("{name} {}", duration(*length))).collect();
    each.join(", ")
}

/// A duration as files write it.
pub(crate) fn duration(length: Millis) -> String {
    match length.0 {
        _ if length.is_none() => "none".into(),
        millis if millis % 3_600_000 == 0 && millis > 0 => format!("{}h", millis / 3_600_000),
        millis if millis % 60_000 == 0 && millis > 0 => format!("{}m", millis / 60_000),
        millis if millis % 1000 == 0 => format!("{}s", millis / 1000),
        millis => format!("{millis}ms"),
    }
}

/// The value of the first field of a name in lower case.
fn field(head: &[u8], name: &str) -> Option<String> {
    full_field(head, name).map(|(_, value)| value)
}

fn full_field(head: &[u8], name: &str) -> Option<(String, String)> {
    let text = String::from_utf8_lossy(head);
    let fields = text.split("\r\n").filter_map(|line| line.split_once(": "));
    fields
        .filter(|(own, _)| own.eq_ignore_ascii_case(name))
        .map(|(own, value)| (own.to_owned(), value.to_owned()))
        .next()
}
