//! The keys of routes.

use super::{
    Default::{Is, Nothing, Required},
    Form::{AnyOf, Flag, List, Map, Named, Number, OneOrMore, ShareOrNone, Some, Text, Timeout, Words},
    Keys, keys,
};

keys! {
    ROUTE = "a route" {
        "name" = Text, Nothing, "Appears in logs, metrics and explanations; made from the match unless given.";
        "match" = OneOrMore(&Map(&MATCH)), Nothing,
            "What is taken: all keys of the map hold, or any map of a list. Without it, everything.";
        "pool" = Text, Nothing, "Action: one backend of this pool answers.";
        "split" = List(&Map(&ARM)), Nothing, "Action: one of several pools answers, drawn by weight for each request.";
        "redirect" = Map(&REDIRECT), Nothing, "Action: the client is sent elsewhere. What is not given stays as it was asked for.";
        "respond" = Map(&RESPOND), Nothing, "Action: a fixed answer.";
        "rewrite" = Map(&REWRITE), Nothing, "How the target changes before it is forwarded.";
        "request_headers" = Map(&EDITS), Nothing, "Edits of the request before it is forwarded.";
        "response_headers" = Map(&EDITS), Nothing, "Edits of the answer to the client: of a backend, a redirect or a fixed answer, and not of what weir refuses.";
        "grpc_web" = Flag, Is("false"),
            "Calls of gRPC-Web, as browsers make them, are made calls of gRPC for the backend, and its answers are translated back.";
        "timeout" = Timeout, Is("none"), "For the whole exchange, from the end of the request head to the end of the answer.";
        "retry" = Map(&RETRY), Nothing, "What is tried again when a backend fails a request.";
    } exactly one of ["pool", "split", "redirect", "respond"] later [
        "split_on", "progressive", "mirror", "hedge", "rate_limit", "auth", "ext_authz", "waf", "compress", "cache",
        "cors", "max_body",
    ];
    RETRY = "the `retry` of a route" {
        "retries" = Number(0, 10), Is("1"), "Further attempts after the first one, each at a backend that was not tried yet: never more than the pool has others.";
        "retry_on" = OneOrMore(&Text), Is("[\"connect\", \"reset\"]"),
            "What is tried again: `connect` (no connection), `reset` (it breaks before anything of an answer has come), \
             `timeout` (no response head within `response_timeout`), status codes from 400 to 599, and for calls that end before \
             anything of an answer has come the gRPC statuses `cancelled`, `deadline_exceeded`, `internal`, `resource_exhausted`, \
             `unavailable`.";
        "per_try" = Timeout, Is("none"),
            "For one attempt, until its response head; an attempt that takes longer is tried again.";
        "budget" = ShareOrNone, Is("20%"), "Retries may be this share of the pool's requests of the last ten seconds, and three per second in any case; with `0%` there are none.";
        "methods" = AnyOf(&[Words(&["idempotent", "all"]), OneOrMore(&Text)]), Is("idempotent"),
            "Requests that may be sent twice. Content is kept for that up to 64 KiB, over HTTP/1 if its length is said. One that no backend has seen may be tried again in any case.";
    };
    MATCH = "the match of a route" {
        "host" = OneOrMore(&Text), Nothing,
            "The host without port: `api.example.com`, or `*.example.com` for one or more labels in front.";
        "path" = OneOrMore(&Text), Nothing,
            "`/v1` is this path, `/v1/*` this path and everything below it, `~^/v[0-9]+/` an expression.";
        "method" = OneOrMore(&Text), Nothing,
            "Methods, in capitals. CONNECT is served by routes that name it here, and by no other.";
        "headers" = Named(&OneOrMore(&AnyOf(&[Text, Map(&TEXT)]))), Nothing,
            "Header fields by name: a text, `~` and an expression, or a map. In a list, any of them.";
        "query" = Named(&OneOrMore(&AnyOf(&[Text, Map(&TEXT)]))), Nothing, "Query parameters by name, as `headers`.";
        "cookies" = Named(&OneOrMore(&AnyOf(&[Text, Map(&TEXT)]))), Nothing, "Cookies by name, as `headers`.";
        "source" = OneOrMore(&Text), Nothing,
            "Networks or addresses of clients, after `trusted_proxies` was applied. For every protocol.";
        "sni" = OneOrMore(&Text), Nothing,
            "The name that the client asks for when it begins TLS, as `host`. Where TLS ends here or is passed through.";
        "alpn" = OneOrMore(&Text), Nothing,
            "A protocol: where TLS ends here the one that was agreed on, where it is passed through one that the client offers.";
        "client_cert" = Map(&CLIENT_CERT), Nothing,
            "The certificate that the client has shown, verified as `client_auth` says; `{}` is any.";
        "grpc" = Map(&GRPC), Nothing, "Calls of gRPC, those of gRPC-Web included.";
        "not" = OneOrMore(&Map(&MATCH)), Nothing, "None of these may hold.";
    } later ["body"];
    GRPC = "the match of a gRPC call" {
        "service" = OneOrMore(&Text), Nothing, "The service with its package: `shop.Cart`.";
        "method" = OneOrMore(&Text), Nothing, "The method, without its service. At least one of the two is given.";
    };
    CLIENT_CERT = "the match of a client certificate" {
        "san" = OneOrMore(&Text), Nothing,
            "One of its names: this one, `*.example.com` for a host with one or more labels in front, `~` and an expression.";
        "subject" = OneOrMore(&AnyOf(&[Text, Map(&TEXT)])), Nothing,
            "Its subject as RFC 4514 writes it, such as `CN=ops,O=Partner`: a text, `~` and an expression, or a map.";
        "present" = Flag, Nothing, "`false`: the client has shown none. `true` says no more than `{}`.";
    };
    TEXT = "the comparison of a text" {
        "exact" = Text, Nothing, "It is this text.";
        "prefix" = Text, Nothing, "It begins with this text.";
        "regex" = Text, Nothing, "The expression matches somewhere in it.";
        "present" = Flag, Nothing, "It is there at all, or is not.";
    } exactly one of ["exact", "prefix", "regex", "present"];
    ARM = "an arm of a split" {
        "pool" = Text, Required, "The pool.";
        "weight" = Number(0, 1_000_000), Is("1"), "Its share relative to the other arms; 0 takes nothing.";
    };
    REDIRECT = "a redirect" {
        "scheme" = Words(&["http", "https"]), Nothing, "The scheme.";
        "host" = Text, Nothing, "The host, without port.";
        "port" = Number(1, 65_535), Nothing, "The port; that of the scheme is not written.";
        "path" = Text, Nothing, "This path for every request.";
        "path_prefix" = Text, Nothing, "This text instead of the prefix that the route matched.";
        "code" = AnyOf(&[Number(301, 303), Number(307, 308)]), Is("302"), "301, 302, 303, 307 or 308.";
    };
    RESPOND = "a fixed response" {
        "status" = Number(200, 599), Is("200"), "The status.";
        "body" = Text, Nothing, "The body; empty unless given.";
        "headers" = Named(&Text), Is("{}"), "Header fields by name.";
    };
    REWRITE = "a rewrite" {
        "path" = Text, Nothing, "This path for every request; the query stays.";
        "path_prefix" = Text, Nothing, "This text instead of the prefix that the route matched.";
        "path_regex" = Map(&PATH_REGEX), Nothing, "An expression and what stands instead of each match.";
        "host" = Text, Nothing, "The Host that the backend sees, with port if it needs one.";
    };
    PATH_REGEX = "the `path_regex` of a rewrite" {
        "from" = Text, Required, "The expression.";
        "to" = Text, Required,
            "What stands instead: `$1` or `${1}` is a group, `$$` a dollar. Dot segments that come of it are left out.";
    };
    EDITS = "edits of header fields" {
        "set" = Named(&Text), Is("{}"), "Fields by name, written in place of all of that name.";
        "add" = Named(&Text), Is("{}"), "Fields by name, written after those that came.";
        "remove" = Some(&Text), Is("[]"), "Names of fields that are left out.";
    };
}

pub(in crate::config) static SHARED_ROUTE: Keys = Keys {
    id: "SHARED_ROUTE",
    what: "a route at the top of a file",
    ready: &[
        "listeners",
        "name",
        "match",
        "pool",
        "split",
        "redirect",
        "respond",
        "rewrite",
        "request_headers",
        "response_headers",
        "grpc_web",
        "timeout",
        "retry",
    ],
    later: ROUTE.later,
    own: &[super::Key {
        name: "listeners",
        form: OneOrMore(&Text),
        default: Required,
        about: "Names of the listeners that it belongs to.",
    }],
    like: Option::Some(&ROUTE),
    one_of: ROUTE.one_of,
};
