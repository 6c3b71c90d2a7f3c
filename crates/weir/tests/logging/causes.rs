//! Every failure that can be brought about stands in the log with its cause and its sentence, refused requests included.

use std::{collections::BTreeSet, io::Write as _, net::SocketAddr, sync::atomic::Ordering};

use serde_json::Value;
use weir_proxy::error::Cause;
use weir_testkit::{
    Answer, Authority, BlackHole, ClientHello, FakeBackend, Folder, RawClient, Refusing, TlsServer,
};

use crate::support::Logged;

/// What clients of HTTP/2 begin with.
const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What went wrong, as the log tells it.
fn told(objects: &[Value], all: &mut BTreeSet<&'static str>) {
    for object in objects {
        let Some(code) = object["cause"].as_str() else { continue };
        let cause = Cause::ALL.iter().find(|cause| cause.code() == code);
        let cause = cause.unwrap_or_else(|| panic!("{code} is no cause"));
        let sentence = object["sentence"].as_str().unwrap();
        assert!(sentence.starts_with(cause.sentence()), "{code}: {sentence}");
        all.insert(cause.code());
    }
}

/// Sends requests that are refused for what they are.
fn refused_requests(all: &mut BTreeSet<&'static str>) {
    let backend = FakeBackend::echo();
    let keys = "    limits: { header_bytes: 2KiB, headers: 10, body: 1KiB }\n    timeouts: { header: 200ms, body_idle: \
                200ms }\n";
    let weir = Logged::start("http", &[backend.address()], "json", "", keys);
    let host = "Host: a.test\r\n";
    let requests = [
        "nonsense\r\n\r\n".to_owned(),
        "nonsense HTTP/1.1\r\n\r\n".to_owned(),
        format!("{PREFACE}nonsense that is no frame"),
        // Settings, and far too many pings.
        format!("{PREFACE}\0\0\0\x04\0\0\0\0\0{}", "\0\0\x08\x06\0\0\0\0\0weirweir".repeat(2000)),
        format!("GET / HTTP/1.1\r\n{host}bad field\r\n\r\n"),
        format!("GET / HTTP/1.1\n{host}\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: x\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET nowhere HTTP/1.1\r\n{host}\r\n"),
        format!("GET https://a.test/ HTTP/1.1\r\n{host}\r\n"),
        format!("GET /{} HTTP/1.1\r\n{host}\r\n", "x".repeat(3000)),
        format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "x".repeat(3000)),
        format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: y\r\n".repeat(20)),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 5000\r\n\r\n"),
        format!("GET / HTTP/2.0\r\n{host}\r\n"),
        format!("TRACE / HTTP/1.1\r\n{host}\r\n"),
        format!("GET / HTTP/1.1\r\n{host}Expect: everything\r\n\r\n"),
        "GET / HT".to_owned(),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 10\r\n\r\nabc"),
    ];
    for request in &requests {
        let mut client = RawClient::connect(weir.address());
        client.send(request).read_to_end();
    }
    // One that goes away in the middle of its head.
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.1\r\nHos").finish().read_to_end();
    let objects = weir.objects();
    assert_eq!(objects.len(), requests.len() + 1, "{objects:#?}");
    assert!(objects.iter().all(|object| object["cause"].is_string()), "{objects:#?}");
    // Requests without a route or a backend: what came stands in the log all the same.
    let logged = |target: &str, cause: &str| {
        objects.iter().any(|object| object["target"] == target && object["cause"] == cause)
    };
    assert!(logged("nonsense HTTP/1.1", "client_bad_request_line"), "{objects:#?}");
    assert!(logged("nonsense", "client_not_http"), "{objects:#?}");
    told(&objects, all);
}

/// Asks one request of backends that fail in some way.
fn ask(backends: &[SocketAddr], more: &str) -> Vec<Value> {
    let times = "    connect_timeout: 300ms\n    response_timeout: 300ms\n    stream_idle: 300ms\n";
    let weir = Logged::http(backends, "json", &format!("{times}{more}"));
    let request = "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    RawClient::connect(weir.address()).send(request).read_to_end();
    weir_testkit::wait_until("it is over", || weir.app.open_connections() == 0);
    weir.objects()
}

fn failing_backends(all: &mut BTreeSet<&'static str>) {
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let answers = [
        Answer::bytes("nonsense\r\n\r\n"),
        Answer::bytes(huge),
        Answer::bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").then_close(),
        Answer::bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").then_hang(),
        Answer::bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        Answer::bytes("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"),
        Answer::bytes("").then_reset(),
        Answer::close(),
        Answer::hang(),
    ];
    for answer in answers {
        let backend = FakeBackend::answering(answer);
        told(&ask(&[backend.address()], ""), all);
    }
    told(&ask(&[Refusing::new().address()], ""), all);
    // Nothing connects to everybody: the kernel says so at once.
    told(&ask(&["255.255.255.255:80".parse().unwrap()], ""), all);
    let hole = BlackHole::new();
    told(&ask(&[hole.address()], ""), all);
    let backend = FakeBackend::answering(Answer::hang());
    told(&ask(&[backend.address()], "    health: { http: /healthz, interval: 1h, initial: unknown }\n"), all);
}

/// A call by HTTP/2 whose caller has no more time than this: frames with its head (RFC 9113 section 6.2), whose fields are
/// literals (RFC 7541 section 6.2.2).
fn call(timeout: &str) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "a.test"),
        (":path", "/shop.Cart/Add"),
        ("content-type", "application/grpc"),
        ("grpc-timeout", timeout),
    ] {
        head.push(0);
        for text in [name, value] {
            head.push(u8::try_from(text.len()).unwrap());
            head.extend_from_slice(text.as_bytes());
        }
    }
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let length = u8::try_from(head.len()).unwrap();
    [PREFACE.as_bytes(), &settings, &[0, 0, length, 1, 5, 0, 0, 0, 1], &head].concat()
}

fn calls(all: &mut BTreeSet<&'static str>) {
    let backend = FakeBackend::answering(Answer::hang());
    let weir = Logged::http(&[backend.address()], "json", "    protocol: http1\n");
    let mut client = RawClient::connect(weir.address());
    client.send(call("100m"));
    let is_over = || weir.said.lock().unwrap().iter().any(|line| line.contains("call_deadline"));
    weir_testkit::wait_until("the call is over", is_over);
    let objects = weir.objects();
    assert_eq!((&objects[0]["grpc_status"], &objects[0]["protocol"]), (&4.into(), &"HTTP/2.0".into()));
    told(&objects, all);
}

/// Limits of the pool, met while a first request is under way.
fn full_pools(all: &mut BTreeSet<&'static str>) {
    let limits = [
        "requests: 1",
        "connections: 1, queue_timeout: 100ms",
        "connections: 1, pending: 1, queue_timeout: 1m",
    ];
    for limits in limits {
        let backend = FakeBackend::answering(Answer::hang());
        let weir = Logged::http(&[backend.address()], "json", &format!("    limits: {{ {limits} }}\n"));
        let begin = |target: &str| {
            let mut client = RawClient::connect(weir.address());
            client.send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
            client
        };
        let _first = begin("/first");
        weir_testkit::wait_until("it is under way", || !backend.requests().is_empty());
        let waiting = limits.contains("pending").then(|| begin("/waiting"));
        let pool = weir.app.snapshot().pools[0].status.clone();
        let queued = u32::from(waiting.is_some());
        weir_testkit::wait_until("it waits", || pool.pending.load(Ordering::Relaxed) == queued);
        assert_eq!(begin("/last").final_response("GET").status(), 503, "{limits}");
        told(&weir.objects(), all);
    }
}

/// A listener that admits nobody, a route with little patience, and one that tries again.
fn rules_of_the_file(all: &mut BTreeSet<&'static str>) {
    let backend = FakeBackend::answering(Answer::hang());
    let keys = "    deny: [127.0.0.0/8]\n";
    let weir = Logged::start("http", &[backend.address()], "json", "", keys);
    assert_eq!(RawClient::connect(weir.address()).get("/").status(), 403);
    let objects = weir.objects();
    assert_eq!((&objects[0]["target"], &objects[0]["client_address"]), (&"/".into(), &"127.0.0.1".into()));
    told(&objects, all);

    let failing = FakeBackend::answering(Answer::bytes("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"));
    let text = format!(
        "workers: 1\nlisteners:\n  web:\n    bind: 127.0.0.1:0\n    protocol: http\n    routes:\n      \
         - {{ match: {{ path: /late }}, timeout: 200ms, pool: app }}\n      \
         - {{ match: {{ path: /try }}, retry: {{ per_try: 200ms, retries: 0 }}, pool: app }}\n      \
         - {{ retry: {{ retry_on: [503] }}, pool: failing }}\n\
         pools:\n  app: {{ backends: ['{0}'] }}\n  failing: {{ backends: ['{1}', {{ address: '{1}', name: b }}] }}\n",
        backend.address(),
        failing.address()
    );
    let weir = Logged::from_text(&text, "format: json");
    let statuses =
        ["/late", "/try", "/again"].map(|path| RawClient::connect(weir.address()).get(path).status());
    assert_eq!(statuses, [504, 504, 503]);
    let objects = weir.objects();
    let attempts: Vec<_> =
        objects[2]["attempts"].as_array().unwrap().iter().map(|attempt| attempt["status"].clone()).collect();
    assert_eq!(attempts, [503, 503], "{}", objects[2]);
    told(&objects, all);
}

fn connections_of_a_bind_that_went(all: &mut BTreeSet<&'static str>) {
    let backend = FakeBackend::custom(|mut connection| drop(connection.read_to_end()));
    let weir = Logged::start("tcp", &[backend.address()], "json", "shutdown: { drain: 100ms }\n", "");
    let mut client = RawClient::connect(weir.address());
    weir_testkit::wait_until("it is carried", || backend.open() == 1);
    weir.app.reload_text(&weir.text.replace("127.0.0.1:0", "127.0.0.2:0")).unwrap();
    client.read_to_end();
    told(&weir.objects(), all);
}

fn requests_of_a_backend_that_went(all: &mut BTreeSet<&'static str>) {
    let (goes, stays) = (FakeBackend::answering(Answer::hang()), FakeBackend::echo());
    let weir = Logged::http(&[goes.address()], "json", "    drain: 100ms\n");
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    weir_testkit::wait_until("it is under way", || !goes.requests().is_empty());
    let next = weir.text.replace(&goes.address().to_string(), &stays.address().to_string());
    weir.app.reload_text(&next).unwrap();
    assert_eq!(client.final_response("GET").status(), 503);
    told(&weir.objects(), all);
}

fn requests_under_way_at_the_end(all: &mut BTreeSet<&'static str>) {
    let hangs = FakeBackend::answering(Answer::hang());
    let weir = Logged::http(&[hangs.address()], "json", "shutdown: { announce: 0s, drain: 0s }\n");
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    weir_testkit::wait_until("it is under way", || !hangs.requests().is_empty());
    told(&weir.objects(), all);
    assert_eq!(client.final_response("GET").status(), 503);
}

fn routes_and_clients(all: &mut BTreeSet<&'static str>) {
    let text = "workers: 1\nlisteners: { web: { bind: '127.0.0.1:0', protocol: http, routes: [\n  \
                { match: { path: /a }, respond: { status: 204 } }] } }\n";
    let weir = Logged::from_text(text, "format: json");
    assert_eq!(RawClient::connect(weir.address()).get("/b").status(), 404);
    told(&weir.objects(), all);

    // One that takes nothing of its answer, and one that is silent in a tunnel.
    let mut long = Vec::new();
    write!(long, "HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n").unwrap();
    long.resize(long.len() + 50_000_000, b'x');
    let backend = FakeBackend::answering(Answer::bytes(long));
    let keys = "    timeouts: { send_idle: 200ms }\n";
    let weir = Logged::start("http", &[backend.address()], "json", "", keys);
    let mut client = RawClient::connect_narrow(weir.address(), 4096);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response_head().unwrap().status(), 200);
    weir_testkit::wait_until("it is cut off", || weir.app.open_connections() == 0);
    told(&weir.objects(), all);

    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    let backend = FakeBackend::answering(Answer::bytes(switch));
    let keys = "    timeouts: { tunnel: 200ms }\n";
    let weir = Logged::start("http", &[backend.address()], "json", "", keys);
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    client.read_to_end();
    let objects = weir.objects();
    assert_eq!((&objects[0]["status"], &objects[0]["attempts"][0]["status"]), (&101.into(), &101.into()));
    told(&objects, all);

    let backend = FakeBackend::custom(|mut connection| drop(connection.read_to_end()));
    let weir = Logged::start("tcp", &[backend.address()], "json", "", "    timeouts: { idle: 200ms }\n");
    RawClient::connect(weir.address()).read_to_end();
    told(&weir.objects(), all);
}

/// Backends that no TLS can be agreed on with.
fn encrypted_backends(all: &mut BTreeSet<&'static str>) {
    let stranger = TlsServer::new(&Authority::new("Nobody").server(&["127.0.0.1"]));
    let (folder, root) = (Folder::new("logging-tls"), Authority::new("Backends"));
    let ca = root.write(&folder, "ca.pem");
    let plain = FakeBackend::custom(|mut connection| {
        connection.read_exact(1);
        connection.send("HTTP/1.1 400 Bad Request\r\n\r\n");
        connection.read_to_end();
    });
    let old = TlsServer::new(&root.server(&["127.0.0.1"]));
    let backends = [&stranger, &old].map(|server| FakeBackend::tls(server, Answer::ok("never")));
    for backend in backends.into_iter().chain([plain]) {
        let text = format!(
            "workers: 1\nlisteners: {{ web: {{ bind: '127.0.0.1:0', protocol: http, pool: app }} }}\n\
             pools: {{ app: {{ backends: ['{}'], connect_timeout: 10s, protocol: h2, tls: {{ ca: {} }} }} }}\n",
            backend.address(),
            ca.display()
        );
        let weir = Logged::from_text(&text, "format: json");
        let mut client = RawClient::connect(weir.address());
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.final_response("GET").status(), 502);
        told(&weir.objects(), all);
    }
}

/// Connections that do not come to their protocol.
fn openings(all: &mut BTreeSet<&'static str>) {
    let backend = FakeBackend::echo();
    let keys = "    timeouts: { handshake: 200ms }\n";
    let weir = Logged::start("tls", &[backend.address()], "json", "", keys);
    for said in ["GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\0\0", "\x16\x03\x01"] {
        RawClient::connect(weir.address()).send(said).read_to_end();
    }
    let objects = weir.objects();
    assert_eq!(objects.len(), 3, "{objects:#?}");
    told(&objects, all);

    let weir = Logged::start(
        "tcp",
        &[backend.address()],
        "json",
        "",
        "    accept_proxy_protocol: { trust: 127.0.0.1 }\n",
    );
    RawClient::connect(weir.address()).send("hello, world").read_to_end();
    RawClient::connect(weir.address())
        .send("PROXY TCP4 192.0.2.7 192.0.2.1 5 6\r\nhello")
        .finish()
        .read_to_end();
    let objects = weir.objects();
    assert_eq!(objects[1]["client_address"], "192.0.2.7");
    told(&objects, all);

    // An address that is shared needs a port of its own.
    let port = std::net::TcpListener::bind("127.0.0.41:0").unwrap().local_addr().unwrap();
    let listener = |name: &str, more: &str| {
        format!("  {name}: {{ bind: '{port}', protocol: tls, sni: {name}.example, pool: app{more} }}\n")
    };
    let silent = FakeBackend::custom(|mut connection| drop(connection.read_to_end()));
    let text = format!(
        "workers: 1\nlisteners:\n{}{}pools: {{ app: {{ backends: ['{}'] }} }}\n",
        listener("a", ", max_connections: 1"),
        listener("b", ""),
        silent.address()
    );
    let weir = Logged::from_text(&text, "format: json");
    let begin = |name: &str| {
        let mut client = RawClient::connect(port);
        client.send(ClientHello::new().server_name(name).bytes());
        client
    };
    let first = begin("a.example");
    weir_testkit::wait_until("the first is carried", || silent.open() == 1);
    begin("a.example").read_to_end();
    begin("c.example").read_to_end();
    drop(first);
    told(&weir.objects(), all);
}

#[test]
fn every_cause_stands_in_the_log_with_its_sentence() {
    let mut all = BTreeSet::new();
    refused_requests(&mut all);
    failing_backends(&mut all);
    encrypted_backends(&mut all);
    calls(&mut all);
    full_pools(&mut all);
    rules_of_the_file(&mut all);
    routes_and_clients(&mut all);
    openings(&mut all);
    connections_of_a_bind_that_went(&mut all);
    requests_of_a_backend_that_went(&mut all);
    requests_under_way_at_the_end(&mut all);
    // What needs a full file table, a name server, half a minute of a slow body, or gRPC-Web; and what ends an
    // attempt only.
    let elsewhere = [
        "client_bad_text",
        "client_misdirected_host",
        "out_of_resources",
        "backend_unresolved",
        "client_body_too_slow",
        "backend_status",
    ];
    let missing: Vec<_> = Cause::ALL
        .iter()
        .map(|cause| cause.code())
        .filter(|code| !all.contains(code) && !elsewhere.contains(code))
        .collect();
    assert!(missing.is_empty(), "{missing:?} were not seen");
}

#[test]
fn a_stream_of_events_that_is_silent_for_too_long_is_no_error_of_its_backend() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let backend = FakeBackend::answering(Answer::bytes(format!("{head}9\r\ndata: 1\n\n\r\n")).then_hang());
    let keys = "    timeouts: { tunnel: 100ms }\n";
    let more = "    outlier: { consecutive_errors: 1 }\n";
    let weir = Logged::start("http", &[backend.address()], "json", more, keys);
    RawClient::connect(weir.address()).send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").read_to_end();
    weir_testkit::wait_until("it is over", || weir.app.open_connections() == 0);
    assert_eq!(weir.app.snapshot().pools[0].backends[0].status.ejected_until(), None);
    let objects = weir.objects();
    assert_eq!((objects.len(), &objects[0]["cause"]), (1, &"timeout_tunnel".into()));
}

#[test]
fn what_one_client_asked_for_is_not_said_of_another() {
    let backend = FakeBackend::echo();
    let text = format!(
        "workers: 1\nlisteners: {{ web: {{ bind: '127.0.0.1:0', protocol: http, pool: app }} }}\n\
         pools: {{ app: {{ backends: ['{}'] }} }}\n",
        backend.address()
    );
    let weir = Logged::launch(&text);
    let mut client = RawClient::connect(weir.address());
    assert_eq!(client.get("/reset?token=secret").status(), 200);
    // Nothing of a request has come of these when they fail.
    RawClient::connect(weir.address()).send("\r\n").finish().read_to_end();
    RawClient::connect(weir.address()).send("\r\n".repeat(20_000)).read_to_end();
    RawClient::connect(weir.address()).send("\rGET / HTTP/1.1\r\n\r\n").read_to_end();
    let failed = || weir.said.lock().unwrap().iter().filter(|line| line.contains("cause")).count();
    weir_testkit::wait_until("all have failed", || failed() >= 2);
    let said = weir.said.lock().unwrap().join("\n");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn failures_are_logged_however_small_the_sample() {
    let backend = FakeBackend::echo();
    let text = format!(
        "workers: 1\nlisteners:\n  web:\n    bind: 127.0.0.1:0\n    protocol: http\n    routes:\n      \
         - {{ match: {{ path: /ok }}, pool: app }}\npools: {{ app: {{ backends: ['{}'] }} }}\n",
        backend.address()
    );
    let weir = Logged::from_text(&text, "sample: 0%");
    let mut client = RawClient::connect(weir.address());
    for _ in 0..10 {
        assert_eq!(client.get("/ok").status(), 200);
        assert_eq!(client.get("/none").status(), 404);
    }
    let objects = weir.objects();
    assert_eq!(objects.len(), 10);
    assert!(objects.iter().all(|object| object["cause"] == "no_route"));
}
