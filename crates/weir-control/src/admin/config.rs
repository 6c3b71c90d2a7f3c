//! `GET /api/config`: the configuration as it runs, defaults included, in the words of the file. Secrets are hidden.

mod health;
mod tls;

use serde_json::{Map, Value, json};
use weir_model::{
    balance::Balance,
    discovery::{Asking, Source},
    grpc,
    health::Outlier,
    listener::{Listener, Networks},
    pool::Pool,
    route::{Action, Condition, HeaderEdits, Matcher, RetryMethods, RetryOn, RewritePath, Route, TextMatch},
    secret,
    snapshot::Snapshot,
    time::Millis,
    tls::Origination,
};

use crate::explain::duration;

/// The whole configuration.
pub(super) fn of(snapshot: &Snapshot) -> Value {
    let process = &snapshot.process;
    let named = |pairs: Vec<(String, Value)>| Value::Object(pairs.into_iter().collect());
    let listeners =
        snapshot.listeners.iter().map(|each| (each.name.to_string(), listener(each, snapshot))).collect();
    let pools = snapshot.pools.iter().map(|each| (each.name.to_string(), pool(each))).collect();
    json!({
        "generation": snapshot.generation,
        "listeners": named(listeners),
        "pools": named(pools),
        "admin": process.admin.as_ref().map(|bind| json!({
            "bind": bind.to_string(),
            "token": process.admin_token.as_ref().map(|_| secret::HIDDEN),
        })),
        "zone": process.zone.as_deref(),
        "workers": { "count": process.workers.map_or_else(|| json!("auto"), |count| json!(count)), "pin": process.pin },
        "limits": { "connections": limit(process.connections) },
        "access_log": snapshot.logging.access.as_ref().map(|log| json!({
            "path": log.target.to_string(),
            "format": log.format.to_string(),
            "sample": log.sample.to_string(),
        })),
        "log": {
            "level": word(snapshot.logging.process.level),
            "format": word(snapshot.logging.process.format),
        },
        "debug_headers": snapshot.logging.debug_headers,
        "shutdown": {
            "announce": time(process.shutdown_announce),
            "drain": time(process.shutdown_drain),
        },
        "upgrade": { "drain": time(process.upgrade_drain) },
    })
}

fn time(length: Millis) -> Value {
    duration(length).into()
}

fn limit(count: u32) -> Value {
    if count == u32::MAX { "none".into() } else { count.into() }
}

fn limit64(count: u64) -> Value {
    if count == u64::MAX { "none".into() } else { count.into() }
}

fn texts<T: ToString>(items: &[T]) -> Value {
    items.iter().map(T::to_string).collect()
}

/// The variant of an enumeration whose variants are called as their words in the file.
fn word(variant: impl std::fmt::Debug) -> String {
    format!("{variant:?}").to_ascii_lowercase()
}

fn networks(networks: &Networks) -> Value {
    texts(networks.as_slice())
}

fn listener(listener: &Listener, snapshot: &Snapshot) -> Value {
    let binds: Vec<_> = listener.binds.iter().map(|bind| bind.address.to_string()).collect();
    let (timeouts, limits, tcp) = (&listener.timeouts, &listener.limits, &listener.tcp);
    let mut told = json!({
        "bind": binds,
        "protocol": listener.protocol.word(),
        "sni": listener.sni.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "accept_proxy_protocol": listener.accept_proxy.as_ref().map(|accepted| json!({
            "trust": networks(&accepted.trust),
            "mode": if accepted.required { "required" } else { "optional" },
        })),
        "trusted_proxies": networks(&listener.trusted_proxies),
        "allow": networks(&listener.access.allow),
        "deny": networks(&listener.access.deny),
        "max_connections": limit(listener.max_connections),
        "tcp": {
            "keepalive": time(tcp.keepalive),
            "user_timeout": time(tcp.user_timeout),
            "backlog": tcp.backlog,
        },
        "routes": listener.routes.routes().iter().map(|each| route(each, snapshot)).collect::<Vec<_>>(),
    });
    if let Some(termination) = &listener.tls {
        told["tls"] = tls::termination(termination);
        told["tls"]["acme"] = listener.acme.as_ref().map(|acme| tls::acme(acme)).into();
    }
    if !listener.protocol.has_requests() {
        told["timeouts"] = json!({ "idle": time(timeouts.idle), "send_idle": time(timeouts.send_idle) });
        if listener.opens() {
            told["timeouts"]["handshake"] = time(timeouts.handshake);
        }
        return told;
    }
    told["timeouts"] = json!({
        "header": time(timeouts.header),
        "idle": time(timeouts.idle),
        "body_idle": time(timeouts.body_idle),
        "body_min_rate": match timeouts.body_min_rate {
            0 => json!("none"),
            rate => json!(format!("{rate}B/s")),
        },
        "send_idle": time(timeouts.send_idle),
        "tunnel": time(timeouts.tunnel),
        "max_age": time(timeouts.max_age),
    });
    told["limits"] = json!({
        "header_bytes": limits.header_bytes,
        "headers": limits.headers,
        "body": limit64(limits.body),
        "streams": limits.streams,
    });
    let normalize = &listener.normalize;
    told["normalize"] = json!({
        "dot_segments": word(normalize.dot_segments),
        "encoded_slash": word(normalize.encoded_slash),
        "double_slash": word(normalize.double_slash),
    });
    let pages = listener.errors.iter();
    let page = |page: &weir_model::listener::ErrorPage| {
        let told = json!({ "content_type": page.content_type, "bytes": page.body.len() });
        (page.status.to_string(), told)
    };
    told["errors"] = Value::Object(pages.map(page).collect());
    told
}

fn route(route: &Route, snapshot: &Snapshot) -> Value {
    let name = |index: usize| snapshot.pools[index].name.to_string();
    let mut told = json!({ "name": route.name.to_string() });
    if !route.conditions.is_empty() {
        told["match"] = route.conditions.iter().map(condition).collect();
    }
    told[route.action.word()] = match &route.action {
        Action::Pool(pool) => name(*pool).into(),
        Action::Split(split) => {
            let arm = |(pool, weight): &(usize, u32)| json!({ "pool": name(*pool), "weight": weight });
            split.arms.iter().map(arm).collect()
        }
        Action::Redirect(redirect) => json!({
            "scheme": redirect.scheme.as_deref(),
            "host": redirect.host.as_deref(),
            "port": redirect.port,
            "path": path(&redirect.path),
            "code": redirect.code,
        }),
        Action::Respond(respond) => json!({
            "status": respond.status,
            "body": respond.body.text.source(),
            "headers": fields(respond.headers.iter().map(|(name, value)| (name.to_string(), value.to_string()))),
        }),
    };
    if let Some(rewrite) = &route.rewrite {
        told["rewrite"] = json!({ "path": path(&rewrite.path), "host": rewrite.host.as_deref() });
    }
    for (key, what) in
        [("request_headers", &route.request_headers), ("response_headers", &route.response_headers)]
    {
        if !what.is_empty() {
            told[key] = edits(what);
        }
    }
    if matches!(route.action, Action::Pool(_) | Action::Split(_)) {
        let retry = &route.retry;
        told["grpc_web"] = route.grpc_web.into();
        told["timeout"] = time(route.timeout);
        told["retry"] = json!({
            "retries": retry.retries,
            "connect": retry.on.connect,
            "reset": retry.on.reset,
            "timeout": retry.on.timeout,
            "statuses": retry.on.statuses,
            "grpc": RetryOn::GRPC.into_iter().filter(|status| retry.on.grpc(*status)).map(grpc::word).collect::<Vec<_>>(),
            "per_try": time(retry.per_try),
            "budget": retry.budget.map_or_else(|| "none".into(), share),
            "methods": match &retry.methods {
                RetryMethods::Idempotent => json!("idempotent"),
                RetryMethods::All => json!("all"),
                RetryMethods::These(methods) => texts(methods),
            },
        });
    }
    told
}

/// Header fields with what is secret hidden.
fn fields(fields: impl Iterator<Item = (String, String)>) -> Value {
    let shown = |(name, value): (String, String)| {
        let value = secret::shown(&name, &value).to_owned();
        (name, Value::from(value))
    };
    Value::Object(fields.map(shown).collect())
}

fn edits(edits: &HeaderEdits) -> Value {
    json!({
        "set": fields(edits.set.iter().map(|(name, value)| (name.to_string(), value.to_string()))),
        "add": fields(edits.add.iter().map(|(name, value)| (name.to_string(), value.to_string()))),
        "remove": texts(&edits.remove),
    })
}

fn path(path: &RewritePath) -> Value {
    match path {
        RewritePath::Keep => "kept".into(),
        RewritePath::Whole(whole) => whole.to_string().into(),
        RewritePath::Prefix { from, to } => json!({ "prefix": from.to_string(), "to": to.to_string() }),
        RewritePath::Regex { from, to } => json!({ "regex": from.as_str(), "to": to.to_string() }),
    }
}

fn condition(condition: &Condition) -> Value {
    let mut told = Map::new();
    for matcher in &condition.matchers {
        match matcher {
            Matcher::Host(hosts) => _ = told.insert("host".into(), texts(hosts)),
            Matcher::Path(paths) => _ = told.insert("path".into(), texts(paths)),
            Matcher::Method(methods) => _ = told.insert("method".into(), texts(methods)),
            Matcher::Header(name, wanted) => compared(&mut told, "headers", name, wanted),
            Matcher::Query(name, wanted) => compared(&mut told, "query", name, wanted),
            Matcher::Cookie(name, wanted) => compared(&mut told, "cookies", name, wanted),
            Matcher::Source(sources) => _ = told.insert("source".into(), networks(sources)),
            Matcher::ServerName(hosts) => _ = told.insert("sni".into(), texts(hosts)),
            Matcher::Protocol(names) => _ = told.insert("alpn".into(), texts(names)),
            Matcher::Certificate(wanted) => {
                told.insert("client_cert".into(), wanted.to_string().into());
            }
            Matcher::Grpc(calls) => {
                told.insert(
                    "grpc".into(),
                    json!({ "service": texts(calls.service()), "method": texts(calls.method()) }),
                );
            }
            Matcher::Not(conditions) => {
                told.insert("not".into(), conditions.iter().map(self::condition).collect());
            }
        }
    }
    Value::Object(told)
}

fn compared(told: &mut Map<String, Value>, key: &str, name: &str, wanted: &[TextMatch]) {
    let shown = |wanted: &TextMatch| secret::shown(name, &wanted.to_string()).to_owned();
    let group = told.entry(key).or_insert_with(|| json!({}));
    group[name] = wanted.iter().map(shown).collect();
}

fn pool(pool: &Pool) -> Value {
    let backends: Vec<_> = pool
        .backends
        .iter()
        .map(|backend| {
            json!({
                "name": backend.name.to_string(),
                "address": backend.endpoint.to_string(),
                "weight": backend.weight,
                "server_id": backend.server_id.map(|id| id.to_string()),
                "zone": backend.zone.as_deref(),
                "backup": backend.backup,
                "max_connections": limit(backend.max_connections),
                "state": backend.state.word(),
            })
        })
        .collect();
    let (keepalive, limits) = (&pool.keepalive, &pool.limits);
    json!({
        "balance": balance(&pool.balance),
        "protocol": pool.protocol.word(),
        "backends": backends,
        "discover": pool.discover.as_ref().map(|source| discover(source)),
        "health": pool.health.as_ref().map(health::check),
        "outlier": pool.outlier.as_ref().map(outlier),
        "slow_start": time(pool.slow_start),
        "panic": format!("{}%", f64::from(pool.panic) / 10_000.0),
        "sticky": pool.sticky.as_ref().map(|sticky| json!({
            "cookie": sticky.cookie.to_string(),
            "attributes": sticky.attributes.trim_start_matches("; "),
        })),
        "zone_aware": if pool.zones.is_some() { "prefer" } else { "off" },
        "connect_timeout": time(pool.connect_timeout),
        "response_timeout": time(pool.response_timeout),
        "stream_idle": time(pool.stream_idle),
        "drain": time(pool.drain),
        "keepalive": {
            "idle": time(keepalive.idle),
            "max_idle": limit64(keepalive.max_idle as u64),
            "max_requests": limit64(keepalive.max_requests),
            "max_age": time(keepalive.max_age),
        },
        "tls": pool.tls.as_ref().map(|tls| origination(tls)),
        "send_proxy_protocol": pool.send_proxy.as_ref().map(|sent| json!({
            "version": sent.version.word(),
            "tlvs": sent.tlvs.iter().map(|tlv| tlv.word()).collect::<Vec<_>>(),
        })),
        "limits": {
            "connections": limit(limits.connections),
            "pending": limit(limits.pending),
            "requests": limit(limits.requests),
            "queue_timeout": time(limits.queue_timeout),
        },
    })
}

fn origination(tls: &Origination) -> Value {
    json!({
        "verify": tls.verify,
        "authorities": tls.authorities.as_ref().map_or_else(|| json!("system"), |own| json!(own.len())),
        "sni": tls.server_name.as_deref(),
        "cert": tls.identity.as_ref().map(|identity| identity.name.to_string()),
    })
}

fn outlier(outlier: &Outlier) -> Value {
    json!({
        "consecutive_errors": limit(outlier.consecutive_errors.unwrap_or(u32::MAX)),
        "error_rate": outlier.error_rate.map_or_else(|| "none".into(), share),
        "window": time(outlier.window),
        "eject": time(outlier.eject),
        "max_ejected": share(outlier.max_ejected),
    })
}

/// Millionths as a percentage.
fn share(share: u32) -> String {
    format!("{}%", f64::from(share) / 10_000.0)
}

fn balance(balance: &Balance) -> Value {
    let Some(key) = &balance.key else { return balance.word().into() };
    json!({
        "policy": balance.word(),
        "key": key.to_string(),
        "bounded_load": balance.bounded_load.map(|percent| format!("{percent}%")),
    })
}

fn discover(source: &Source) -> Value {
    let asked = |what: String, asking: &Asking| {
        json!({
            source.word(): what,
            "refresh": time(asking.refresh),
            "servers": texts(&asking.servers),
        })
    };
    match source {
        Source::Dns { host, port, asking } => asked(format!("{host}:{port}"), asking),
        Source::Srv { name, asking } => asked(name.to_string(), asking),
        Source::File(path) => json!({ "file": path.display().to_string() }),
        Source::Docker(docker) => json!({ "docker": {
            "host": format!("unix://{}", docker.socket.display()),
            "label": docker.label.to_string(),
            "port": docker.port,
            "network": docker.network.as_deref(),
        } }),
    }
}
