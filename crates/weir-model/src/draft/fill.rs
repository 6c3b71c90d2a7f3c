//! Defaults: keys that are absent are taken from elsewhere, maps key by key.
//!
//! Every struct is taken apart by name here, so that a new key cannot be forgotten.

use super::{
    AcceptProxyDraft, BalanceDraft, ClientAuthDraft, EditsDraft, HealthDraft, KeepaliveDraft, ListenerDraft,
    ListenerLimitsDraft, NormalizeDraft, OriginationDraft, OutlierDraft, PoolDraft, PoolLimitsDraft,
    RetryDraft, RouteDraft, Setting, TcpDraft, TerminationDraft, Text, TimeoutsDraft,
};
use crate::{listener::Protocol, problem::Located};

/// Takes each of these keys from `from` where it is absent.
macro_rules! absent {
    ($from:expr; $($key:ident),+) => {
        $(if $key.is_none() { $key.clone_from(&$from.$key); })+
    };
}

/// Takes a map from elsewhere if it is absent, or else its absent keys.
fn map<T: Clone>(own: &mut Setting<T>, from: &Setting<T>, fill: impl FnOnce(&mut T, &T)) {
    match (own, from) {
        (own @ None, from) => own.clone_from(from),
        (Some(own), Some(from)) => fill(&mut own.value, &from.value),
        (Some(_), None) => {}
    }
}

impl ListenerDraft {
    /// Takes absent keys from the defaults, unless they mean nothing for its protocol.
    pub fn fill(&mut self, from: &Self) {
        let Self {
            name: _,
            broken: _,
            binds: _,
            sni: _,
            accept_proxy,
            routes: _,
            pool: _,
            protocol,
            tls,
            timeouts,
            limits,
            trusted_proxies,
            allow,
            deny,
            max_connections,
            normalize,
            tcp,
            errors,
        } = self;
        absent!(from; protocol, allow, deny, max_connections);
        let http = protocol.as_ref().is_none_or(|protocol| protocol.value.has_requests());
        match protocol.as_ref().map(|protocol| protocol.value) {
            Some(Protocol::Https) => map(tls, &from.tls, TerminationDraft::fill),
            // Nobody ends TLS on a byte stream without having said so there.
            Some(Protocol::Tcp) if tls.is_some() => map(tls, &from.tls, TerminationDraft::fill),
            _ => {}
        }
        map(accept_proxy, &from.accept_proxy, AcceptProxyDraft::fill);
        timeouts.fill(&from.timeouts, http);
        tcp.fill(&from.tcp);
        if http {
            limits.fill(&from.limits);
            absent!(from; trusted_proxies);
            map(normalize, &from.normalize, NormalizeDraft::fill);
            map(errors, &from.errors, |own, from| {
                let absent = |status: &Text| own.iter().all(|page| page.status.value != status.value);
                let more: Vec<_> = from.iter().filter(|page| absent(&page.status)).cloned().collect();
                own.extend(more);
            });
        }
    }
}

impl AcceptProxyDraft {
    fn fill(&mut self, from: &Self) {
        let Self { off, trust, required } = self;
        if !*off && !from.off {
            absent!(from; trust, required);
        }
    }
}

impl TerminationDraft {
    fn fill(&mut self, from: &Self) {
        // A certificate that is issued has no defaults.
        let Self { certificates, min_version, alpn, client_auth, acme: _ } = self;
        absent!(from; certificates, min_version, alpn);
        map(client_auth, &from.client_auth, ClientAuthDraft::fill);
    }
}

impl ClientAuthDraft {
    fn fill(&mut self, from: &Self) {
        let Self { ca, required } = self;
        absent!(from; ca, required);
    }
}

impl TimeoutsDraft {
    fn fill(&mut self, from: &Self, http: bool) {
        let Self { header, handshake, idle, body_idle, body_min_rate, send_idle, tunnel, max_age } = self;
        absent!(from; handshake, idle, send_idle);
        if http {
            absent!(from; header, body_idle, body_min_rate, tunnel, max_age);
        }
    }
}

impl ListenerLimitsDraft {
    fn fill(&mut self, from: &Self) {
        let Self { header_bytes, headers, body, streams } = self;
        absent!(from; header_bytes, headers, body, streams);
    }
}

impl NormalizeDraft {
    fn fill(&mut self, from: &Self) {
        let Self { dot_segments, encoded_slash, double_slash } = self;
        absent!(from; dot_segments, encoded_slash, double_slash);
    }
}

impl TcpDraft {
    fn fill(&mut self, from: &Self) {
        let Self { keepalive, user_timeout, backlog } = self;
        absent!(from; keepalive, user_timeout, backlog);
    }
}

impl RouteDraft {
    /// Takes absent keys from the defaults, unless they mean nothing for the protocol, or for a request that is answered
    /// and not forwarded.
    pub fn fill(&mut self, from: &Self, protocol: Protocol, forwards: bool) {
        let Self {
            span: _,
            broken: _,
            name: _,
            conditions: _,
            actions: _,
            rewrite: _,
            grpc_web,
            request_headers,
            response_headers,
            timeout,
            retry,
        } = self;
        if !protocol.has_requests() {
            return;
        }
        map(response_headers, &from.response_headers, EditsDraft::fill);
        if forwards {
            map(request_headers, &from.request_headers, EditsDraft::fill);
            absent!(from; grpc_web, timeout);
            map(retry, &from.retry, RetryDraft::fill);
        }
    }
}

impl RetryDraft {
    fn fill(&mut self, from: &Self) {
        let Self { retries, retry_on, per_try, budget, methods } = self;
        absent!(from; retries, retry_on, per_try, budget, methods);
    }
}

impl EditsDraft {
    fn fill(&mut self, from: &Self) {
        let Self { set, add, remove } = self;
        // A field that the route sets, adds or removes itself is the route's own business.
        let own: Vec<String> =
            set.iter().chain(&*add).map(|(name, _)| name).chain(&*remove).map(lower).collect();
        let absent = |name: &Text| !own.contains(&lower(name));
        set.extend(from.set.iter().filter(|(name, _)| absent(name)).cloned());
        add.extend(from.add.iter().filter(|(name, _)| absent(name)).cloned());
        remove.extend(from.remove.iter().filter(|name| absent(name)).cloned());
    }
}

fn lower(name: &Text) -> String {
    name.value.to_ascii_lowercase()
}

impl PoolDraft {
    /// Takes absent keys from the defaults.
    pub fn fill(&mut self, from: &Self) {
        let Self {
            name: _,
            broken: _,
            backends: _,
            sticky: _,
            discover: _,
            found: _,
            balance,
            protocol,
            health,
            outlier,
            slow_start,
            panic,
            zone_aware,
            connect_timeout,
            response_timeout,
            stream_idle,
            drain,
            keepalive,
            tls,
            send_proxy,
            limits,
        } = self;
        absent!(from; protocol, slow_start, panic, zone_aware, connect_timeout, response_timeout, stream_idle, drain, send_proxy);
        map(balance, &from.balance, BalanceDraft::fill);
        map(keepalive, &from.keepalive, KeepaliveDraft::fill);
        map(tls, &from.tls, OriginationDraft::fill);
        limits.fill(&from.limits);
        if outlier.is_none() {
            *outlier = from.outlier.clone().map(|mut from| {
                from.value.by_default = true;
                from
            });
        } else {
            map(outlier, &from.outlier, OutlierDraft::fill);
        }
        match (health, &from.health) {
            // Without a probe, the default is for those that are checked anyway.
            (health @ None, Some(from)) if !from.probes.is_empty() => *health = Some(from.clone()),
            (Some(own), Some(from)) if !own.off && !from.off => own.fill(from),
            _ => {}
        }
    }
}

impl BalanceDraft {
    fn fill(&mut self, from: &Self) {
        let Self { policy, key, bounded_load } = self;
        if policy.hashes() {
            absent!(from; key, bounded_load);
        }
    }
}

impl HealthDraft {
    fn fill(&mut self, from: &Self) {
        let Self {
            span: _,
            off: _,
            probes,
            interval,
            interval_down,
            timeout,
            fall,
            rise,
            port,
            initially_up,
            plain,
        } = self;
        if probes.is_empty() {
            probes.clone_from(&from.probes);
        }
        absent!(from; interval, interval_down, timeout, fall, rise, port, initially_up, plain);
    }
}

impl OutlierDraft {
    fn fill(&mut self, from: &Self) {
        let Self { off, by_default: _, consecutive_errors, error_rate, window, eject, max_ejected } = self;
        if !*off && !from.off {
            absent!(from; consecutive_errors, error_rate, window, eject, max_ejected);
        }
    }
}

impl KeepaliveDraft {
    fn fill(&mut self, from: &Self) {
        let Self { idle, max_idle, max_requests, max_age } = self;
        absent!(from; idle, max_idle, max_requests, max_age);
    }
}

impl PoolLimitsDraft {
    fn fill(&mut self, from: &Self) {
        let Self { connections, pending, requests, queue_timeout } = self;
        absent!(from; connections, pending, requests, queue_timeout);
    }
}

/// An owned copy with the defaults filled in, if there are any.
pub(crate) fn filled<T: Clone>(own: &T, defaults: &Setting<Box<T>>, fill: impl FnOnce(&mut T, &T)) -> T {
    let mut own = own.clone();
    if let Some(Located { value: from, .. }) = defaults {
        fill(&mut own, from);
    }
    own
}
