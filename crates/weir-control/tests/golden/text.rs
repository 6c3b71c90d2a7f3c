//! A snapshot as text, without counters and other things that differ between runs.

use std::fmt::Write as _;

use weir_model::{
    acme::Acme,
    balance::Balance,
    health::{HealthCheck, Probe},
    listener::{Listener, Normalize},
    log::ProcessLog,
    pool::{Backend, Pool, UpstreamProtocol},
    route::{Action, Condition, HeaderEdits, Matcher, Retry, RewritePath, Route},
    snapshot::{Logging, Snapshot},
    status::State,
    time::Millis,
    tls::{Certificate, ClientAuth, PrivateKey, Termination},
};

/// The whole snapshot.
pub(crate) fn of(snapshot: &Snapshot) -> String {
    let mut out = format!("{:?}\n", snapshot.process);
    logging(&mut out, &snapshot.logging);
    snapshot.listeners.iter().for_each(|each| listener(&mut out, each, snapshot));
    snapshot.pools.iter().for_each(|each| pool(&mut out, each));
    out
}

macro_rules! line {
    ($out:expr, $($format:tt)+) => { writeln!($out, $($format)+).unwrap() };
}

/// What differs from the defaults.
fn logging(out: &mut String, logging: &Logging) {
    if let Some(access) = &logging.access {
        // Paths are relative to the file that names them, which is elsewhere on every machine.
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/good/");
        line!(out, "{}", format!("{access:?}").replace(folder, ""));
    }
    if logging.process != ProcessLog::default() {
        line!(out, "{:?}", logging.process);
    }
    if logging.debug_headers {
        line!(out, "debug headers");
    }
}

fn listener(out: &mut String, listener: &Listener, snapshot: &Snapshot) {
    line!(out, "listener {} {:?}", listener.name, listener.protocol);
    for bind in &listener.binds {
        line!(out, "  bind {}{}", bind.address, if bind.either_family { " (either family)" } else { "" });
    }
    if !listener.sni.is_empty() {
        let names: Vec<_> = listener.sni.iter().map(ToString::to_string).collect();
        line!(out, "  sni {}", names.join(" "));
    }
    if let Some(tls) = &listener.tls {
        termination(out, tls);
    }
    if let Some(acme) = &listener.acme {
        let Acme { label, directory, email, domains, challenge, authorities, storage: _, status: _ } =
            &**acme;
        line!(out, "  acme {label} of {directory} for {email:?} by {}", challenge.word());
        line!(out, "    for {domains:?}, ca {:?}", authorities.as_ref().map(Vec::len));
    }
    if let Some(accepted) = &listener.accept_proxy {
        line!(out, "  PROXY headers of {:?} required {}", accepted.trust.as_slice(), accepted.required);
    }
    line!(out, "  {:?}", listener.timeouts);
    line!(out, "  {:?}", listener.limits);
    if !listener.trusted_proxies.is_empty() {
        line!(out, "  trusted {:?}", listener.trusted_proxies.as_slice());
    }
    if !listener.access.is_open() {
        line!(
            out,
            "  allow {:?} deny {:?}",
            listener.access.allow.as_slice(),
            listener.access.deny.as_slice()
        );
    }
    line!(out, "  max_connections {} {:?}", count(listener.max_connections), listener.tcp);
    if listener.normalize != Normalize::default() {
        line!(out, "  {:?}", listener.normalize);
    }
    for page in &listener.errors {
        let body = String::from_utf8_lossy(&page.body);
        line!(out, "  error page {} {} {body:?}", page.status, page.content_type);
    }
    for each in listener.routes.routes() {
        route(out, each, snapshot);
    }
}

fn termination(out: &mut String, tls: &Termination) {
    let alpn: Vec<_> = tls.alpn.iter().map(|name| name.escape_ascii().to_string()).collect();
    line!(out, "  tls from {:?} alpn {alpn:?}", tls.min_version);
    for certificate in &tls.certificates {
        let Certificate { name, chain, key, ocsp, names, not_after } = &**certificate;
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/good/");
        let key = match key {
            PrivateKey::Pkcs1(_) => "PKCS #1",
            PrivateKey::Sec1(_) => "SEC 1",
            PrivateKey::Pkcs8(_) => "PKCS #8",
        };
        let (name, chain) = (name.replace(folder, ""), chain.len());
        line!(out, "    {name} chain of {chain}, key {key}, ocsp {}", ocsp.is_some());
        line!(out, "      for {names:?} until {not_after}");
    }
    if let Some(ClientAuth { authorities, required }) = &tls.client_auth {
        line!(out, "    clients of {} authorities, required {required}", authorities.len());
    }
}

fn route(out: &mut String, route: &Route, snapshot: &Snapshot) {
    let pool = |index: usize| snapshot.pools[index].name.to_string();
    line!(out, "  route {}", route.name);
    for each in &route.conditions {
        line!(out, "    when {}", condition(each));
    }
    match &route.action {
        Action::Pool(index) => line!(out, "    pool {}", pool(*index)),
        Action::Split(split) => {
            let arms: Vec<_> =
                split.arms.iter().map(|(index, weight)| format!("{} {weight}", pool(*index))).collect();
            line!(out, "    split {}", arms.join(", "));
        }
        Action::Redirect(redirect) => line!(
            out,
            "    redirect {} scheme {:?} host {:?} port {:?} path {}",
            redirect.code,
            redirect.scheme,
            redirect.host,
            redirect.port,
            path(&redirect.path)
        ),
        Action::Respond(respond) => line!(
            out,
            "    respond {} {:?} {:?}{}",
            respond.status,
            respond.body.text,
            respond.headers,
            if respond.body.text.as_literal().is_some() {
                String::new()
            } else {
                format!(" escaped {:?}, says {:?}", respond.body.escape, respond.body.content_type)
            }
        ),
    }
    if let Some(rewrite) = &route.rewrite {
        line!(out, "    rewrite path {} host {:?}", path(&rewrite.path), rewrite.host);
    }
    edits(out, "request", &route.request_headers);
    edits(out, "response", &route.response_headers);
    if route.grpc_web {
        line!(out, "    grpc_web");
    }
    if !route.timeout.is_none() {
        line!(out, "    timeout {}", time(route.timeout));
    }
    if route.retry != Retry::default() {
        line!(out, "    {:?}", route.retry);
    }
}

fn count(count: u32) -> String {
    if count == u32::MAX { "none".into() } else { count.to_string() }
}

fn edits(out: &mut String, which: &str, edits: &HeaderEdits) {
    if !edits.is_empty() {
        line!(out, "    {which} set {:?} add {:?} remove {:?}", edits.set, edits.add, edits.remove);
    }
}

fn path(path: &RewritePath) -> String {
    match path {
        RewritePath::Keep => "kept".into(),
        RewritePath::Whole(whole) => format!("= {whole}"),
        RewritePath::Prefix { from, to } => format!("{from}/* -> {to}"),
        RewritePath::Regex { from, to } => format!("~{from} -> {to}"),
    }
}

fn condition(condition: &Condition) -> String {
    condition.matchers.iter().map(matcher).collect::<Vec<_>>().join(" and ")
}

fn matcher(matcher: &Matcher) -> String {
    fn any<T: ToString>(items: &[T]) -> String {
        items.iter().map(T::to_string).collect::<Vec<_>>().join(" | ")
    }
    match matcher {
        Matcher::Host(hosts) => format!("host {}", any(hosts)),
        Matcher::Path(paths) => format!("path {}", any(paths)),
        Matcher::Method(methods) => format!("method {}", any(methods)),
        Matcher::Header(name, texts) => format!("header {name} {}", any(texts)),
        Matcher::Query(name, texts) => format!("query {name} {}", any(texts)),
        Matcher::Cookie(name, texts) => format!("cookie {name} {}", any(texts)),
        Matcher::Source(networks) => format!("source {}", any(networks.as_slice())),
        Matcher::ServerName(hosts) => format!("sni {}", any(hosts)),
        Matcher::Protocol(names) => format!("alpn {}", any(names)),
        Matcher::Certificate(wanted) => format!("client certificate {wanted}"),
        Matcher::Grpc(calls) => format!("grpc {calls}"),
        Matcher::Not(conditions) => {
            format!("not ({})", conditions.iter().map(condition).collect::<Vec<_>>().join(" or "))
        }
    }
}

fn pool(out: &mut String, pool: &Pool) {
    line!(out, "pool {} {}", pool.name, balance(&pool.balance));
    for backend in &pool.backends {
        let health = backend.status.health().word();
        let Backend { name, endpoint, weight, state, backup, max_connections, server_id, zone, status: _ } =
            backend;
        line!(out, "  backend {name} {endpoint:?} weight {weight} {health}");
        if *backup || *state != State::Active || *max_connections != u32::MAX || zone.is_some() {
            let state = state.word();
            line!(out, "    {state} backup {backup} max connections {max_connections} zone {zone:?}");
        }
        if let Some(id) = server_id {
            line!(out, "    server id {id}");
        }
    }
    if let Some(sticky) = &pool.sticky {
        line!(out, "  sticky {}{}", sticky.cookie, sticky.attributes);
    }
    if pool.panic > 0 {
        line!(out, "  panic {}", pool.panic);
    }
    if let Some(zones) = &pool.zones {
        let own: Vec<_> = (0..pool.backends.len()).filter(|index| zones.is_own(*index)).collect();
        line!(out, "  zone {} of {}: {own:?}", zones.own(), zones.count());
    }
    if pool.protocol != UpstreamProtocol::Auto {
        line!(out, "  protocol {}", pool.protocol.word());
    }
    if let Some(source) = &pool.discover {
        line!(out, "  discover {source:?}");
    }
    if let Some(check) = &pool.health {
        health(out, check);
    }
    if let Some(outlier) = &pool.outlier {
        line!(out, "  {outlier:?}");
    }
    if pool.slow_start > Millis(0) {
        line!(out, "  slow start {}", time(pool.slow_start));
    }
    line!(
        out,
        "  connect {} response {} stream idle {}",
        time(pool.connect_timeout),
        time(pool.response_timeout),
        time(pool.stream_idle)
    );
    if pool.drain != Millis::secs(30) {
        line!(out, "  drain {}", time(pool.drain));
    }
    if let Some(sent) = &pool.send_proxy {
        let words: Vec<_> = sent.tlvs.iter().map(|tlv| tlv.word()).collect();
        line!(out, "  PROXY header {} {}", sent.version.word(), words.join(" "));
    }
    if let Some(tls) = &pool.tls {
        line!(
            out,
            "  tls verify {} authorities {:?} sni {:?} cert {:?}",
            tls.verify,
            tls.authorities.as_ref().map(Vec::len),
            tls.server_name,
            tls.identity.as_ref().map(|identity| &identity.names)
        );
    }
    line!(out, "  {:?}", pool.keepalive);
    line!(out, "  {:?}", pool.limits);
}

/// The word of the policy, and what is hashed if it hashes.
fn balance(balance: &Balance) -> String {
    let mut text = balance.word().to_owned();
    if let Some(key) = &balance.key {
        write!(text, " on {key}").unwrap();
    }
    if let Some(percent) = balance.bounded_load {
        write!(text, " within {percent}%").unwrap();
    }
    text
}

fn health(out: &mut String, check: &HealthCheck) {
    match &check.probe {
        Probe::Tcp => line!(out, "  health tcp"),
        Probe::Tls => line!(out, "  health tls"),
        Probe::Grpc(grpc) => line!(out, "  health grpc {:?}", grpc.service),
        Probe::Udp(udp) => line!(
            out,
            "  health udp send {} expect {:?}",
            udp.send.escape_ascii(),
            udp.expect.as_ref().map(|expect| expect.escape_ascii().to_string())
        ),
        Probe::Http(http) => line!(
            out,
            "  health {} {} host {:?} {:?} expect {:?} body {:?}",
            http.method,
            http.path,
            http.host,
            http.headers,
            http.expect,
            http.body
        ),
    }
    line!(
        out,
        "    every {} within {} fall {} rise {} port {:?} initially {}",
        time(check.interval),
        time(check.timeout),
        check.fall,
        check.rise,
        check.port,
        if check.initially_up { "up" } else { "unknown" }
    );
    if check.plain {
        line!(out, "    plain");
    }
    if check.interval_down != check.interval.min(Millis::secs(1)) {
        line!(out, "    every {} while down", time(check.interval_down));
    }
}

fn time(length: Millis) -> String {
    if length.is_none() { "none".into() } else { format!("{}ms", length.0) }
}
