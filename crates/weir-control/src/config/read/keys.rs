//! Every key of the language, by the map it stands in. `later` holds the keys that the language defines and this
//! version does not do: they are refused with words of their own, never ignored.

/// The keys of one kind of map.
pub(super) struct Keys {
    /// What the map is, with an article.
    pub(super) what: &'static str,
    /// Keys that work.
    pub(super) ready: &'static [&'static str],
    /// Keys that will work one day.
    pub(super) later: &'static [&'static str],
}

macro_rules! keys {
    ($list:ident: $($name:ident = $what:literal, $ready:expr, $later:expr;)+) => {
        $(pub(super) static $name: Keys = Keys { what: $what, ready: &$ready, later: &$later };)+
        #[allow(dead_code, reason = "not every list is searched outside of tests")]
        static $list: &[&Keys] = &[$(&$name),+];
    };
}

// In the order of nesting, so that neighbours here are neighbours in a file.
keys! { ALL:
    TOP = "the file", [
        "listeners", "routes", "pools", "defaults", "admin", "workers", "limits", "shutdown", "access_log", "log",
        "debug_headers", "include",
    ], [
        "zone", "upgrade", "tracing", "alerts", "ha", "gslb", "state",
    ];
    LISTENER = "a listener", [
        "bind", "protocol", "trusted_proxies", "allow", "deny", "max_connections", "timeouts", "limits", "normalize",
        "tcp", "errors", "routes", "pool",
    ], [
        "sni", "http3", "accept_proxy_protocol", "tls", "kernel", "rate_limit", "forwarding", "interface", "xdp", "tracking", "fragments", "clamp_mss",
        "manage_address", "protect", "nat_source",
    ];
    TIMEOUTS = "the `timeouts` of a listener", [
        "header", "idle", "body_idle", "body_min_rate", "send_idle", "tunnel",
    ], ["handshake"];
    LISTENER_LIMITS = "the `limits` of a listener", ["header_bytes", "headers", "body"], [
        "streams", "flows", "enforce",
    ];
    NORMALIZE = "the `normalize` of a listener", ["dot_segments", "encoded_slash", "double_slash"], ["enforce"];
    TCP = "the `tcp` of a listener", ["keepalive", "user_timeout", "backlog"], [];
    ROUTE = "a route", [
        "name", "match", "pool", "split", "redirect", "respond", "rewrite", "request_headers", "response_headers",
        "timeout", "retry",
    ], [
        "split_on", "progressive", "mirror", "hedge", "rate_limit", "auth", "ext_authz", "waf",
        "compress", "cache", "cors", "max_body",
    ];
    RETRY = "the `retry` of a route", ["retries", "retry_on", "per_try", "budget", "methods"], [];
    MATCH = "the match of a route", [
        "host", "path", "method", "headers", "query", "cookies", "source", "not",
    ], ["sni", "alpn", "client_cert", "grpc", "body"];
    TEXT = "the comparison of a text", ["exact", "prefix", "regex", "present"], [];
    ARM = "an arm of a split", ["pool", "weight"], [];
    REDIRECT = "a redirect", ["scheme", "host", "port", "path", "path_prefix", "code"], [];
    RESPOND = "a fixed response", ["status", "body", "headers"], [];
    REWRITE = "a rewrite", ["path", "path_prefix", "path_regex", "host"], [];
    PATH_REGEX = "the `path_regex` of a rewrite", ["from", "to"], [];
    EDITS = "edits of header fields", ["set", "add", "remove"], [];
    POOL = "a pool", [
        "balance", "backends", "health", "connect_timeout", "response_timeout", "stream_idle", "keepalive", "limits",
    ], [
        "discover", "zone_aware", "outlier", "panic", "drain", "slow_start", "sticky", "protocol", "tls",
        "send_proxy_protocol",
    ];
    BACKEND = "a backend", ["address", "name", "weight"], ["zone", "backup", "max_connections", "state"];
    HEALTH = "a health check", [
        "http", "tcp", "interval", "timeout", "fall", "rise", "port", "initial",
    ], ["tls", "grpc", "udp", "interval_down", "via"];
    HTTP_PROBE = "the `http` of a health check", [
        "path", "host", "method", "headers", "expect", "body",
    ], [];
    TCP_PROBE = "the `tcp` of a health check", [], [];
    KEEPALIVE = "the `keepalive` of a pool", ["idle", "max_idle", "max_requests", "max_age"], [];
    POOL_LIMITS = "the `limits` of a pool", ["connections", "pending", "requests", "queue_timeout"], ["enforce"];
    BALANCE = "the long form of `balance`", ["policy"], ["key", "bounded_load"];
    ADMIN = "`admin`", ["bind", "token_file"], [];
    LIMITS = "the `limits` of the process", ["connections"], [];
    WORKERS = "the long form of `workers`", ["count", "pin"], [];
    ACCESS_LOG = "`access_log`", ["path", "format", "sample"], [];
    LOG = "`log`", ["level", "format"], [];
    SHUTDOWN = "`shutdown`", ["announce", "drain"], [];
    DEFAULTS = "`defaults`", ["listener", "route", "pool"], [];
}

// Maps whose keys are those of others, with a few more or less.
keys! { DERIVED:
    SHARED_ROUTE = "a route at the top of a file", [
        "listeners", "name", "match", "pool", "split", "redirect", "respond", "rewrite", "request_headers",
        "response_headers", "timeout", "retry",
    ], [
        "split_on", "progressive", "mirror", "hedge", "rate_limit", "auth", "ext_authz", "waf",
        "compress", "cache", "cors", "max_body",
    ];
    LISTENER_DEFAULTS = "the defaults of listeners", [
        "protocol", "trusted_proxies", "allow", "deny", "max_connections", "timeouts", "limits", "normalize", "tcp",
        "errors",
    ], [];
    ROUTE_DEFAULTS = "the defaults of routes", ["request_headers", "response_headers", "timeout", "retry"], [];
    POOL_DEFAULTS = "the defaults of pools", [
        "balance", "health", "connect_timeout", "response_timeout", "stream_idle", "keepalive", "limits",
    ], [];
}

/// Another map that has this key: the nearest one, where it was probably meant to stand.
pub(super) fn with(key: &str, here: &'static Keys) -> Option<&'static Keys> {
    let has = |keys: &Keys| keys.ready.contains(&key) || keys.later.contains(&key);
    let place = ALL.iter().position(|keys| std::ptr::eq(*keys, here)).unwrap_or(0);
    let others = ALL.iter().enumerate().filter(|(_, keys)| !std::ptr::eq(**keys, here) && has(keys));
    others.min_by_key(|(index, _)| index.abs_diff(place)).map(|(_, keys)| *keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_both_done_and_not_done() {
        for keys in ALL.iter().chain(DERIVED) {
            for key in keys.ready {
                assert!(!keys.later.contains(key), "{key} in {}", keys.what);
            }
        }
    }

    #[test]
    fn derived_maps_have_the_keys_of_what_they_are_derived_from() {
        let own = ["listeners"];
        let route = ROUTE.ready.iter().chain(&own);
        assert!(
            SHARED_ROUTE
                .ready
                .iter()
                .eq(SHARED_ROUTE.ready.iter().filter(|key| route.clone().any(|own| own == *key)))
        );
        assert_eq!(SHARED_ROUTE.ready.len(), ROUTE.ready.len() + own.len());
        assert_eq!(SHARED_ROUTE.later, ROUTE.later);
        let defaults = [(&LISTENER_DEFAULTS, &LISTENER), (&ROUTE_DEFAULTS, &ROUTE), (&POOL_DEFAULTS, &POOL)];
        for (defaults, whole) in defaults {
            assert!(defaults.ready.iter().all(|key| whole.ready.contains(key)), "{}", defaults.what);
        }
    }
}
