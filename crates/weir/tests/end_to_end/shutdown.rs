//! The end of the process: announced, drained, counted.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use weir::app::App;
use weir_testkit::{Answer, BlackHole, End, FakeBackend, RawClient, wait_until};

use crate::support::journal;

const READY: &str = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn the_end_is_announced_while_everything_is_served_and_what_is_cut_is_counted() {
    let (answering, silent) =
        (FakeBackend::answering(Answer::ok("ok")), FakeBackend::answering(Answer::hang()));
    let (sink, said) = journal();
    let text = format!(
        "workers: 2\nadmin: {{ bind: 127.0.0.1:0 }}\nshutdown: {{ announce: 1h, drain: 1h }}
listeners:
  web:
    bind: 127.0.0.1:0
    protocol: http
    routes: [{{ match: {{ path: /slow }}, pool: silent }}, {{ pool: app }}]
  pg: {{ bind: 127.0.0.1:0, protocol: tcp, pool: silent }}
pools: {{ app: {{ backends: ['{}'] }}, silent: {{ backends: ['{}'] }} }}
",
        answering.address(),
        silent.address()
    );
    let app = App::from_text_with_log(&text, sink).unwrap();
    let (web, pg, admin) = (app.address("web"), app.address("pg"), app.admin_address().unwrap());
    let mut kept = RawClient::connect(web);
    assert_eq!(kept.get("/").header("connection"), None);
    let mut slow = RawClient::connect(web);
    slow.send("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let mut streams = [RawClient::connect(pg), RawClient::connect(pg)];
    streams.iter_mut().for_each(|stream| _ = stream.send("hello"));
    wait_until("all are at the backend", || silent.open() == 3);
    let ready = || RawClient::connect(admin).send(READY).final_response("GET").status();
    assert_eq!(ready(), 200);

    let hurry = AtomicBool::new(false);
    thread::scope(|scope| {
        let stopping = scope.spawn(|| app.shutdown(&|| hurry.load(Ordering::SeqCst)));
        wait_until("it is announced", || ready() == 503);
        let last = kept.get("/");
        assert_eq!((last.status(), last.header("connection")), (200, Some("close")));
        assert_eq!(
            RawClient::connect(web).get("/").header("connection"),
            Some("close"),
            "new ones are served"
        );
        assert!(kept.closed());
        hurry.store(true, Ordering::SeqCst);
        assert_eq!(stopping.join().unwrap(), 3);
    });
    assert_ne!(slow.read_to_end().1, End::Open);
    let line = "stopped; 3 connections were cut (pg 2, web 1); in flight to backends: 3";
    assert!(said().contains(line), "{}", said());
}

#[test]
fn an_end_that_cuts_nothing_says_so() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let (sink, said) = journal();
    let text = format!(
        "shutdown: {{ announce: 0s, drain: 20s }}
listeners: {{ web: {{ bind: 127.0.0.1:0, protocol: http, pool: app }} }}
pools: {{ app: {{ backends: ['{}'] }} }}
",
        backend.address()
    );
    let app = App::from_text_with_log(&text, sink).unwrap();
    let mut client = RawClient::connect(app.address("web"));
    assert_eq!(client.get("/").status(), 200);
    assert_eq!(app.shutdown(&|| false), 0);
    assert!(client.closed(), "a connection that waits for its next request is closed");
    assert!(said().contains("stopped; nothing was cut"), "{}", said());
}

#[test]
fn line_ends_behind_the_last_request_are_none_of_the_next() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let text = format!(
        "shutdown: {{ announce: 0s, drain: 5s }}
listeners: {{ web: {{ bind: 127.0.0.1:0, protocol: http, pool: app, timeouts: {{ header: 1h }} }} }}
pools: {{ app: {{ backends: ['{}'] }} }}
",
        backend.address()
    );
    let app = App::from_text(&text).unwrap();
    let mut clients = ["", "\r", "\r\n", "\r\n\r\n\r"].map(|stray| {
        let mut client = RawClient::connect(app.address("web"));
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n{stray}"));
        assert_eq!(client.final_response("GET").text(), "ok");
        client
    });
    assert_eq!(app.shutdown(&|| false), 0);
    for client in &mut clients {
        assert_eq!(client.read_to_end(), (Vec::new(), End::Closed));
    }
}

#[test]
fn what_is_cut_at_the_end_shows_it() {
    let backend = FakeBackend::answering(
        Answer::bytes("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsome of it").then_hang(),
    );
    let folder = weir_testkit::Folder::new("cut-at-the-end");
    let log = folder.join("access.log");
    let text = format!(
        "shutdown: {{ announce: 0s, drain: 0s }}
access_log: {{ path: '{}', format: common }}
listeners:
  web: {{ bind: 127.0.0.1:0, protocol: http, pool: app }}
  raw: {{ bind: 127.0.0.1:0, protocol: tcp, pool: app }}
pools: {{ app: {{ backends: ['{}'] }} }}
",
        log.display(),
        backend.address()
    );
    let app = App::from_text(&text).unwrap();
    let mut clients = ["web", "raw"].map(|name| RawClient::connect(app.address(name)));
    for client in &mut clients {
        client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.response_head().unwrap().status(), 200);
    }
    assert_eq!(app.shutdown(&|| false), 2);
    for mut client in clients {
        assert_eq!(client.read_to_end().1, End::Reset);
    }
    let said = std::fs::read_to_string(log).unwrap();
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[test]
fn who_waits_for_a_backend_at_the_end_is_told_and_logged_and_gets_none() {
    // The one waits for room, and the other for the first check.
    for (pool, backend_keys, asked) in
        [("", ", max_connections: 1", 1), ("health: { http: /, interval: 1h, timeout: 1h }, ", "", 0)]
    {
        let backend = FakeBackend::answering(Answer::hang());
        let folder = weir_testkit::Folder::new("queue-at-the-end");
        let log = folder.join("access.log");
        let text = format!(
            "workers: 1
shutdown: {{ announce: 0s, drain: 0s }}
access_log: {{ path: '{}', format: '$listener $status $cause' }}
listeners:
  web: {{ bind: 127.0.0.1:0, protocol: http, pool: app }}
  raw: {{ bind: 127.0.0.1:0, protocol: tcp, pool: app }}
pools: {{ app: {{ {pool}limits: {{ queue_timeout: 20s }}, backends: [{{ address: '{}'{backend_keys} }}] }} }}
",
            log.display(),
            backend.address()
        );
        let app = App::from_text(&text).unwrap();
        let ask = |name: &str| {
            let mut client = RawClient::connect(app.address(name));
            client.send("GET /wanted HTTP/1.1\r\nHost: a.test\r\n\r\n");
            client
        };
        let wanted = || backend.requests().iter().filter(|request| request.target() == "/wanted").count();
        let _taking: Vec<_> = (0..asked).map(|_| ask("web")).collect();
        wait_until("the backend is taken", || wanted() == asked);
        let (mut waiting, mut stream) = (ask("web"), ask("raw"));
        let pool = app.snapshot().pools[0].clone();
        wait_until("they wait", || pool.status.pending.load(Ordering::SeqCst) == 2);
        app.shutdown(&|| false);
        assert_eq!(waiting.final_response("GET").status(), 503);
        assert_eq!(stream.read_to_end().1, End::Reset);
        let said = std::fs::read_to_string(log).unwrap();
        let mut lines: Vec<_> = said.lines().collect();
        lines.sort_unstable();
        let expected = [vec!["raw - process_stopped"], vec!["web 503 process_stopped"; asked + 1]].concat();
        assert_eq!(lines, expected);
        assert_eq!(wanted(), asked, "the backend is not bothered any more");
    }
}

#[test]
fn who_waits_for_a_connection_to_a_backend_at_the_end_is_told_and_logged() {
    let (hole, mute) =
        (BlackHole::new(), FakeBackend::custom(|mut connection| drop(connection.read_to_end())));
    // The one does not accept, and the other says nothing of HTTP/2.
    for (keys, address) in [("", hole.address()), ("protocol: h2, ", mute.address())] {
        let folder = weir_testkit::Folder::new("connecting-at-the-end");
        let log = folder.join("access.log");
        let raw = if keys.is_empty() { "raw: { bind: 127.0.0.1:0, protocol: tcp, pool: app }" } else { "" };
        let text = format!(
            "workers: 1
shutdown: {{ announce: 0s, drain: 0s }}
access_log: {{ path: '{}', format: '$listener $status $cause' }}
listeners:
  web: {{ bind: 127.0.0.1:0, protocol: http, pool: app }}
  {raw}
pools: {{ app: {{ {keys}connect_timeout: 1h, backends: ['{address}'] }} }}
",
            log.display(),
        );
        let app = App::from_text(&text).unwrap();
        let mut waiting = RawClient::connect(app.address("web"));
        waiting.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let mut stream = keys.is_empty().then(|| RawClient::connect(app.address("raw")));
        let asked = 1 + u32::from(stream.is_some());
        let pool = app.snapshot().pools[0].clone();
        let status = &pool.backends[0].status;
        wait_until("they wait", || status.active.load(Ordering::SeqCst) == asked);
        app.shutdown(&|| false);
        assert_eq!(waiting.final_response("GET").status(), 503);
        if let Some(stream) = &mut stream {
            assert_eq!(stream.read_to_end().1, End::Reset);
        }
        let said = std::fs::read_to_string(log).unwrap();
        let mut lines: Vec<_> = said.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["raw - process_stopped", "web 503 process_stopped"][2 - asked as usize..]);
        let errors = status.shards.iter().map(|counters| counters.errors.value()).sum::<u64>();
        assert_eq!((errors, status.last_error()), (0, None), "the backend has not failed");
    }
}
