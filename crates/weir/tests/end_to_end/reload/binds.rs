//! Addresses that come, go, move and change what they speak.

use std::{io::ErrorKind, net::TcpStream};

use weir_testkit::{Answer, End, FakeBackend, RawClient};

use super::{answering, file, free_port, pool};
use crate::support::Weir;

#[test]
fn a_listener_comes_and_goes() {
    let backend = answering("ok");
    let pools = [pool("app", &[backend.address()])];
    let pools: Vec<_> = pools.iter().map(String::as_str).collect();
    let port = free_port("127.0.0.11");
    let second = format!("second: {{ bind: '{port}', protocol: http, pool: app }}");
    let weir = Weir::from_text(&file(&[super::WEB], &pools));
    assert_eq!(TcpStream::connect(port).unwrap_err().kind(), ErrorKind::ConnectionRefused);

    let outcome = weir.app().reload_text(&file(&[super::WEB, &second], &pools)).unwrap();
    assert_eq!(outcome.changes["binds"]["opened"][0], format!("{port} (second)"));
    let mut kept = RawClient::connect(port);
    let mut fresh = RawClient::connect(port);
    let mut first = RawClient::connect(weir.address());
    assert_eq!((kept.get("/").text(), first.get("/").text()), ("ok".into(), "ok".into()));

    let outcome = weir.app().reload_text(&file(&[super::WEB], &pools)).unwrap();
    assert_eq!(outcome.changes["binds"]["closed"][0], format!("{port} (second)"));
    assert_eq!(TcpStream::connect(port).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // One more exchange on each connection that is there, and the client is told.
    for client in [&mut kept, &mut fresh] {
        let last = client.get("/");
        assert_eq!((last.text(), last.header("connection")), ("ok".into(), Some("close")));
        assert!(client.closed());
    }
    let answer = first.get("/");
    assert_eq!((answer.text(), answer.header("connection")), ("ok".into(), None));

    // The address can be bound again at once, by us as by anybody else.
    weir.app().reload_text(&file(&[super::WEB, &second], &pools)).unwrap();
    assert_eq!(RawClient::connect(port).get("/").text(), "ok");
}

#[test]
fn connections_of_an_address_that_went_end_with_the_drain() {
    let backend = FakeBackend::custom(|mut connection| {
        loop {
            let bytes = connection.read_exact(1);
            if bytes.is_empty() || !connection.send(&bytes) {
                return;
            }
        }
    });
    let web = answering("ok");
    let pools = [pool("app", &[web.address()]), pool("bytes", &[backend.address()])];
    let pools: Vec<_> = pools.iter().map(String::as_str).collect();
    let (tcp, http) = (free_port("127.0.0.12"), free_port("127.0.0.12"));
    let listeners = [
        super::WEB.to_owned(),
        format!("tcp: {{ bind: '{tcp}', protocol: tcp, pool: bytes }}"),
        format!("http: {{ bind: '{http}', protocol: http, pool: app }}"),
    ];
    let listeners: Vec<_> = listeners.iter().map(String::as_str).collect();
    let shutdown = "shutdown: { drain: 1s }\n";
    let weir = Weir::from_text(&(file(&listeners, &pools) + shutdown));
    let mut stream = RawClient::connect(tcp);
    let mut idle = RawClient::connect(http);
    stream.send("a");
    assert_eq!(stream.read_exact(1), b"a");
    assert_eq!(idle.get("/").text(), "ok");

    let warning_only = pool("app", &[web.address()]);
    weir.app().reload_text(&(file(&[super::WEB], &[&warning_only]) + shutdown)).unwrap();
    stream.send("b");
    assert_eq!(stream.read_exact(1), b"b", "what is under way goes on");
    assert_eq!(stream.read_to_end(), (Vec::new(), End::Reset), "until the drain is over");
    assert!(idle.closed());
    assert_eq!(RawClient::connect(weir.address()).get("/").text(), "ok");
}

#[test]
fn an_address_may_move_to_another_listener() {
    let (one, two) = (answering("one"), answering("two"));
    let pools = [pool("one", &[one.address()]), pool("two", &[two.address()])];
    let pools: Vec<_> = pools.iter().map(String::as_str).collect();
    let (port, other) = (free_port("127.0.0.13"), free_port("127.0.0.13"));
    let weir = |a, b| {
        let listeners = [
            format!("a: {{ bind: '{a}', protocol: http, pool: one }}"),
            format!("b: {{ bind: '{b}', protocol: http, pool: two }}"),
        ];
        file(&[&listeners[0], &listeners[1]], &pools)
    };
    let running = Weir::from_text(&weir(port, other));
    let mut kept = RawClient::connect(port);
    assert_eq!(kept.get("/").text(), "one");
    let outcome = running.app().reload_text(&weir(other, port)).unwrap();
    assert_eq!(outcome.changes["binds"]["moved"].as_array().map(Vec::len), Some(2));
    assert_eq!(outcome.changes["binds"]["opened"].as_array().map(Vec::len), Some(0));
    assert_eq!(kept.get("/").text(), "two", "a connection belongs to the address it came in at");
    assert_eq!(RawClient::connect(port).get("/").text(), "two");
    assert_eq!(RawClient::connect(other).get("/").text(), "one");
    drop(kept);
    let snapshot = running.app().snapshot();
    weir_testkit::wait_until("no connection is counted twice, or not at all", || {
        snapshot.listeners.iter().all(|listener| {
            let shards = &listener.status.shards;
            let came = shards.sum(|shard| shard.accepted.value() + shard.inherited.value());
            came == shards.sum(|shard| shard.closed.value())
        })
    });
}

#[test]
fn an_address_may_change_what_it_speaks() {
    let backend = answering("ok");
    let pools = [pool("app", &[backend.address()])];
    let pools: Vec<_> = pools.iter().map(String::as_str).collect();
    let listener =
        |protocol: &str| format!("web: {{ bind: '127.0.0.1:0', protocol: {protocol}, pool: app }}");
    let weir = Weir::from_text(&file(&[&listener("http")], &pools));
    let mut before = RawClient::connect(weir.address());
    assert!(before.get("/").text() == "ok" && backend.only_request().has("x-forwarded-for"));
    backend.forget();
    weir.app().reload_text(&file(&[&listener("tcp")], &pools)).unwrap();
    let mut after = RawClient::connect(weir.address());
    assert_eq!(after.get("/").text(), "ok");
    assert!(!backend.only_request().has("x-forwarded-for"), "its bytes are not looked at");
    let last = before.get("/");
    assert_eq!((last.text(), last.header("connection")), ("ok".into(), Some("close")));
}

#[test]
fn what_cannot_be_bound_undoes_everything() {
    let backend = answering("ok");
    let pools = [pool("app", &[backend.address()])];
    let pools: Vec<_> = pools.iter().map(String::as_str).collect();
    let weir = Weir::from_text(&file(&[super::WEB], &pools));
    let free = free_port("127.0.0.14");
    let taken = std::net::TcpListener::bind("127.0.0.14:0").unwrap();
    let taken_port = taken.local_addr().unwrap();
    let listeners = [
        "web: { bind: '127.0.0.1:0', protocol: http, routes: [ { respond: { status: 204 } } ] }".to_owned(),
        format!("a: {{ bind: '{free}', protocol: http, pool: app }}"),
        format!("b: {{ bind: '{taken_port}', protocol: http, pool: app }}"),
    ];
    let listeners: Vec<_> = listeners.iter().map(String::as_str).collect();
    let refusal = weir.app().reload_text(&file(&listeners, &pools)).unwrap_err();
    assert!(refusal.error.contains("`b`") && refusal.error.contains(&taken_port.to_string()), "{refusal:?}");
    assert_eq!(TcpStream::connect(free).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(weir.app().snapshot().generation, 1);
    assert_eq!(RawClient::connect(weir.address()).get("/").status(), 200);
    drop(taken);
    weir.app().reload_text(&file(&listeners, &pools)).unwrap();
    assert_eq!(RawClient::connect(weir.address()).get("/").status(), 204);
    assert_eq!(RawClient::connect(free).get("/").status(), 200);
    assert_eq!(RawClient::connect(taken_port).get("/").status(), 200);
}

#[test]
fn one_address_may_become_all_and_back() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let pools = [pool("app", &[backend.address()])];
    let pools: Vec<_> = pools.iter().map(String::as_str).collect();
    let port = free_port("127.0.0.15");
    let one = format!("web: {{ bind: '{port}', protocol: http, pool: app }}");
    let all = format!("web: {{ bind: '0.0.0.0:{}', protocol: http, pool: app }}", port.port());
    let weir = Weir::from_text(&file(&[&one], &pools));
    for listener in [&all, &one, &all] {
        weir.app().reload_text(&file(&[listener], &pools)).unwrap();
        assert_eq!(RawClient::connect(port).get("/").text(), "ok");
    }
}

#[test]
fn who_waits_in_the_queue_of_a_closed_address_is_served() {
    let backend = answering("ok");
    let pools = [pool("app", &[backend.address()])];
    let pools: Vec<_> = pools.iter().map(String::as_str).collect();
    let port = free_port("127.0.0.16");
    let extra = format!("extra: {{ bind: '{port}', protocol: http, pool: app, max_connections: 1 }}");
    let weir = Weir::from_text(&file(&[super::WEB, &extra], &pools));
    let mut only = RawClient::connect(port);
    assert_eq!(only.get("/").text(), "ok");
    // Connected, as far as the kernel is concerned, but not accepted: there is no room for them.
    let mut waiting: Vec<_> = (0..8).map(|_| RawClient::connect(port)).collect();
    for client in &mut waiting {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    assert_eq!(backend.requests().len(), 1);
    weir.app().reload_text(&file(&[super::WEB], &pools)).unwrap();
    for client in &mut waiting {
        let answer = client.final_response("GET");
        assert_eq!((answer.text(), answer.header("connection")), ("ok".into(), Some("close")));
    }
    assert_eq!(TcpStream::connect(port).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
