//! The keys of listeners.

use super::{
    Default::{Is, Nothing, Required},
    Form::{
        AnyOf, ByteRate, List, Map, Named, Number, NumberOr, OneOrMore, Size, SizeWithin, Some, Text,
        Timeout, Words,
    },
    Keys, keys,
    route::ROUTE,
};

keys! {
    LISTENER = "a listener" {
        "bind" = OneOrMore(&Text), Required,
            "Addresses to listen on: `127.0.0.1:8080`, `[::1]:8080`, `:8080` for every address of both families, or \
             `unix:/run/weir.sock`.";
        "protocol" = Words(&["http", "https", "tcp", "tls"]), Nothing,
            "What is spoken: `http` is HTTP/1.1 and HTTP/2 (with prior knowledge), `https` the same behind TLS, `tcp` is bytes of any protocol, `tls` is TLS that is passed on as it is. It has to be given, here or in `defaults`.";
        "sni" = OneOrMore(&Text), Nothing,
            "Names that clients ask for when they begin TLS: `a.example`, or `*.a.example` for one or more labels in front. Listeners \
             can share an address if their names differ; the most specific one wins, and one without `sni` takes the rest. https, tcp with `tls`, and tls only.";
        "tls" = Map(&TLS), Nothing, "The TLS that ends here. https and tcp only.";
        "accept_proxy_protocol" = AnyOf(&[Map(&ACCEPT_PROXY), Words(&["none"])]), Nothing,
            "Connections begin with a PROXY header, of version 1 or 2, which says who the client is. `none` keeps a default away.";
        "trusted_proxies" = Some(&Text), Is("[]"),
            "Networks whose `X-Forwarded-For` is believed; that of others is replaced. So it is with every `X-Forwarded-` field, \
             `Forwarded` and `X-Real-IP`: what others write there is left out. http only.";
        "allow" = Some(&Text), Nothing,
            "Networks whose clients are served, by the address after `trusted_proxies` was applied; without this key, all.";
        "deny" = Some(&Text), Is("[]"), "Networks whose clients are not served, whatever `allow` says.";
        "max_connections" = NumberOr(&["auto", "none"]), Is("auto"),
            "Client connections at once; more wait in the accept queue. `auto` and `none` leave it to `limits.connections`.";
        "timeouts" = Map(&TIMEOUTS), Nothing, "How long to wait for clients.";
        "limits" = Map(&LISTENER_LIMITS), Nothing, "What one client may send. http only.";
        "normalize" = Map(&NORMALIZE), Nothing,
            "How paths are tidied, in the order encoded slashes, double slashes, dot segments. The same path is matched \
             and forwarded. http only.";
        "tcp" = Map(&TCP), Nothing, "Options of the sockets.";
        "errors" = Named(&Text), Is("{}"),
            "Files to answer with instead of weir's own words, by status: `\"503\": sorry.html`. At most 1 MiB each; \
             the name ends in `.html`, `.txt`, `.json` or `.xml`. http only.";
        "routes" = List(&Map(&ROUTE)), Is("[]"), "What becomes of requests and connections; the first match wins.";
        "pool" = Text, Nothing, "The pool that takes what no route has taken.";
    } later [
        "http3", "kernel", "rate_limit", "forwarding", "interface", "xdp",
        "tracking", "fragments", "clamp_mss", "manage_address", "protect", "nat_source",
    ];
    TLS = "the `tls` of a listener" {
        "certificates" = List(&Map(&CERTIFICATE)), Nothing,
            "Chosen by the name that the client asks for; the first one is for those that no other fits. Read again when the files change.";
        "min_version" = Words(&["1.2", "1.3"]), Is("\"1.2\""), "The oldest version of TLS that is spoken.";
        "alpn" = Some(&Text), Nothing,
            "Protocols that are offered, the preferred one first; for https `[h2, http/1.1]`, for tcp none unless given.";
        "client_auth" = Map(&CLIENT_AUTH), Nothing, "Certificates that clients show; nobody is asked for one unless given.";
        "acme" = Map(&ACME), Nothing, "A certificate that an authority issues and renews by itself: see docs/acme.md. Not in `defaults`.";
    };
    ACME = "the `acme` of a listener" {
        "directory" = Text, Required,
            "The URL where the authority says what it offers, such as `https://acme-v02.api.letsencrypt.org/directory`. Naming it \
             agrees to its terms of service.";
        "email" = Text, Nothing, "Whom the authority writes to.";
        "domains" = Some(&Text), Required, "What the certificate is for: host names, without `*`.";
        "storage" = Text, Required,
            "A folder for account, certificate and key, which is made if it is not there. Several instances may share it: one of them \
             renews, and the others take what it was given.";
        "challenge" = Words(&["http-01", "tls-alpn-01"]), Nothing,
            "How the domains are proved: at port 80 by a listener with `protocol: http`, or at port 443 by this one. `http-01` if there is \
             such a listener on port 80, and `tls-alpn-01` otherwise.";
        "ca" = Text, Nothing,
            "A file with the certificates of those who may have signed that of the directory, as PEM; those that the system trusts unless given.";
    };
    CERTIFICATE = "a certificate" {
        "cert" = Text, Required, "A file with the certificate, followed by those that signed it, as PEM.";
        "key" = Text, Nothing, "A file with its private key, as PEM and not encrypted; without this key, it is in the file of the certificate.";
        "ocsp" = Text, Nothing, "A file with the answer of its OCSP server, as DER, which is shown to clients with it.";
    };
    CLIENT_AUTH = "the `client_auth` of a listener" {
        "ca" = Text, Nothing, "A file with the certificates of those whose signature counts, as PEM. It has to be given, here or in `defaults`.";
        "mode" = Words(&["require", "optional"]), Is("require"),
            "`require` refuses clients without a certificate, `optional` serves them too. One that is not valid is refused by both.";
    };
    ACCEPT_PROXY = "the `accept_proxy_protocol` of a listener" {
        "trust" = Some(&Text), Nothing,
            "Networks whose headers are believed. Others cannot send one. They have to be given, here or in `defaults`.";
        "mode" = Words(&["required", "optional"]), Is("required"),
            "`required` refuses connections without a header and those of others, `optional` serves them as they come.";
    };
    TIMEOUTS = "the `timeouts` of a listener" {
        "header" = Timeout, Is("10s"), "For a whole request head. http only.";
        "handshake" = Timeout, Nothing, "For what comes before the protocol: a PROXY header, TLS; `10s` unless given. Only with one of them.";
        "idle" = Timeout, Is("60s"),
            "http: between two requests of a connection. tcp, tls: without a byte either way, and the default is `10m`.";
        "body_idle" = Timeout, Is("30s"),
            "Bytes of a request are due and none comes, before the answer has begun. http only.";
        "body_min_rate" = ByteRate, Is("100B/s"),
            "The least rate of a request body, averaged over 30s, before the answer has begun. http only.";
        "send_idle" = Timeout, Is("30s"), "The client takes nothing of what waits for it.";
        "tunnel" = Timeout, Is("1h"), "Upgraded connections and calls of gRPC, without a byte either way. http only.";
        "max_age" = Timeout, Is("1h"),
            "How old an HTTP/2 connection becomes, less up to a tenth of it by lot: then its client is told to make another one, and what \
             is under way on it goes on to its end. http only.";
    };
    LISTENER_LIMITS = "the `limits` of a listener" {
        "header_bytes" = SizeWithin("1KiB", "1MiB"), Is("32KiB"), "Bytes of a whole request head.";
        "headers" = Number(1, 1000), Is("100"), "Header fields of a request.";
        "body" = Size, Is("none"), "Bytes of a request body.";
        "streams" = Number(1, 10_000), Is("128"), "Requests that one HTTP/2 connection may have under way; the client waits with more.";
    } later ["flows", "enforce"];
    NORMALIZE = "the `normalize` of a listener" {
        "dot_segments" = Words(&["resolve", "keep", "reject"]), Is("resolve"),
            "`.` and `..` as segments, with their dots encoded or not: carried out, left, or answered with 400. Kept, they \
             may lead a backend past the routes. Whatever stands here, `%61` and the like, which need not be encoded, are \
             decoded (RFC 3986 section 6.2.2.2), so that `/%61dmin` is `/admin` to routes and backends alike.";
        "encoded_slash" = Words(&["keep", "decode", "reject"]), Is("keep"),
            "`%2F`: left as part of its segment, turned into a slash, or answered with 400.";
        "double_slash" = Words(&["keep", "merge"]), Is("keep"), "`//`: left, or turned into one slash.";
    } later ["enforce"];
    TCP = "the `tcp` of a listener" {
        "keepalive" = Timeout, Is("60s"),
            "A connection that is silent for this long is asked whether it is still there; 1s to 9h.";
        "user_timeout" = Timeout, Is("30s"),
            "Bytes that are sent and not acknowledged for this long end the connection; 1s to 9h, `none` is up to the system.";
        "backlog" = Number(1, 65_535), Is("4096"),
            "Connections that may wait to be accepted, for each worker; the system may cut it short.";
    };
}
