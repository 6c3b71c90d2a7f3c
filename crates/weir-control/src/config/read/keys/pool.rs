//! The keys of pools.

use super::{
    Default::{Is, Nothing, Required},
    Form::{
        AnyOf, CountOr, Delay, DelayOrNone, Empty, Flag, List, Map, Named, Number, NumberOr, OneOrMore,
        Percent, Period, Share, ShareOrNone, Some, Text, Timeout, Words,
    },
    Keys, keys,
};

/// Policies of balancing that work.
const POLICIES: &[&str] = &[
    "round_robin",
    "least_conn",
    "random",
    "two_choices",
    "ewma",
    "source_hash",
    "ring_hash",
    "maglev",
    "first",
];

keys! {
    POOL = "a pool" {
        "balance" = AnyOf(&[Words(POLICIES), Map(&BALANCE)]), Is("round_robin"),
            "How a backend is chosen: in turn; the fewest requests or connections in flight; by lot; the less loaded of two \
             drawn by lot; the better of two by recent latency and load (`ewma`); for `source_hash`, `ring_hash` and `maglev` the \
             same one for the same key, which is the client's address unless the long form says otherwise; or the first in \
             the list that has less than its `max_connections`. Weights count in all but the last.";
        "backends" = List(&AnyOf(&[Text, Map(&BACKEND)])), Nothing,
            "Addresses as `10.0.0.1:8080`, `name.example:8080` or `unix:/run/app.sock`, or maps. A host name stands for all its \
             addresses. A pool has at least one, unless it has `discover`.";
        "protocol" = Words(&["auto", "http1", "h2"]), Is("auto"),
            "What carries requests to the backends: `http1` is HTTP/1.1, `h2` is HTTP/2, in clear text with prior knowledge. `auto` is \
             over TLS what the backend prefers of the two (ALPN), and in clear text HTTP/1.1, but HTTP/2 for gRPC. http only.";
        "discover" = Map(&DISCOVER), Nothing,
            "More backends than those of the file, which come and go: see docs/discovery.md.";
        "health" = AnyOf(&[Map(&HEALTH), Words(&["none"])]), Nothing,
            "How backends are checked; not at all unless given. `none` keeps a default away.";
        "outlier" = AnyOf(&[Map(&OUTLIER), Words(&["none"])]), Nothing,
            "When live traffic takes a backend out; never unless given. `{}` takes all defaults, `none` keeps a default away.";
        "slow_start" = Delay, Is("0s"),
            "How long the share of a backend grows, from a tenth to all of its weight, when it begins to take traffic.";
        "panic" = Share, Is("0%"),
            "While less than this share of the backends is healthy, and no backup is, all of them are used: more than the \
             healthy ones could carry is then spread over those that may be. Draining and disabled ones never are.";
        "zone_aware" = Words(&["prefer", "off"]), Is("off"),
            "`prefer` keeps traffic in weir's own `zone` as far as the backends there can carry what arrives in it, and \
             gives the rest to the zones that have more capacity than they need.";
        "sticky" = Map(&STICKY), Nothing, "How a client stays at the backend that it came to first. http only.";
        "connect_timeout" = Timeout, Is("2s"), "To connect to a backend.";
        "response_timeout" = Timeout, Is("60s"), "Until the response head. http only.";
        "stream_idle" = Timeout, Is("5m"), "The backend is silent after its head. http only.";
        "drain" = DelayOrNone, Is("30s"),
            "How long requests and connections may take to finish at a backend that is drained, disabled, or gone from the \
             file; what is left is closed then.";
        "keepalive" = Map(&KEEPALIVE), Nothing, "How connections to backends are used again. http only.";
        "limits" = Map(&POOL_LIMITS), Nothing, "What the pool as a whole may carry at once.";
        "send_proxy_protocol" = AnyOf(&[Words(&["v1", "v2", "none"]), Map(&SEND_PROXY)]), Nothing,
            "Connections to backends begin with a PROXY header that says who the client is; nothing is sent unless given. For http, \
             a connection then carries requests of one client only. `none` keeps a default away.";
        "tls" = AnyOf(&[Map(&POOL_TLS), Words(&["none"])]), Nothing,
            "TLS is spoken to the backends, and to checks of them; not unless given. `{}` takes all defaults, `none` keeps a default \
             away.";
    };
    POOL_TLS = "the `tls` of a pool" {
        "verify" = Flag, Is("true"),
            "Whether certificates of backends have to be valid: in time, for the name of `sni`, and signed by somebody of `ca`.";
        "ca" = Text, Nothing,
            "A file with the certificates of those who may have signed them, or with the certificates themselves, as PEM; those \
             that the system trusts unless given.";
        "sni" = Text, Nothing,
            "The host name that is asked for and that certificates have to be for; that of the backend's address unless given. A \
             backend whose address is a number is asked for no name, and its certificate has to be for that address.";
        "cert" = Text, Nothing, "A file with the certificate that backends are shown, followed by those that signed it, as PEM.";
        "key" = Text, Nothing,
            "A file with its private key, as PEM and not encrypted; without this key, it is in the file of the certificate.";
    };
    SEND_PROXY = "the long form of `send_proxy_protocol`" {
        "version" = Words(&["v1", "v2"]), Required, "`v1` is a line of text, `v2` is binary.";
        "tlvs" = Some(&Words(&["alpn", "authority", "unique_id", "crc32c"])), Is("[]"),
            "What else is said, as far as it is known: the protocol that the client has agreed on by ALPN, the name that it asked for, \
             what the connection is called in logs, a checksum. Only for `v2`.";
    };
    DISCOVER = "the `discover` of a pool" {
        "dns" = Text, Nothing,
            "`NAME:PORT`: each address of the name is a backend. Not the same as the name under `backends`, which is one \
             backend.";
        "srv" = Text, Nothing,
            "The name of service records, as `_http._tcp.app.internal`: each target is a backend, with the port and the weight \
             of its record. Higher priority numbers are backups.";
        "file" = Text, Nothing, "A file with a list as under `backends`, in YAML or JSON. It is read again whenever it changes.";
        "docker" = AnyOf(&[Text, Map(&DOCKER)]), Nothing,
            "Running containers with a label. A text is short for `{ label: weir.pool=TEXT }`.";
        "refresh" = Period, Is("10s"),
            "dns and srv: the longest time between two questions. An answer with a shorter time to live is asked for again when \
             that is over, but not within a second.";
        "servers" = OneOrMore(&Text), Nothing,
            "dns and srv: name servers as `ADDRESS` or `ADDRESS:PORT`; those of /etc/resolv.conf, after /etc/hosts, unless \
             given.";
    } exactly one of ["dns", "srv", "file", "docker"] later ["kubernetes", "xds", "consul"];
    DOCKER = "the `docker` of a discovery" {
        "host" = Text, Is("unix:///var/run/docker.sock"), "The unix socket of the engine's API: Docker's, or Podman's.";
        "label" = Text, Nothing, "`KEY=VALUE`, or `KEY` for any value; `weir.pool=` and the name of the pool unless given.";
        "port" = Number(1, 65_535), Nothing,
            "The port of a container that says none in its label `weir.port`; unless given, the only one that it exposes.";
        "network" = Text, Nothing, "The network whose address is used; the first one by name unless given.";
    };
    BALANCE = "the long form of `balance`" {
        "policy" = Words(POLICIES), Required,
            "As in the short form. `maglev` spreads keys most evenly and `ring_hash` moves the fewest of them when the list of \
             backends changes; `source_hash` keeps no table, and about half of all keys move then. With each of them a \
             backend that goes down moves its own keys only, and gets them back.";
        "key" = Text, Nothing,
            "What requests and connections are told apart by: `header:X-User`, `cookie:uid`, `query:id`, `path`, `source` (the \
             client's address, which it is unless given) or `5tuple` (both ends of its connection); for datagrams also `quic_cid` (the server id in the connection id of QUIC, \
             and `5tuple` where there is none). A request without that header field, cookie or \
             parameter, or with an empty one, is placed by its source. Only for `source_hash`, `ring_hash` and `maglev`.";
        "bounded_load" = Percent(100, 1000), Nothing,
            "What a backend may have in flight, in percent of its share of all that is in flight; keys beyond it are placed \
             elsewhere. Only for `source_hash`, `ring_hash` and `maglev`.";
    };
    STICKY = "the `sticky` of a pool" {
        "cookie" = Text, Required,
            "The name of the cookie by which a client is known again. weir sets it; the value stands for a backend, and \
             tells nobody which.";
        "ttl" = Timeout, Is("none"),
            "How long the client keeps it (`Max-Age`), from the answer that set it; `none` is until the browser is closed.";
        "path" = Text, Is("/"), "For which paths the client sends it.";
        "domain" = Text, Nothing, "For which hosts; only the one that was asked unless given.";
        "secure" = Flag, Is("false"), "Whether it is sent over TLS only.";
        "http_only" = Flag, Is("true"), "Whether scripts are kept from it.";
        "same_site" = Words(&["lax", "strict", "none"]), Is("lax"),
            "Whether it is sent where another site caused the request.";
    } later ["header", "source"];
    BACKEND = "a backend" {
        "address" = Text, Required, "`10.0.0.1:8080`, `[2001:db8::1]:8080`, `name.example:8080` or `unix:/run/app.sock`.";
        "name" = Text, Nothing, "Identifies it in status, logs and metrics; the address unless given.";
        "weight" = Number(0, 1_000_000), Is("1"), "Its share relative to the others; 0 takes nothing.";
        "server_id" = Text, Nothing,
            "For `key: quic_cid`: the id that this server writes into its connection ids, as hexadecimal digits, 1 to 15 octets. All \
             in a pool have the same length. Unless given it follows from the name, with 8 octets if none is given.";
        "zone" = Text, Nothing, "Where it stands, for `zone_aware`.";
        "backup" = Flag, Is("false"),
            "Whether it takes traffic only while no other backend of the pool can; backups then share it by weight.";
        "max_connections" = NumberOr(&["none"]), Is("none"),
            "Requests and connections that it has in flight at once, over all workers; unused connections do not count. It is \
             passed over while it has so many, and where all have, more wait as `limits` says.";
        "state" = Words(&["active", "draining", "disabled"]), Is("active"),
            "`draining` takes nothing new and finishes what it has, `disabled` the same for clients that are bound to it as \
             well. What an operator sets holds until this changes.";
    };
    HEALTH = "a health check" {
        "http" = AnyOf(&[Text, Map(&HTTP_PROBE)]), Nothing, "It answers a request: a path, or a map.";
        "tcp" = AnyOf(&[Map(&TCP_PROBE), Empty]), Nothing, "It accepts a connection: `tcp: {}`.";
        "tls" = AnyOf(&[Map(&TLS_PROBE), Empty]), Nothing,
            "It finishes a TLS handshake: `tls: {}`. Its certificate is verified as the pool's `tls` says, and not at all in a pool \
             without.";
        "grpc" = AnyOf(&[Text, Map(&GRPC_PROBE), Empty]), Nothing,
            "It says that it serves, by the health checking protocol of gRPC: `grpc: {}`, or the name of a service.";
        "udp" = Map(&UDP_PROBE), Nothing, "It answers a datagram: `udp: { send: ping, expect: pong }`.";
        "interval" = Period, Is("5s"), "Between two checks of one backend.";
        "interval_down" = Period, Is("1s"), "The same while it is down; `interval` if that is shorter and this is not given.";
        "timeout" = Period, Is("2s"), "For one check as a whole.";
        "fall" = Number(1, 1000), Is("3"), "Failures in a row until it is down.";
        "rise" = Number(1, 1000), Is("2"), "Successes in a row until it is up again.";
        "port" = Number(1, 65_535), Nothing, "Asked instead of the backend's own port.";
        "initial" = Words(&["unknown", "up"]), Is("unknown"),
            "What a backend counts as before its first check: `unknown` takes no traffic yet, and the first check decides.";
        "plain" = Flag, Is("false"),
            "The check goes without the `tls`, the `send_proxy_protocol` and the `protocol` of the pool, for a `port` that is there for checks alone.";
    } later ["via"];
    HTTP_PROBE = "the `http` of a health check" {
        "path" = Text, Required, "What is asked for, with a query if there is one.";
        "host" = Text, Nothing, "The Host that is sent; the backend's own address unless given.";
        "method" = Text, Is("GET"), "The method.";
        "headers" = Named(&Text), Is("{}"), "Header fields by name.";
        "expect" = OneOrMore(&Text), Is("200-299"), "Status codes and ranges that pass.";
        "body" = Text, Nothing, "A text that the answer has to hold.";
    };
    GRPC_PROBE = "the `grpc` of a health check" {
        "service" = Text, Is("\"\""), "What is asked about, such as `shop.Cart`; the server as a whole if that is empty.";
    };
    TCP_PROBE = "the `tcp` of a health check" {};
    TLS_PROBE = "the `tls` of a health check" {};
    UDP_PROBE = "the `udp` of a health check" {
        "send" = Text, Required,
            "The datagram, with `\\xHH`, `\\r`, `\\n`, `\\t`, `\\0` and `\\\\` for bytes that are hard to write.";
        "expect" = Text, Nothing,
            "What the answer has to hold, with the same escapes. Without it no answer is needed: the check passes unless the \
             port is refused within `timeout`.";
    };
    OUTLIER = "the `outlier` of a pool" {
        "consecutive_errors" = NumberOr(&["none"]), Is("5"), "Errors in a row that one worker sees.";
        "error_rate" = ShareOrNone, Is("50%"),
            "Share of errors in `window` over all workers, from 20 requests on.";
        "window" = Period, Is("10s"), "What `error_rate` is taken over.";
        "eject" = Period, Is("30s"),
            "How long a first ejection lasts; each one that follows soon is longer by as much, up to ten times.";
        "max_ejected" = Share, Is("50%"),
            "Share of the backends that may be out at the same time, rounded down, but at least one. The last one that takes \
             traffic always stays.";
    };
    KEEPALIVE = "the `keepalive` of a pool" {
        "idle" = Timeout, Is("60s"), "An unused connection is closed after this.";
        "max_idle" = CountOr(&["none"]), Is("256"), "Unused connections kept for each backend, over all workers; each worker may keep one, unless this is 0.";
        "max_requests" = NumberOr(&["none"]), Is("none"), "Requests that one connection may carry.";
        "max_age" = Timeout, Is("5m"), "A connection older than this is not used again.";
    };
    POOL_LIMITS = "the `limits` of a pool" {
        "connections" = NumberOr(&["none"]), Is("none"), "Connections in use, over all backends; more wait.";
        "pending" = CountOr(&["none"]), Is("1024"), "Requests and connections that wait; more are answered with 503 at once. With 0 nobody waits.";
        "requests" = NumberOr(&["none"]), Is("none"), "Requests in flight; more are answered with 503 at once. http only.";
        "queue_timeout" = Timeout, Is("1s"), "How long one may wait.";
    } later ["enforce"];
}
