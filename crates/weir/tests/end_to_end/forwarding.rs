//! What the backend and the client see of each other's header fields.

use weir_testkit::{Answer, FakeBackend, Message, RawClient};

use crate::support::Setup;

/// Sends a request through a weir of its own and returns what the backend saw.
fn forwarded(listener: &[&str], request: &str) -> Message {
    let backend = FakeBackend::echo();
    let setup = Setup::http(&[backend.address()]);
    let weir = listener.iter().fold(setup, |setup, line| setup.listener(line)).start();
    let response = RawClient::connect(weir.address()).send(request).final_response("GET");
    assert_eq!(response.status(), 200, "{request}");
    backend.only_request()
}

#[test]
fn the_request_arrives_as_it_was_sent() {
    let seen = forwarded(
        &[],
        "GET /a/b?c=d&e=%20 HTTP/1.1\r\nHost: A.test:8080\r\nX-One: 1\r\nx-one: 2\r\nCookie: a=b\r\nEmpty:\r\n\r\n",
    );
    assert_eq!(seen.start, "GET /a/b?c=d&e=%20 HTTP/1.1");
    assert_eq!(seen.all("host"), ["A.test:8080"]);
    assert_eq!(seen.all("x-one"), ["1", "2"]);
    assert_eq!((seen.header("cookie"), seen.header("empty")), (Some("a=b"), Some("")));
}

#[test]
fn what_belongs_to_the_clients_hop_stays_on_it() {
    let seen = forwarded(
        &[],
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, X-Mine, close-not\r\nX-Mine: 1\r\n\
         Close-Not: 2\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\nTE: gzip\r\n\
         X-Yours: 3\r\n\r\n",
    );
    for gone in ["x-mine", "close-not", "keep-alive", "proxy-connection", "proxy-authorization", "te"] {
        assert!(!seen.has(gone), "{gone}: {seen}");
    }
    assert_eq!(seen.header("x-yours"), Some("3"));
}

#[test]
fn what_belongs_to_the_backends_hop_stays_on_it() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nX-Yours: 2\r\n\
                  Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok";
    let backend = FakeBackend::answering(Answer::bytes(answer));
    let weir = Setup::http(&[backend.address()]).start();
    let response = RawClient::connect(weir.address()).get("/");
    assert!(!response.has("x-mine") && !response.has("keep-alive"), "{response}");
    assert_eq!(response.header("x-yours"), Some("2"));
    assert_eq!(response.all("set-cookie"), ["a=1", "b=2"]);
}

/// What a client sees of Date in an answer of a backend with this field, where the route has this line.
fn dates(field: &str, route: &str) -> Vec<String> {
    let answer = format!(
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n{field}Content-Length: 2\r\n\r\nok"
    );
    let backend = FakeBackend::answering(Answer::bytes(answer));
    let setup = Setup::http(&[backend.address()]);
    let weir = if route.is_empty() { setup } else { setup.route(route) }.start();
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let interim = client.response("GET").unwrap();
    assert_eq!((interim.status(), interim.has("date")), (103, false));
    let answer = client.final_response("GET");
    assert_eq!(answer.text(), "ok");
    answer.all("date").into_iter().map(str::to_owned).collect()
}

#[test]
fn an_answer_says_when_it_came_and_what_the_backend_says_of_that_counts() {
    const THEIRS: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let theirs = format!("dAtE: {THEIRS}\r\n");
    let ours = |dates: Vec<String>| {
        assert!(dates.len() == 1 && dates[0] != THEIRS && dates[0].ends_with(" GMT"), "{dates:?}");
    };
    assert_eq!(dates(&theirs, ""), [THEIRS]);
    ours(dates("", ""));
    ours(dates("Dote: x\r\n", ""));
    // What it names as a matter of its connection does not go on.
    ours(dates(&format!("Connection: date\r\n{theirs}"), ""));
    assert_eq!(dates(&format!("Connection: x\r\n{theirs}"), ""), [THEIRS]);
    // The route has the last word.
    ours(dates("", "response_headers: { remove: [x] }"));
    for field in ["", &theirs] {
        assert!(dates(field, "response_headers: { remove: [date] }").is_empty());
        assert_eq!(dates(field, "response_headers: { set: { date: now } }"), ["now"]);
    }
    assert_eq!(dates("", "response_headers: { add: { date: now } }"), ["now"]);
    assert_eq!(dates(&theirs, "response_headers: { add: { date: now } }"), [THEIRS, "now"]);
}

#[test]
fn a_date_of_a_request_is_none_of_ours() {
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nDate: x\r\nConnection: y\r\n\r\n";
    assert_eq!(forwarded(&[], request).all("date"), ["x"]);
    assert!(!forwarded(&[], "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").has("date"));
}

#[test]
fn the_absolute_form_becomes_a_path_and_its_host_wins() {
    let seen = forwarded(&[], "GET http://b.test:81/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!((seen.target(), seen.all("host")), ("/x?y", vec!["b.test:81"]));
    let seen = forwarded(&[], "GET http://b.test HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert_eq!((seen.target(), seen.all("host")), ("/", vec!["b.test"]));
}

#[test]
fn options_for_a_whole_server_stay_that_in_the_absolute_form() {
    for (target, expected) in [
        ("*", "*"),
        ("http://b.test", "*"),
        ("http://b.test:81", "*"),
        ("http://b.test/", "/"),
        ("http://b.test?x", "/?x"),
    ] {
        let seen = forwarded(&[], &format!("OPTIONS {target} HTTP/1.1\r\nHost: b.test\r\n\r\n"));
        assert_eq!(seen.start, format!("OPTIONS {expected} HTTP/1.1"));
    }
}

#[test]
fn max_forwards_is_counted_down_where_it_means_something() {
    let seen = |method: &str, fields: &str| {
        let seen = forwarded(&[], &format!("{method} / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"));
        seen.all("max-forwards").join("|")
    };
    for (said, expected) in [
        ("Max-Forwards: 7\r\n", "6"),
        ("max-forwards: 1\r\n", "0"),
        ("Max-Forwards: 99999999999999999999999\r\n", "18446744073709551614"),
        ("Max-Forwards: +7\r\n", "+7"),
        ("Max-Forwards: 7, 7\r\n", "7, 7"),
        ("Max-Forwards:\r\n", ""),
        ("Max-Forwards: 0\r\nMax-Forwards: 7\r\n", "0|7"),
        ("Max-Forwards: 7\r\nConnection: max-forwards\r\n", ""),
    ] {
        assert_eq!(seen("OPTIONS", said), expected, "{said:?}");
    }
    assert_eq!(
        (seen("GET", "Max-Forwards: 0\r\n"), seen("POST", "Max-Forwards: 3\r\n")),
        ("0".into(), "3".into())
    );
}

#[test]
fn what_may_be_passed_on_no_more_is_answered() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    for target in ["*", "/", "http://a.test"] {
        client.send(format!("OPTIONS {target} HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 0\r\n\r\n"));
        let answer = client.final_response("OPTIONS");
        assert_eq!((answer.status(), answer.header("content-length")), (200, Some("0")), "{target}");
    }
    assert!(backend.requests().is_empty());
    // The connection goes on.
    assert_eq!(client.get("/").status(), 200);
}

#[test]
fn the_forwarded_fields_of_a_stranger_are_replaced() {
    let seen = forwarded(
        &[],
        "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\
         X-Forwarded-Port: 1\r\nX-Forwarded-Client-Cert: Subject=\"CN=root\"\r\n\r\n",
    );
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.all("x-forwarded-host"), ["a.test"]);
    for name in ["x-real-ip", "forwarded", "x-forwarded-port", "x-forwarded-client-cert"] {
        assert!(!seen.has(name), "{name}: {seen}");
    }
}

#[test]
fn the_forwarded_fields_of_a_trusted_proxy_are_kept_and_added_to() {
    let seen = forwarded(
        &["trusted_proxies: [127.0.0.0/8]"],
        "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 192.0.2.7, 10.0.0.1\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: shop.test\r\nX-Forwarded-Port: 8443\r\n\r\n",
    );
    assert_eq!(seen.all("x-forwarded-port"), ["8443"]);
    let fields = seen.all("x-forwarded-for").join(",");
    let addresses: Vec<_> = fields.split(',').map(str::trim).collect();
    assert_eq!(addresses, ["192.0.2.7", "10.0.0.1", "127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.all("x-forwarded-host"), ["shop.test"]);
}

#[test]
fn what_a_trusted_proxy_does_not_pass_on_is_written_anew() {
    let seen = forwarded(
        &["trusted_proxies: [127.0.0.0/8]"],
        "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For:\r\nX-Forwarded-Proto: https\r\nConnection: X-Forwarded-Proto\r\n\r\n",
    );
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["http"]);
}

#[test]
fn a_proxy_that_is_not_trusted_is_a_stranger() {
    let seen = forwarded(
        &["trusted_proxies: [10.0.0.0/8]"],
        "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n",
    );
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
}
