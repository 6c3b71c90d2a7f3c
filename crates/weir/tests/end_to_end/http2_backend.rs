//! Backends that speak HTTP/2: requests share connections, and nothing that ends one of them costs a request that can be saved.

#[path = "../support/h2_backend.rs"]
pub(crate) mod h2_backend;

use std::{sync::atomic::Ordering, thread, time::Duration};

use h2_backend::{H2Backend, LARGE, Manner};
use weir_testkit::{
    Answer, Authority, FakeBackend, Folder, Message, RawClient, TlsServer, TlsVersion,
    frames::{Frame, Framed, flag, kind},
    wait_until,
};

use crate::{
    reload::{file, pool},
    support::{Setup, Weir},
};

fn setup(backends: &[&H2Backend]) -> Setup {
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address()).collect();
    Setup::http(&addresses).pool("protocol: h2")
}

/// So many clients at once, each with one request; what they were answered.
fn crowd(weir: &Weir, count: usize, request: &str) -> Vec<Message> {
    let address = weir.address();
    let clients = (0..count).map(|_| {
        let request = request.to_owned();
        thread::spawn(move || {
            let mut client = RawClient::connect(address);
            client.send(request);
            client.final_response("GET")
        })
    });
    let clients: Vec<_> = clients.collect();
    clients.into_iter().map(|client| client.join().unwrap()).collect()
}

fn last_error(weir: &Weir) -> String {
    let snapshot = weir.app().snapshot();
    snapshot.pools[0].backends[0].status.last_error().map_or_else(String::new, |said| said.to_string())
}

const HELD: &str = "GET /held HTTP/1.1\r\nHost: a.test\r\n\r\n";

#[test]
fn answers_are_framed_for_a_client_of_http1() {
    let backend = H2Backend::start();
    let weir = setup(&[&backend]).start();
    let mut client = RawClient::connect(weir.address());
    let answer = client.get("/length");
    assert_eq!(
        (answer.status(), &*answer.text(), answer.header("content-length")),
        (200, "hello", Some("5"))
    );
    let answer = client.get("/empty");
    assert_eq!((answer.status(), answer.header("content-length")), (200, Some("0")));
    assert!(answer.body.is_empty() && answer.complete);
    let answer = client.get("/none");
    assert_eq!((answer.status(), answer.header("content-length")), (204, None));
    let answer = client.get("/");
    assert_eq!((&*answer.text(), answer.header("transfer-encoding")), ("ok", Some("chunked")));
    client.send("HEAD /length HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let answer = client.final_response("HEAD");
    assert_eq!((answer.status(), answer.header("content-length")), (200, Some("5")));
    client.send("GET /interim HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let interim = client.response("GET").unwrap();
    assert_eq!((interim.status(), interim.header("link")), (103, Some("</a>")));
    assert_eq!(client.final_response("GET").text(), "after");
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_request_says_the_same_in_http2() {
    let backend = H2Backend::start();
    let weir = setup(&[&backend]).start();
    let mut client = RawClient::connect(weir.address());
    client.send(
        "PUT /x?y=z HTTP/1.1\r\nHost: a.test\r\nX-One: 1\r\nConnection: X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n\
         Content-Length: 2\r\n\r\nhi",
    );
    assert_eq!(client.final_response("PUT").status(), 200);
    let request = &backend.requests()[0];
    assert_eq!((request.method.as_str(), &*request.uri.to_string()), ("PUT", "http://a.test/x?y=z"));
    assert_eq!(request.headers["x-one"], "1");
    assert_eq!(request.headers["content-length"], "2");
    assert_eq!(request.headers["x-forwarded-for"], "127.0.0.1");
    for absent in ["connection", "x-hop", "host", "te", "transfer-encoding"] {
        assert!(!request.headers.contains_key(absent), "{absent}");
    }
}

#[test]
fn what_is_uploaded_is_counted_whole() {
    let backend = H2Backend::start();
    let weir = setup(&[&backend]).start();
    let listener = weir.app().snapshot().listeners[0].clone();
    let request = format!("POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n{:1000}", "");
    let mut client = RawClient::connect(weir.address());
    assert_eq!(client.send(&request).final_response("POST").status(), 200);
    let came = || listener.status.shards.sum(|shard| shard.bytes_in.value()) as usize;
    wait_until("it is counted", || came() > 0);
    assert_eq!(came(), request.len());
}

#[test]
fn bodies_and_trailers_go_both_ways() {
    let backend = H2Backend::start();
    let weir = setup(&[&backend]).start();
    let mut client = RawClient::connect(weir.address());
    client.send("POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n12345");
    let answer = client.final_response("POST");
    assert_eq!((&*answer.text(), answer.trailer("x-end")), ("12345", Some("yes")));
    client.send(
        "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n",
    );
    let answer = client.final_response("POST");
    assert_eq!((&*answer.text(), answer.trailer("x-sum")), ("abcde", Some("5")));
    // More than any window.
    let body = "0123456789abcdef".repeat(256 * 1024);
    client.send(format!("POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len()));
    let sender = {
        let mut client = RawClient::connect(weir.address());
        let body = body.clone();
        thread::spawn(move || {
            // One that is answered while it sends.
            client.send(format!(
                "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
            client.final_response("POST").status()
        })
    };
    let mut reader = client;
    let answer = thread::scope(|scope| {
        let echoed = scope.spawn(move || {
            for piece in body.as_bytes().chunks(16 * 1024) {
                reader.send(piece);
            }
            (reader.final_response("POST"), body)
        });
        echoed.join().unwrap()
    });
    assert!(answer.0.body == answer.1.as_bytes() && answer.0.complete, "{} bytes", answer.0.body.len());
    assert_eq!(sender.join().unwrap(), 200);
}

#[test]
fn a_slow_reader_stops_its_backend_and_nobody_else() {
    let backend = H2Backend::start();
    let weir = setup(&[&backend]).start();
    let mut slow = RawClient::connect_narrow(weir.address(), 4096);
    slow.send("GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(slow.response_head().unwrap().status(), 200);
    let sent = || backend.seen.sent.load(Ordering::SeqCst);
    let mut before = usize::MAX;
    wait_until("the backend is stopped", || {
        thread::sleep(Duration::from_millis(100));
        std::mem::replace(&mut before, sent()) == sent()
    });
    assert!(sent() < LARGE, "all of it is somewhere");
    for _ in 0..10 {
        assert_eq!(RawClient::connect(weir.address()).get("/").text(), "ok");
    }
    assert_eq!(backend.accepted(), 1);
    drop(slow);
    let mut client = RawClient::connect(weir.address());
    assert_eq!(client.get("/large").body.len(), LARGE);
}

#[test]
fn many_at_once_share_one_connection() {
    let backend = H2Backend::start();
    let weir = setup(&[&backend]).start();
    let seen = backend.seen.clone();
    let all = thread::scope(|scope| {
        let all = scope.spawn(|| crowd(&weir, 100, HELD));
        wait_until("all of them are there", || seen.requests.lock().unwrap().len() == 100);
        seen.released.store(true, Ordering::SeqCst);
        all.join().unwrap()
    });
    assert!(all.iter().all(|answer| answer.text() == "held"));
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_backend_that_takes_one_at_a_time_gets_one_at_a_time() {
    let backend = H2Backend::with(Manner { streams: 1, ..Manner::default() });
    let weir = setup(&[&backend]).start();
    let seen = backend.seen.clone();
    let all = thread::scope(|scope| {
        let all = scope.spawn(|| crowd(&weir, 10, HELD));
        wait_until("all of them are there", || seen.requests.lock().unwrap().len() == 10);
        seen.released.store(true, Ordering::SeqCst);
        all.join().unwrap()
    });
    assert!(all.iter().all(|answer| answer.text() == "held"));
    // A new one is made only where none has room; a connection may be made in vain for one that found another.
    assert!((10..=20).contains(&backend.accepted()), "{}", backend.accepted());
    assert_eq!(crowd(&weir, 1, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")[0].text(), "ok");
}

#[test]
fn an_answer_that_breaks_off_looks_broken_off() {
    let backend = H2Backend::start();
    let weir = setup(&[&backend]).start();
    let mut client = RawClient::connect(weir.address());
    client.send("GET /broken HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let answer = client.final_response("GET");
    assert!(answer.status() == 200 && !answer.complete, "{answer}");
    // The connection to the backend is not to blame.
    assert_eq!(RawClient::connect(weir.address()).get("/").text(), "ok");
    assert_eq!(backend.accepted(), 1);
    let answer = RawClient::connect(weir.address()).get("/reset");
    assert_eq!(answer.status(), 502);
    assert!(last_error(&weir).contains("INTERNAL_ERROR"), "{}", last_error(&weir));
}

#[test]
fn what_a_backend_has_not_looked_at_goes_elsewhere_whatever_it_is() {
    let backend = H2Backend::start();
    let weir = setup(&[&backend]).start();
    for refusals in [1, 3] {
        backend.seen.refusals.store(refusals, Ordering::SeqCst);
        let mut client = RawClient::connect(weir.address());
        client.send("POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n12345");
        let answer = client.final_response("POST");
        assert_eq!((answer.status(), &*answer.text()), (200, "12345"), "{refusals}");
    }
    backend.seen.refusals.store(3, Ordering::SeqCst);
    let mut client = RawClient::connect(weir.address());
    client.send(
        "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n",
    );
    let answer = client.final_response("POST");
    assert_eq!((&*answer.text(), answer.trailer("x-sum")), ("abc", Some("3")));
    let snapshot = weir.app().snapshot();
    let status = &snapshot.pools[0].backends[0].status;
    assert_eq!(status.shards.iter().map(|shard| shard.errors.value()).sum::<u64>(), 0);
    // Not for ever.
    backend.seen.refusals.store(1000, Ordering::SeqCst);
    assert_eq!(RawClient::connect(weir.address()).get("/").status(), 502);
}

#[test]
fn connections_that_are_told_to_go_cost_nothing() {
    let backend = H2Backend::with(Manner { goes_after: 7, ..Manner::default() });
    let weir = setup(&[&backend]).start();
    let address = weir.address();
    let clients = (0..8).map(|_| {
        thread::spawn(move || {
            let mut client = RawClient::connect(address);
            for _ in 0..100 {
                client.send("POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi");
                let answer = client.final_response("POST");
                assert_eq!((answer.status(), &*answer.text()), (200, "hi"));
            }
        })
    });
    clients.collect::<Vec<_>>().into_iter().for_each(|client| client.join().unwrap());
    assert!(backend.accepted() >= 800 / 14, "{}", backend.accepted());
    wait_until("those that were told to go have gone", || backend.seen.open.load(Ordering::SeqCst) <= 1);
}

/// Answers with status 200 and nothing else.
fn ok(stream: u32) -> Frame {
    Frame::new(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, [0x88])
}

#[test]
fn requests_behind_the_last_one_that_is_looked_at_go_elsewhere() {
    // Looks at the first of three, tells the connection to go, and answers that one.
    let backend = FakeBackend::custom(|connection| {
        let Some(mut framed) = Framed::accepted(connection) else { return };
        let mut heads = Vec::new();
        while let Some(head) = framed.until(|frame| frame.kind == kind::HEADERS) {
            heads.push(head.stream);
            if heads.len() == 3 {
                framed.send(&Frame::new(kind::GOAWAY, 0, 0, [0, 0, 0, 1, 0, 0, 0, 0]));
                thread::sleep(Duration::from_millis(20));
                framed.send(&ok(1));
                _ = framed.until(|_| false);
                return;
            }
        }
    });
    let steady = H2Backend::start();
    let weir = Setup::http(&[backend.address(), steady.address()])
        .pool("protocol: h2")
        .pool("balance: first")
        .start();
    let all = crowd(&weir, 3, "DELETE /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert!(all.iter().all(|answer| answer.status() == 200));
    assert_eq!(steady.requests().len(), 2);
}

#[test]
fn a_connection_that_is_lost_is_made_anew_for_what_may_be_asked_twice() {
    let lost = FakeBackend::custom(|connection| {
        let Some(mut framed) = Framed::accepted(connection) else { return };
        // The first is answered, and the second not.
        if let Some(head) = framed.until(|frame| frame.kind == kind::HEADERS) {
            framed.send(&ok(head.stream));
            _ = framed.until(|frame| frame.kind == kind::HEADERS);
        }
    });
    let weir = Setup::http(&[lost.address()]).pool("protocol: h2").start();
    let mut client = RawClient::connect(weir.address());
    for _ in 0..4 {
        assert_eq!(client.get("/").status(), 200);
    }
    assert_eq!(lost.accepted(), 4);
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.final_response("POST").status(), 502);
}

#[test]
fn who_goes_away_takes_the_request_back() {
    let backend = H2Backend::start();
    let weir = setup(&[&backend]).start();
    let mut client = RawClient::connect(weir.address());
    client.send(HELD);
    wait_until("it is there", || backend.requests().len() == 1);
    client.reset();
    wait_until("it is taken back", || !backend.seen.reset.lock().unwrap().is_empty());
    assert_eq!(*backend.seen.reset.lock().unwrap(), [h2::Reason::CANCEL]);
    assert_eq!(RawClient::connect(weir.address()).get("/").text(), "ok");
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn who_does_not_speak_http2_is_found_out() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).pool("protocol: h2").start();
    assert_eq!(RawClient::connect(weir.address()).get("/").status(), 502);
    assert!(last_error(&weir).contains("HTTP/2"), "{}", last_error(&weir));
    // One that says nothing at all.
    let silent = FakeBackend::custom(|mut connection| while !connection.read_exact(1).is_empty() {});
    let weir = Setup::http(&[silent.address()]).pool("protocol: h2").pool("connect_timeout: 200ms").start();
    assert_eq!(RawClient::connect(weir.address()).get("/").status(), 504);
    let flooding = FakeBackend::custom(|connection| {
        let Some(mut framed) = Framed::accepted(connection) else { return };
        while framed.send(&Frame::new(kind::PING, 0, 0, [0; 8])) {}
    });
    let weir = Setup::http(&[flooding.address()]).pool("protocol: h2").start();
    assert_eq!(RawClient::connect(weir.address()).get("/").status(), 502);
    assert!(last_error(&weir).contains("PING"), "{}", last_error(&weir));
}

#[test]
fn connections_outlive_a_reload_and_end_with_their_pool() {
    let backend = H2Backend::start();
    let before = file(
        &["web: { bind: '127.0.0.1:0', protocol: http, pool: app }"],
        &[&pool("app", &[backend.address()]).replace(" }", ", protocol: h2 }")],
    )
    .replace("workers: 2", "workers: 1");
    let weir = Weir::from_text(&before);
    let address = weir.address();
    let mut held = RawClient::connect(address);
    held.send(HELD);
    wait_until("it is there", || backend.requests().len() == 1);
    weir.app().reload_text(&before.replace("protocol: h2", "protocol: h2, stream_idle: 1m")).unwrap();
    assert_eq!(RawClient::connect(address).get("/").text(), "ok");
    assert_eq!(backend.accepted(), 1);
    let other = H2Backend::start();
    let moved = before.replace(&backend.address().to_string(), &other.address().to_string());
    weir.app().reload_text(&moved).unwrap();
    assert_eq!(RawClient::connect(address).get("/").text(), "ok");
    assert_eq!(other.requests().len(), 1);
    backend.seen.released.store(true, Ordering::SeqCst);
    assert_eq!(held.final_response("GET").text(), "held");
    wait_until("the connection ends", || backend.seen.open.load(Ordering::SeqCst) == 0);
}

#[test]
fn connections_are_closed_when_they_are_idle_or_have_served() {
    let backend = H2Backend::start();
    let weir = setup(&[&backend]).pool("keepalive: { idle: 200ms, max_requests: 3 }").start();
    for _ in 0..7 {
        assert_eq!(RawClient::connect(weir.address()).get("/").text(), "ok");
    }
    assert!(backend.accepted() >= 3, "{}", backend.accepted());
    wait_until("they are closed", || backend.seen.open.load(Ordering::SeqCst) == 0);
}

#[test]
fn with_max_idle_0_a_connection_goes_with_what_is_under_way_on_it() {
    let backend = H2Backend::start();
    let weir = setup(&[&backend]).pool("keepalive: { max_idle: 0 }").start();
    for _ in 0..2 {
        assert_eq!(RawClient::connect(weir.address()).get("/").text(), "ok");
        wait_until("it is closed", || backend.seen.open.load(Ordering::SeqCst) == 0);
    }
    assert_eq!(backend.accepted(), 2);
}

#[test]
fn tls_agrees_on_what_both_speak() {
    let (root, folder) = (Authority::new("Backends"), Folder::new("http2-backend"));
    root.write(&folder, "ca.pem");
    let issued = root.server(&["127.0.0.1"]);
    let tls = format!("tls: {{ ca: {}/ca.pem }}", folder.display());
    let versions = &[TlsVersion::Tls13];
    let both = TlsServer::with(&issued, None, versions, &[b"h2", b"http/1.1"]);
    let backend = FakeBackend::tls_custom(&both, |connection| {
        let Some(mut framed) = Framed::accepted(connection) else { return };
        while let Some(head) = framed.until(|frame| frame.kind == kind::HEADERS) {
            framed.send(&ok(head.stream));
        }
    });
    for protocol in ["auto", "h2"] {
        let weir =
            Setup::http(&[backend.address()]).pool(&tls).pool(&format!("protocol: {protocol}")).start();
        for _ in 0..3 {
            assert_eq!(RawClient::connect(weir.address()).get("/").status(), 200);
        }
    }
    assert_eq!(backend.accepted(), 2);
    let one = TlsServer::with(&issued, None, versions, &[b"http/1.1"]);
    let backend = FakeBackend::tls(&one, Answer::echo());
    let weir = Setup::http(&[backend.address()]).pool(&tls).start();
    for _ in 0..3 {
        assert_eq!(RawClient::connect(weir.address()).get("/").status(), 200);
    }
    assert_eq!(backend.accepted(), 1);
    let weir = Setup::http(&[backend.address()]).pool(&tls).pool("protocol: h2").start();
    assert_eq!(RawClient::connect(weir.address()).get("/").status(), 502);
}

const UPGRADE: &str = "GET /socket HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn websockets_go_by_extended_connect_where_the_backend_takes_them() {
    let backend = H2Backend::with(Manner { sockets: true, ..Manner::default() });
    let weir = setup(&[&backend]).start();
    let mut client = RawClient::connect(weir.address());
    client.send(UPGRADE);
    let answer = client.response_head().unwrap();
    assert_eq!((answer.status(), answer.header("upgrade")), (101, Some("websocket")));
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    for text in ["one", "two"] {
        assert_eq!(client.send(text).read_exact(3), text.as_bytes());
    }
    client.finish();
    assert!(client.closed());
    let request = &backend.requests()[0];
    assert_eq!((request.method.as_str(), request.uri.path()), ("CONNECT", "/socket"));
    assert_eq!(request.headers["sec-websocket-version"], "13");
    assert!(!request.headers.contains_key("sec-websocket-key"));
    let backend = H2Backend::start();
    let weir = setup(&[&backend]).start();
    let mut client = RawClient::connect(weir.address());
    client.send(UPGRADE);
    assert_eq!(client.final_response("GET").status(), 502);
    assert!(last_error(&weir).contains("RFC 8441"), "{}", last_error(&weir));
}
