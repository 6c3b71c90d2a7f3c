//! The keys of the process, and the top of a file.

use super::{
    Default::{Is, Nothing, Required},
    Form::{AnyOf, Delay, DelayOrNone, Flag, List, Map, Named, NumberOr, Share, Some, Text, Words},
    Keys, keys,
    listener::LISTENER,
    pool::POOL,
    route::{ROUTE, SHARED_ROUTE},
};

keys! {
    TOP = "the file" {
        "listeners" = Named(&Map(&LISTENER)), Nothing,
            "Where clients arrive, by name. A configuration has at least one.";
        "routes" = List(&Map(&SHARED_ROUTE)), Nothing,
            "Routes that name their listeners, so that an application can own a file. They are evaluated after the \
             routes of the listener and before its `pool`, in the order of files and lists.";
        "pools" = Named(&Map(&POOL)), Nothing,
            "Backends that share one balancing, health and connection policy, by name.";
        "defaults" = Map(&DEFAULTS), Nothing,
            "Fill keys that are absent: maps key by key, everything else as a whole. What means nothing in a place (as \
             HTTP keys do for `protocol: tcp`) is left out there.";
        "admin" = Map(&ADMIN), Nothing,
            "Where operators are answered: status, probes, metrics. There is no such address unless it is given.";
        "zone" = Text, Nothing, "Where this weir stands, for pools with `zone_aware`.";
        "workers" = AnyOf(&[NumberOr(&["auto"]), Map(&WORKERS)]), Is("auto"),
            "Threads of the data path, 1 to 1024; `auto` is one per core.";
        "limits" = Map(&LIMITS), Nothing, "What the process as a whole may hold.";
        "shutdown" = Map(&SHUTDOWN), Nothing, "How the process ends after SIGTERM.";
        "upgrade" = Map(&UPGRADE), Nothing, "How the process ends after another one has taken over in place.";
        "access_log" = AnyOf(&[Text, Map(&ACCESS_LOG)]), Is("none"),
            "One line for each exchange and each TCP connection. A text is its `path`; `none` is no such log.";
        "log" = Map(&LOG), Nothing, "The process's own log, on standard error. Failed exchanges are always in it.";
        "debug_headers" = Flag, Is("false"),
            "Whether answers tell clients their route, pool and backend, and weir's own answers what went wrong.";
        "include" = Some(&Text), Nothing,
            "Further files, by name or pattern such as `conf.d/*.yaml`, relative to this one. Each file is read once; a \
             pattern without a match is a warning, files that include each other an error.";
    } later ["tracing", "alerts", "ha", "gslb", "state"];
    ADMIN = "`admin`" {
        "bind" = Text, Nothing, "An address and port, such as `127.0.0.1:9900`, or `unix:/run/weir-admin.sock`. It has to be \
             given, here or in another file.";
        "token_file" = Text, Nothing,
            "A file with the token that operators show, at least 16 characters; space around it is not part of it. Off \
             loopback, nothing but probes and metrics is answered without a token.";
    };
    LIMITS = "the `limits` of the process" {
        "connections" = NumberOr(&["auto"]), Is("auto"),
            "Client connections at once over all listeners. `auto` is what the file limit allows at two files each; more \
             than that is refused.";
    };
    WORKERS = "the long form of `workers`" {
        "count" = NumberOr(&["auto"]), Is("auto"), "How many, 1 to 1024; `auto` is one per core.";
        "pin" = Flag, Is("false"), "Whether each of them stays on its core.";
    };
    ACCESS_LOG = "`access_log`" {
        "path" = Text, Required,
            "A file, relative to the one that names it, `-` for standard output, or `syslog:` with the path of a socket or \
             `udp://HOST:PORT`.";
        "format" = Text, Is("json"),
            "`json`, `common`, `combined`, `httplog`, or a template with `$variables`.";
        "sample" = Share, Is("100%"), "The share of exchanges that is logged, failed ones always.";
    };
    LOG = "`log`" {
        "level" = Words(&["info", "warn"]), Is("info"), "The least that is said.";
        "format" = Words(&["text", "json"]), Is("text"), "How a line looks.";
    };
    SHUTDOWN = "`shutdown`" {
        "announce" = Delay, Is("5s"), "How long `/readyz` fails while everything is still served.";
        "drain" = DelayOrNone, Is("30s"), "How long what is in flight may take to finish after that.";
    };
    UPGRADE = "`upgrade`" {
        "drain" = DelayOrNone, Is("1h"), "How long connections of the old process may take to finish.";
    };
    DEFAULTS = "`defaults`" {
        "listener" = Map(&LISTENER_DEFAULTS), Nothing, "For every listener.";
        "route" = Map(&ROUTE_DEFAULTS), Nothing, "For every route.";
        "pool" = Map(&POOL_DEFAULTS), Nothing, "For every pool.";
    };
}

pub(in crate::config) static LISTENER_DEFAULTS: Keys = Keys {
    id: "LISTENER_DEFAULTS",
    what: "the defaults of listeners",
    ready: &[
        "protocol",
        "tls",
        "accept_proxy_protocol",
        "trusted_proxies",
        "allow",
        "deny",
        "max_connections",
        "timeouts",
        "limits",
        "normalize",
        "tcp",
        "errors",
    ],
    later: &[],
    own: &[],
    like: Option::Some(&LISTENER),
    one_of: &[],
};

pub(in crate::config) static ROUTE_DEFAULTS: Keys = Keys {
    id: "ROUTE_DEFAULTS",
    what: "the defaults of routes",
    ready: &["request_headers", "response_headers", "grpc_web", "timeout", "retry"],
    later: &[],
    own: &[],
    like: Option::Some(&ROUTE),
    one_of: &[],
};

pub(in crate::config) static POOL_DEFAULTS: Keys = Keys {
    id: "POOL_DEFAULTS",
    what: "the defaults of pools",
    ready: &[
        "balance",
        "protocol",
        "health",
        "outlier",
        "slow_start",
        "panic",
        "zone_aware",
        "connect_timeout",
        "response_timeout",
        "stream_idle",
        "drain",
        "keepalive",
        "tls",
        "send_proxy_protocol",
        "limits",
    ],
    later: &[],
    own: &[],
    like: Option::Some(&POOL),
    one_of: &[],
};
