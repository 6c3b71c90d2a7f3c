//! Clients that speak HTTP/2, with backends that speak HTTP/1.1.

mod calls;
mod client;
mod connect;
mod going;
mod told;
mod web;

use std::{sync::atomic::Ordering, time::Duration};

use client::{Client, request, request_with, socket};
use weir::app::App;
use weir_testkit::{Answer, BlackHole, FakeBackend, wait_until};

use crate::support::{Setup, Weir, journal};

#[test]
fn requests_of_one_connection_are_balanced_one_by_one() {
    let backends = [(); 2].map(|()| FakeBackend::answering(Answer::ok("fine")));
    let weir = Setup::http(&[backends[0].address(), backends[1].address()]).start();
    let client = Client::connect(weir.address());
    for number in 0..20 {
        let reply = client.get(&format!("/{number}")).unwrap();
        assert_eq!((reply.status, reply.text().as_str()), (200, "fine"));
    }
    assert_eq!(backends.each_ref().map(|backend| backend.requests().len()), [10, 10]);
}

#[test]
fn heads_are_those_that_http1_would_have_sent() {
    let backend = FakeBackend::answering(Answer::ok("fine"));
    let weir = Setup::http(&[backend.address()]).start();
    let client = Client::connect(weir.address());
    let fields = [("cookie", "a=1"), ("x-many", "1"), ("cookie", "b=2"), ("x-many", "2"), ("te", "trailers")];
    client.ask(request_with("GET", "/p?q=1", &fields), None).unwrap();
    let seen = backend.only_request();
    assert_eq!(seen.start, "GET /p?q=1 HTTP/1.1");
    assert_eq!(seen.all("cookie"), ["a=1; b=2"]);
    assert_eq!((seen.all("x-many"), seen.all("host")), (vec!["1", "2"], vec!["a.test"]));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert!(!seen.has("te") && !seen.has("connection"));
}

#[test]
fn answers_over_a_stream_say_when_they_came_as_well() {
    let backend = FakeBackend::answering(Answer::ok("fine"));
    let weir = Setup::http(&[backend.address()]).start();
    let reply = Client::connect(weir.address()).get("/").unwrap();
    assert_eq!(reply.fields.get_all("date").iter().count(), 1);
    assert!(reply.field("date").ends_with(" GMT"), "{reply:?}");
}

#[test]
fn bodies_keep_their_length_or_are_chunked() {
    let backend = FakeBackend::answering(Answer::ok("fine"));
    let weir = Setup::http(&[backend.address()]).start();
    let client = Client::connect(weir.address());
    client.ask(request_with("POST", "/1", &[("content-length", "5")]), Some(b"hello")).unwrap();
    client.ask(request("POST", "/2"), Some(b"world")).unwrap();
    client.ask(request("POST", "/3"), Some(b"")).unwrap();
    let seen = backend.requests();
    assert_eq!(seen.iter().map(|request| request.text()).collect::<Vec<_>>(), ["hello", "world", ""]);
    assert_eq!((seen[0].header("content-length"), seen[0].has("transfer-encoding")), (Some("5"), false));
    assert_eq!(
        (seen[1].has("content-length"), seen[1].header("transfer-encoding")),
        (false, Some("chunked"))
    );
}

#[test]
fn large_bodies_pass_both_ways() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).start();
    let client = Client::connect(weir.address());
    let content: Vec<u8> = (0..3_000_000u32).map(|at| ((at * 7) >> 3) as u8).collect();
    let reply = client.ask(request("POST", "/"), Some(&content)).unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(backend.only_request().body, content);
}

#[test]
fn trailers_pass_both_ways() {
    let backend = FakeBackend::custom(|mut connection| {
        while connection.read_request().is_some() {
            connection.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\nContent-Length: 3\r\n\r\n",
            );
        }
    });
    let weir = Setup::http(&[backend.address()]).start();
    let client = Client::connect(weir.address());
    let mut asked = client.begin(request("POST", "/"), false).unwrap();
    client.send(&mut asked.out, b"body", false);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-check", "7".parse().unwrap());
    asked.out.send_trailers(trailers).unwrap();
    let reply = client.wait(asked).unwrap();
    assert_eq!((reply.text().as_str(), reply.trailer("x-sum"), reply.trailers.len()), ("ok", "42", 1));
    let seen = backend.only_request();
    assert_eq!((seen.text().as_str(), seen.trailer("x-check")), ("body", Some("7")));
}

#[test]
fn hints_and_bodiless_answers_pass() {
    let backend = FakeBackend::custom(|mut connection| {
        while let Some(request) = connection.read_request() {
            connection.send(match request.target() {
                "/hint" => "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                "/none" => "HTTP/1.1 204 No Content\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            });
        }
    });
    let weir = Setup::http(&[backend.address()]).start();
    let client = Client::connect(weir.address());
    let hinted = client.get("/hint").unwrap();
    assert_eq!((hinted.interim, hinted.status, hinted.body.len()), (vec![103], 200, 2));
    let none = client.get("/none").unwrap();
    assert_eq!((none.status, none.body.len()), (204, 0));
    let head = client.ask(request("HEAD", "/head"), None).unwrap();
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, "1000", 0));
}

#[test]
fn a_slow_stream_holds_no_other() {
    let backend = FakeBackend::custom(|mut connection| {
        while let Some(request) = connection.read_request() {
            if request.target() == "/slow" {
                connection.read_to_end();
                return;
            }
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let weir = Setup::http(&[backend.address()]).start();
    let client = Client::connect(weir.address());
    let slow = client.begin(request("GET", "/slow"), true).unwrap();
    let mut stuck = client.begin(request("POST", "/slow"), false).unwrap();
    client.send(&mut stuck.out, &[0; 10_000], false);
    for _ in 0..10 {
        assert_eq!(client.get("/fast").unwrap().text(), "ok");
    }
    assert!(!slow.is_over() && !stuck.is_over());
}

#[test]
fn an_answer_that_breaks_off_is_seen_to() {
    let backend = FakeBackend::custom(|mut connection| {
        connection.read_request();
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    });
    let weir = Setup::http(&[backend.address()]).start();
    let client = Client::connect(weir.address());
    let error = client.get("/").unwrap_err();
    assert!(error.contains("internal error"), "{error}");
    assert_eq!(client.get("/other").unwrap_err(), error);
}

#[test]
fn a_request_that_is_given_up_is_given_up_at_the_backend() {
    let backend = FakeBackend::custom(|mut connection| {
        connection.read_request();
        connection.read_to_end();
    });
    let weir = Setup::http(&[backend.address()]).start();
    let client = Client::connect(weir.address());
    let mut asked = client.begin(request("GET", "/"), true).unwrap();
    wait_until("the request is there", || backend.requests().len() == 1);
    asked.out.send_reset(h2::Reason::CANCEL);
    wait_until("the backend is left alone", || backend.open() == 0);
}

#[test]
fn a_host_that_contradicts_the_authority_is_refused() {
    let backend = FakeBackend::answering(Answer::ok("fine"));
    let weir = Setup::http(&[backend.address()]).start();
    let client = Client::connect(weir.address());
    let status = |host| client.ask(request_with("GET", "/", &[("host", host)]), None).unwrap().status;
    assert_eq!([status("a.test"), status("b.test")], [200, 400]);
    assert_eq!(backend.requests().len(), 1);
}

#[test]
fn what_weir_answers_itself_is_answered_in_http2() {
    let backend = FakeBackend::answering(Answer::ok("fine"));
    let text = format!(
        "workers: 1\nlisteners:\n  web:\n    bind: 127.0.0.1:0\n    protocol: http\n    routes:\n      \
         - {{ match: {{ path: /app/* }}, pool: app }}\n      \
         - {{ match: {{ path: /gone }}, respond: {{ status: 410, body: 'is gone' }} }}\n      \
         - {{ match: {{ path: /old }}, redirect: {{ path: /new }} }}\n\
         pools:\n  app: {{ backends: ['{}'] }}\n",
        backend.address()
    );
    let weir = Weir::from_text(&text);
    let client = Client::connect(weir.address());
    let gone = client.get("/gone").unwrap();
    assert_eq!((gone.status, gone.text().as_str()), (410, "is gone"));
    let moved = client.get("/old").unwrap();
    assert_eq!((moved.status, moved.field("location")), (302, "http://a.test/new"));
    let lost = client.ask(request("POST", "/nowhere"), Some(b"body")).unwrap();
    assert_eq!((lost.status, lost.fields.contains_key("connection")), (404, false));
    assert_eq!(client.get("/app/x").unwrap().text(), "fine");
}

#[test]
fn a_websocket_goes_over_a_stream() {
    let backend = FakeBackend::custom(|mut connection| {
        let request = connection.read_request().unwrap();
        // The example of RFC 6455 has its own key; this one is made up anew each time.
        let Some(key) = request.header("sec-websocket-key") else { return };
        let accept = weir_testkit::websocket_accept(key);
        connection.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\nhello"
        ));
        let said = connection.read_exact(4);
        connection.send([&said[..], b"!"].concat());
        connection.read_to_end();
        connection.finish();
    });
    let weir = Setup::http(&[backend.address()]).start();
    let client = Client::connect(weir.address());
    let mut asked = client.begin(socket("/chat"), false).unwrap();
    client.send(&mut asked.out, b"ping", true);
    let reply = client.wait(asked).unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, "helloping!"));
    assert!(!reply.fields.contains_key("sec-websocket-accept") && !reply.fields.contains_key("upgrade"));
    assert_eq!(backend.only_request().start, "GET /chat HTTP/1.1");
}

#[test]
fn streams_beyond_the_limit_wait_or_are_refused() {
    let backend = FakeBackend::custom(|mut connection| {
        connection.read_request();
        connection.read_to_end();
    });
    let weir = Setup::http(&[backend.address()]).listener("limits: { streams: 2 }").start();
    let client = Client::connect(weir.address());
    client.pause(Duration::from_millis(50));
    let held: Vec<_> = (0..2).map(|_| client.begin(request("GET", "/"), true).unwrap()).collect();
    wait_until("both are at the backend", || backend.open() == 2);
    // A client that keeps the rules holds the third back until there is room.
    let third = client.begin(request("GET", "/"), true).unwrap();
    client.pause(Duration::from_millis(100));
    assert_eq!(backend.open(), 2);
    drop(held.into_iter().map(|mut asked| asked.out.send_reset(h2::Reason::CANCEL)).collect::<Vec<_>>());
    wait_until("the third has taken their place", || backend.accepted() == 3);
    drop(third);
}

#[test]
fn a_stream_that_is_reset_while_a_backend_is_connected_lets_go_of_it() {
    let hole = BlackHole::new();
    let weir = Setup::http(&[hole.address()]).pool("connect_timeout: 1h").start();
    let client = Client::connect(weir.address());
    let mut asked = client.begin(request("GET", "/"), true).unwrap();
    let backend = weir.app().snapshot().pools[0].backends[0].status.clone();
    wait_until("it is connected", || backend.active.load(Ordering::SeqCst) == 1);
    asked.out.send_reset(h2::Reason::CANCEL);
    wait_until("it is let go", || backend.active.load(Ordering::SeqCst) == 0);
}

#[test]
fn a_head_is_as_large_as_it_would_be_in_http1() {
    let backend = FakeBackend::answering(Answer::ok("fine"));
    let (sink, said) = journal();
    let folder = weir_testkit::Folder::new("large-heads");
    let log = folder.join("access.log");
    let text = format!(
        "workers: 1\naccess_log: {{ path: '{}', format: '$target $status $cause' }}\n\
         listeners: {{ web: {{ bind: '127.0.0.1:0', protocol: http, limits: {{ header_bytes: 1KiB }}, pool: app }} }}\n\
         pools: {{ app: {{ backends: ['{}'] }} }}\n",
        log.display(),
        backend.address()
    );
    let weir = App::from_text_with_log(&text, sink).unwrap();
    let client = Client::connect(weir.address("web"));
    let status = |path: &str, fields: &[(&str, &str)]| {
        client.ask(request_with("GET", path, fields), None).unwrap().status
    };
    // As HTTP/2 counts, each of them is more than 32 bytes.
    assert_eq!(status("/many", &[("x-a", "b"); 60]), 200);
    assert_eq!(status("/large", &[("x-a", &"b".repeat(1000))]), 431);
    assert_eq!(status(&format!("/{}", "b".repeat(1100)), &[]), 414);
    weir.shutdown(&|| true);
    let lines = std::fs::read_to_string(log).unwrap();
    let causes: Vec<_> = lines.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(causes, ["200 -", "431 client_header_too_large", "414 client_uri_too_long"]);
    assert!(said().contains("cause=client_header_too_large"), "{}", said());
}
