//! Backends that are let go: what they have may finish until `drain` is over, and is closed then.

use std::time::Duration;

use serde_json::Value;
use weir::app::App;
use weir_testkit::{Answer, End, FakeBackend, RawClient, wait_until};

use crate::operate::{File, Operated};

/// Repeats every byte until the other side ends.
fn echo() -> FakeBackend {
    FakeBackend::custom(|mut connection| {
        loop {
            let bytes = connection.read_exact(1);
            if bytes.is_empty() || !connection.send(bytes) {
                return;
            }
        }
    })
}

/// A TCP listener in front of one backend called `one`.
fn tcp(backend: &FakeBackend, drain: &str) -> Operated {
    Operated::new(&format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, protocol: tcp, pool: app }} }}
pools: {{ app: {{ drain: {drain}, backends: [{{ address: '{}', name: one }}] }} }}
",
        backend.address()
    ))
}

/// A client whose connection is known to reach a backend.
fn talking(weir: &Operated) -> RawClient {
    let mut client = weir.client();
    says(&mut client);
    client
}

#[track_caller]
fn says(client: &mut RawClient) {
    assert_eq!(client.send("x").read_exact(1), b"x");
}

const ONE: &str = "/api/pools/app/backends/one";

fn set(weir: &Operated, state: &str) -> Value {
    let answer = weir.ask("PUT", ONE, &format!(r#"{{"state": "{state}"}}"#));
    assert_eq!(answer.status(), 200);
    serde_json::from_str(&answer.text()).unwrap()
}

#[test]
fn tcp_connections_that_are_left_see_an_orderly_end() {
    let backend = echo();
    let weir = tcp(&backend, "2s");
    let mut clients = [talking(&weir), talking(&weir)];
    let view = set(&weir, "draining");
    assert_eq!(
        (&view["active"], &view["safe_to_stop"], &view["drain"]["cut"]),
        (&2.into(), &false.into(), &0.into())
    );
    says(&mut clients[0]);
    for client in &mut clients {
        assert_eq!(client.read_to_end(), (Vec::new(), End::Closed));
    }
    wait_until("the backend has seen the end", || backend.open() == 0);
    wait_until("it may stop", || weir.json(ONE)["safe_to_stop"] == true);
    let view = weir.json(ONE);
    assert_eq!(
        (&view["active"], &view["drain"]["cut"], &view["drain"]["left_ms"]),
        (&0.into(), &2.into(), &0.into())
    );
}

#[test]
fn what_may_be_stopped_is_sent_nobody_who_is_bound_to_it() {
    let [one, two] = ["one", "two"].map(|name| FakeBackend::answering(Answer::ok(name)));
    let weir = Operated::new(&format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, protocol: http, pool: app }} }}
pools:
  app:
    drain: 4s
    sticky: {{ cookie: WEIR }}
    backends: [{{ address: '{}', name: one }}, {{ address: '{}', name: two }}]
",
        one.address(),
        two.address()
    ));
    let bound = (0..100).find_map(|_| {
        let answer = weir.client().get("/");
        let cookie = answer.all("set-cookie").first()?.split(';').next()?.to_owned();
        (answer.text() == "one").then_some(cookie)
    });
    let bound = bound.expect("one takes new clients");
    let again = || {
        let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: {bound}\r\n\r\n");
        weir.client().send(request).final_response("GET").text()
    };
    let view = set(&weir, "draining");
    assert_eq!((&view["safe_to_stop"], &view["drain"]["bound"]), (&false.into(), &true.into()));
    assert_eq!(again(), "one", "who is bound to it comes back");
    wait_until("it may stop", || weir.json(ONE)["safe_to_stop"] == true);
    assert_eq!(again(), "two");
    assert_eq!(weir.json(ONE)["drain"]["bound"], false);
}

#[test]
fn who_takes_part_again_keeps_what_it_has() {
    let backend = echo();
    let weir = tcp(&backend, "1s");
    let mut client = talking(&weir);
    set(&weir, "disabled");
    assert_eq!(set(&weir, "active")["drain"], Value::Null);
    // Longer than the drain would have been: a further connection is drained to its end meanwhile.
    std::thread::sleep(Duration::from_millis(1500));
    says(&mut client);
    set(&weir, "draining");
    assert_eq!(client.read_to_end(), (Vec::new(), End::Closed));
}

#[test]
fn without_a_limit_nothing_is_cut() {
    let backend = echo();
    let weir = tcp(&backend, "none");
    let mut client = talking(&weir);
    assert_eq!(set(&weir, "draining")["drain"]["left_ms"], Value::Null);
    std::thread::sleep(Duration::from_millis(300));
    says(&mut client);
    drop(client);
    wait_until("it may stop", || weir.json(ONE)["safe_to_stop"] == true);
    assert_eq!(weir.json(ONE)["drain"]["cut"], 0);
}

#[test]
fn a_request_that_is_not_answered_in_time_is_told_so() {
    let backend = FakeBackend::answering(Answer::hang());
    let weir = Operated::new(&format!(
        "debug_headers: true
listeners: {{ web: {{ bind: 127.0.0.1:0, protocol: http, pool: app }} }}
pools: {{ app: {{ drain: 300ms, backends: [{{ address: '{}', name: one }}] }} }}
",
        backend.address()
    ));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("it is there", || weir.json(ONE)["active"] == 1);
    set(&weir, "draining");
    let answer = client.final_response("GET");
    assert_eq!((answer.status(), answer.header("weir-error")), (503, Some("drain_over")));
    assert_eq!(weir.json(ONE)["drain"]["cut"], 1);
    wait_until("the backend was let go", || backend.open() == 0);
}

#[test]
fn an_answer_that_does_not_end_in_time_does_not_look_complete() {
    let backend = FakeBackend::custom(|mut connection| {
        connection.read_head();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        connection.read_to_end();
    });
    let weir = Operated::new(&format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, protocol: http, pool: app }} }}
pools: {{ app: {{ drain: 300ms, backends: [{{ address: '{}', name: one }}] }} }}
",
        backend.address()
    ));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_head().unwrap().status(), 200);
    set(&weir, "draining");
    let (rest, end) = client.read_to_end();
    assert_eq!((&*rest, end), (&b"4\r\nhalf\r\n"[..], End::Closed), "the last chunk is missing");
    assert_eq!(weir.json(ONE)["drain"]["cut"], 1);
}

const WELCOME: &[u8; 5] = b"hello";

#[test]
fn a_tunnel_that_is_left_sees_an_orderly_end() {
    let backend = FakeBackend::custom(|mut connection| {
        connection.read_head();
        connection
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        connection.send(WELCOME);
        connection.read_to_end();
    });
    let weir = Operated::new(&format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, protocol: http, pool: app }} }}
pools: {{ app: {{ drain: 300ms, backends: [{{ address: '{}', name: one }}] }} }}
",
        backend.address()
    ));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.response_head().unwrap().status(), 101);
    assert_eq!(client.read_exact(5), WELCOME);
    set(&weir, "draining");
    assert_eq!(client.read_to_end(), (Vec::new(), End::Closed));
    wait_until("it may stop", || weir.json(ONE)["safe_to_stop"] == true);
    assert_eq!(weir.json(ONE)["drain"]["cut"], 1);
}

#[test]
fn a_backend_that_a_reload_removes_has_the_same_time() {
    let (goes, stays) = (echo(), echo());
    let file = File::new("drain");
    let text = |backend: &FakeBackend, drain: &str| {
        format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:0, protocol: tcp, pool: app }} }}
pools: {{ app: {{ drain: {drain}, backends: ['{}'] }} }}
",
            backend.address()
        )
    };
    file.write(&text(&goes, "2s"));
    let (sink, said) = crate::support::journal();
    let weir = Operated(App::from_path(&file.0, sink).unwrap());
    let mut old = talking(&weir);
    file.write(&text(&stays, "1h"));
    assert_eq!(weir.ask("POST", "/api/reload", "").status(), 200);
    says(&mut old);
    let mut new = talking(&weir);
    assert_eq!((goes.open(), stays.open()), (1, 1));
    assert_eq!(old.read_to_end(), (Vec::new(), End::Closed));
    wait_until("the old one was let go", || goes.open() == 0);
    says(&mut new);
    let line = format!("pool=app backend={} removed and drained after ", goes.address());
    wait_until("it is written down", || said().contains(&line));
    assert!(said().contains(": 1 request or connection was cut"), "{}", said());
}
