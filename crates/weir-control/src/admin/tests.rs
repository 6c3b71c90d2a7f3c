//! The admin API over real sockets.

use std::{
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};
use weir_model::{
    status::{Health, Registry},
    time::Moment,
};

use super::{crowd::CONNECTIONS, *};
use crate::{config, reload::Ledger};

const FILE: &str = "
listeners:
  web:
    bind: '127.0.0.1:8080'
    protocol: http
    routes:
      - { match: { headers: { Authorization: secret-one } }, pool: app }
      - request_headers: { set: { X-Api-Token: secret-two, X-Plain: shown } }
        pool: app
pools:
  app:
    balance: least_conn
    backends: ['10.0.0.1:80', { address: 'app.test:80', name: 'two/2', weight: 3 }]
    health: { http: / }
";

/// Milliseconds that the clock of these tests shows.
static NOW: AtomicU64 = AtomicU64::new(10_000);

struct Running {
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    cell: Arc<SnapshotCell>,
}

fn admin(text: &str) -> Admin {
    let compiled = config::compile(config::from_text("weir.yaml", text), 7, &mut Registry::new(2)).unwrap();
    let ledger = Ledger::new(7, "2026-11-20T10:00:00Z".into(), "weir.yaml".into());
    Admin {
        cell: Arc::new(SnapshotCell::new(compiled.snapshot)),
        bounds: Bounds::default(),
        version: "0.1.0",
        reloader: Reloader::new(ledger).0,
        upgrader: Upgrader::new().0,
        readiness: Arc::new(|| Ok(())),
        explain: Arc::new(|_, question| Err(Trouble::new(format!("asked about {question}"), ""))),
        causes: ["no_route"].into(),
        log: Arc::new(|_: &str| {}),
        clock: || Moment(NOW.load(Ordering::Relaxed)),
        stamp: |when| match when {
            When::At(moment) => format!("at {}", moment.0),
            When::Unix(seconds) => format!("at {seconds}"),
        },
    }
}

fn start(bind: &str, text: &str) -> Running {
    let ready = Arc::new(AtomicBool::new(true));
    let readiness = {
        let ready = ready.clone();
        Arc::new(move || match ready.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("weir is shutting down".into()),
        })
    };
    let admin = Admin { readiness, ..admin(text) };
    let cell = admin.cell.clone();
    let door = Door::open(&Address::Ip(bind.parse().unwrap())).unwrap();
    let port = door.address().ip().unwrap().port();
    tokio::spawn(serve(door, admin, std::future::pending()));
    Running { address: SocketAddr::from(([127, 0, 0, 1], port)), ready, cell }
}

fn local() -> Running {
    start("127.0.0.1:0", FILE)
}

/// A configuration with a token in a file of its own.
fn with_token(name: &str) -> String {
    let path = std::env::temp_dir().join(format!("weir-token-{name}-{}", std::process::id()));
    std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
    format!("admin: {{ bind: '127.0.0.1:9900', token_file: '{}' }}\n{FILE}", path.display())
}

const TOKEN: &str = "c0rrect-h0rse-battery-staple-0123";

/// The status and the body of the answer to a request with these lines and this body.
async fn ask_on<S>(mut stream: S, lines: &str, body: &str) -> (u16, String)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let length = if body.is_empty() { String::new() } else { format!("\r\ncontent-length: {}", body.len()) };
    let lines = lines.trim().replace('\n', "\r\n");
    let request = format!("{lines}{length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head[9..12].parse().unwrap(), body.to_owned())
}

impl Running {
    async fn ask(&self, lines: &str) -> (u16, String) {
        self.send(lines, "").await
    }

    async fn send(&self, lines: &str, body: &str) -> (u16, String) {
        ask_on(TcpStream::connect(self.address).await.unwrap(), lines, body).await
    }
}

const TWO: &str = "/api/pools/app/backends/two%2F2";

#[tokio::test]
async fn status_has_the_form_that_is_promised() {
    let running = local();
    let snapshot = running.cell.load();
    let backend = &snapshot.pools[0].backends[0].status;
    backend.set_health(Health::Down, "connection refused (3 checks in a row)", Moment(5));
    backend.set_last_error("health check: connection refused");
    backend.shards.of(1).codes.count(200);
    backend.shards.of(1).latency.record(2000);

    let (code, body) = running.ask("GET /api/status HTTP/1.1\nhost: localhost:9900").await;
    assert_eq!(code, 200);
    let status: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status["version"], "0.1.0");
    assert_eq!(status["config"]["generation"], 7);
    assert_eq!(status["config"]["loaded_at"], "2026-11-20T10:00:00Z");
    assert_eq!(status["config"]["source"], "weir.yaml");
    assert_eq!(status["config"]["last_reload_success"], true);
    assert_eq!(status["listeners"][0]["name"], "web");
    let pool = &status["pools"][0];
    assert_eq!((&pool["name"], &pool["balance"]), (&"app".into(), &"least_conn".into()));
    let first = &pool["backends"][0];
    for (key, value) in [
        ("name", Value::from("10.0.0.1:80")),
        ("address", "10.0.0.1:80".into()),
        ("state", "active".into()),
        ("health", "down".into()),
        ("weight", 1.into()),
        ("active", 0.into()),
        ("requests", 1.into()),
        ("errors", 0.into()),
        ("last_error", "health check: connection refused".into()),
    ] {
        assert_eq!(first[key], value, "{key}");
    }
    assert!((1.5..=3.0).contains(&first["latency_ms"]["p50"].as_f64().unwrap()), "{first}");
    let second = &pool["backends"][1];
    assert_eq!((&second["name"], &second["address"]), (&"two/2".into(), &"app.test:80".into()));
    assert_eq!((&second["latency_ms"]["p99"], &second["last_error"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn probes_answer_any_host() {
    let running = local();
    assert_eq!(running.ask("GET /livez HTTP/1.1\nhost: any.test").await, (200, "alive\n".into()));
    assert_eq!(running.ask("GET /readyz HTTP/1.0").await.0, 200);
    running.ready.store(false, Ordering::Relaxed);
    let refused = (503, "weir is shutting down\n".into());
    assert_eq!(running.ask("GET /readyz HTTP/1.1\nhost: any.test").await, refused);
    assert_eq!(running.ask("HEAD /livez HTTP/1.1\nhost: any.test").await, (200, String::new()));
}

#[tokio::test]
async fn other_methods_paths_and_origins_are_refused() {
    let running = local();
    for (lines, code) in [
        ("POST /livez HTTP/1.1\nhost: localhost", 405),
        ("DELETE /api/status HTTP/1.1\nhost: localhost", 405),
        ("POST /api/pools/app/backends/x HTTP/1.1\nhost: localhost", 405),
        ("GET /nothing HTTP/1.1\nhost: localhost", 404),
        ("GET /api/nothing HTTP/1.1\nhost: localhost", 404),
        ("GET /api/status/ HTTP/1.1\nhost: localhost", 404),
        ("GET /api/status HTTP/1.1\nhost: evil.test", 403),
        ("GET /metrics HTTP/1.1\nhost: evil.test", 403),
        ("GET /api/status HTTP/1.1\naccept: */*", 400),
        ("GET /api/status HTTP/1.1\nhost: localhost\norigin: http://evil.test", 403),
        ("GET /api/status HTTP/1.1\nhost: localhost\norigin: null", 403),
        ("GET /api/status HTTP/1.1\nhost: localhost\nsec-fetch-site: cross-site", 403),
        ("GET /api/status HTTP/1.1\nhost: localhost:1\norigin: http://localhost:1", 200),
        ("nonsense", 400),
    ] {
        assert_eq!(running.ask(lines).await.0, code, "{lines}");
    }
}

#[tokio::test]
async fn a_backend_is_drained_and_told_when_it_may_stop() {
    let running = local();
    let put = format!("PUT {TWO} HTTP/1.1\nhost: localhost");
    let snapshot = running.cell.load();
    let pool = &snapshot.pools[0];
    pool.backends[1].status.active.store(1, Ordering::Relaxed);
    let before = pool.status.epoch.load(Ordering::Relaxed);
    let (code, body) = running.send(&put, r#"{"state": "draining", "weight": 7}"#).await;
    let view: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (code, &view["state"], &view["weight"], &view["set_by"]),
        (200, &json!("draining"), &json!(7), &json!("operator"))
    );
    assert!(pool.status.epoch.load(Ordering::Relaxed) > before, "workers are told");
    assert!(!pool.backends[1].is_eligible());

    let safe = async || {
        let (_, body) = running.ask(&format!("GET {TWO} HTTP/1.1\nhost: localhost")).await;
        serde_json::from_str::<Value>(&body).unwrap()["safe_to_stop"].clone()
    };
    NOW.fetch_add(60_000, Ordering::Relaxed);
    assert_eq!(safe().await, false, "one request is still there");
    pool.backends[1].status.active.store(0, Ordering::Relaxed);
    assert_eq!(safe().await, true);
    let (_, body) = running.send(&put, r#"{"state": "disabled"}"#).await;
    let view: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&view["state"], &view["weight"]), (&json!("disabled"), &json!(7)));
    assert_eq!(view["safe_to_stop"], false, "not every worker may have heard of it");
    running.send(&put, r#"{"state": "active"}"#).await;
    assert_eq!(safe().await, false);
}

#[tokio::test]
async fn what_a_put_does_not_understand_changes_nothing() {
    let running = local();
    let put = format!("PUT {TWO} HTTP/1.1\nhost: localhost");
    for body in [
        "",
        "{}",
        "draining",
        r#"{"state": "gone"}"#,
        r#"{"state": "draining", "wieght": 3}"#,
        r#"{"weight": -1}"#,
        r#"{"weight": 1000001}"#,
        r#"{"state": "draining", "weight": 1000001}"#,
        r#"{"weight": 1.5}"#,
        r#"["draining", 5]"#,
        r#"{"state": 5}"#,
        r#"{"state": "draining", "state": "active"}"#,
        r#"{"weight": 5, "w\u0065ight": null}"#,
    ] {
        let (code, said) = running.send(&put, body).await;
        assert!(code == 400 && said.contains("remedy"), "{body}: {code} {said}");
        let inside = ["struct", "Wish", "u32", "i64", "variant", "field"];
        assert!(!inside.iter().any(|word| said.contains(word)), "{body}: {said}");
    }
    let (_, said) = running.send(&put, r#"{"state": "draining", "state": "draining"}"#).await;
    assert!(said.contains("the key `state` is given twice"), "{said}");
    let snapshot = running.cell.load();
    assert_eq!(snapshot.pools[0].backends[1].status.operator.orders(), Default::default());
    for path in
        ["/api/pools/none/backends/x", "/api/pools/app/backends/none", "/api/pools/app/backends/two/2"]
    {
        let lines = format!("PUT {path} HTTP/1.1\nhost: localhost");
        assert_eq!(running.send(&lines, r#"{"weight": 1}"#).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn an_order_holds_until_the_file_says_something_else() {
    let mut registry = Registry::new(1);
    let mut compile = |text: &str, generation| {
        config::compile(config::from_text("weir.yaml", text), generation, &mut registry).unwrap().snapshot
    };
    let weight = |snapshot: &Snapshot| snapshot.pools[0].backends[1].weight_now();
    let changed = FILE.replace("weight: 3", "weight: 4");
    let cell = SnapshotCell::new(compile(FILE, 1));
    cell.load().pools[0].backends[1].order(None, Some(9), Moment(1));
    // A configuration that is compiled and not published changes nothing.
    drop(compile(&changed, 2));
    for (text, expected) in [(FILE, 9), (&*changed, 4), (FILE, 3)] {
        cell.publish(compile(text, cell.generation() + 1), Moment(0));
        assert_eq!(weight(&cell.load()), expected);
    }
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let running = start("127.0.0.1:0", &with_token("config"));
    let (code, body) = running.ask("GET /api/config HTTP/1.1\nhost: localhost").await;
    assert_eq!(code, 200);
    for secret in ["secret-one", "secret-two", TOKEN] {
        assert!(!body.contains(secret), "{secret} in {body}");
    }
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(told["admin"]["token"], "***");
    let web = &told["listeners"]["web"];
    assert_eq!(web["timeouts"]["idle"], "1m");
    assert_eq!(web["routes"][1]["request_headers"]["set"]["x-plain"], "shown");
    assert_eq!(told["pools"]["app"]["backends"][1]["name"], "two/2");
    assert_eq!(told["pools"]["app"]["health"]["http"]["path"], "/");
}

#[tokio::test]
async fn explain_and_metrics_are_served() {
    let running = local();
    let (code, body) =
        running.ask("GET /api/explain?url=http://a.test/x&method=PUT HTTP/1.1\nhost: localhost").await;
    assert!(code == 400 && body.contains("asked about PUT http://a.test/x"), "{code} {body}");
    assert_eq!(running.ask("GET /api/explain HTTP/1.1\nhost: localhost").await.0, 400);
    let (code, page) = running.ask("GET /metrics HTTP/1.1\nhost: localhost").await;
    assert!(code == 200 && page.contains("# TYPE weir_requests_total counter\n"), "{code} {page}");
    let open = "GET /metrics HTTP/1.1\nhost: localhost\naccept: application/openmetrics-text";
    assert!(running.ask(open).await.1.ends_with("# EOF\n"));
}

#[tokio::test]
async fn off_loopback_the_api_needs_the_token() {
    let without = start("0.0.0.0:0", FILE);
    let status = "GET /api/status HTTP/1.1\nhost: 192.0.2.1";
    assert_eq!(without.ask("GET /livez HTTP/1.1\nhost: lb.test").await.0, 200);
    assert_eq!(without.ask("GET /metrics HTTP/1.1\nhost: lb.test").await.0, 200);
    let (code, body) = without.ask(status).await;
    assert!(code == 403 && body.contains("token_file"), "{code} {body}");

    let with = start("0.0.0.0:0", &with_token("off-loopback"));
    assert_eq!(with.ask(status).await.0, 401);
    assert_eq!(with.ask("GET /api/status HTTP/1.1\nhost: lb.test").await.0, 403);
    for (authorization, host, code) in [
        (format!("Bearer {TOKEN}"), "192.0.2.1", 200),
        (format!("bearer {TOKEN}"), "lb.test", 200),
        (format!("Bearer {TOKEN}x"), "192.0.2.1", 401),
        (format!("Bearer {}", &TOKEN[1..]), "192.0.2.1", 401),
        ("Bearer ".to_owned(), "192.0.2.1", 401),
        (format!("Basic {TOKEN}"), "192.0.2.1", 401),
        (TOKEN.to_owned(), "192.0.2.1", 401),
    ] {
        let lines = format!("GET /api/status HTTP/1.1\nhost: {host}\nauthorization: {authorization}");
        assert_eq!(with.ask(&lines).await.0, code, "{authorization} {host}");
        let numbers = lines.replace("/api/status", "/metrics");
        assert_eq!(with.ask(&numbers).await.0, 200, "{authorization} {host}");
    }
    let foreign = format!("{status}\nauthorization: Bearer {TOKEN}\norigin: http://evil.test");
    assert_eq!(with.ask(&foreign).await.0, 403);
}

#[tokio::test]
async fn with_a_token_writes_need_it_and_reads_on_loopback_do_not() {
    let running = start("127.0.0.1:0", &with_token("writes"));
    assert_eq!(running.ask("GET /api/status HTTP/1.1\nhost: localhost").await.0, 200);
    let put = format!("PUT {TWO} HTTP/1.1\nhost: localhost");
    let body = r#"{"state": "disabled"}"#;
    let (code, said) = running.send(&put, body).await;
    assert!(code == 401 && said.contains("Bearer"), "{code} {said}");
    assert!(running.cell.load().pools[0].backends[1].status.operator.orders().state.is_none());
    assert_eq!(running.send(&format!("{put}\nauthorization: Bearer {TOKEN}"), body).await.0, 200);
}

#[tokio::test]
async fn a_unix_socket_is_proof_enough() {
    let path: Arc<Path> =
        std::env::temp_dir().join(format!("weir-admin-{}.sock", std::process::id())).as_path().into();
    let door = Door::open(&Address::Unix(path.clone())).unwrap();
    let server = tokio::spawn(serve(door, admin(&with_token("unix")), std::future::pending()));
    let stream = async || UnixStream::connect(&path).await.unwrap();
    let put = format!("PUT {TWO} HTTP/1.1\nhost: weir");
    assert_eq!(ask_on(stream().await, &put, r#"{"weight": 5}"#).await.0, 200);
    let foreign = format!("{put}\norigin: http://evil.test");
    assert_eq!(ask_on(stream().await, &foreign, r#"{"weight": 6}"#).await.0, 403);
    server.abort();
    let _ = server.await;
    assert!(!path.exists(), "the socket goes with the process");
}

#[tokio::test]
async fn a_connection_carries_several_requests_and_ends_with_a_bad_one() {
    let running = local();
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let good = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    let posted = "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\nGET /readyz HTTP/1.1\r\nHost: a\r\n\r\n";
    let bad = "GET /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(format!("{good}{posted}{good}{bad}{good}").as_bytes()).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    let codes: Vec<_> = said.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(codes, ["200", "405", "200", "411"], "{said}");
    assert!(said.ends_with(r#""remedy":"send Content-Length, and no Transfer-Encoding"}"#), "{said}");
}

#[tokio::test]
async fn garbage_ends_one_connection_and_nothing_else() {
    let running = local();
    for garbage in [vec![0xff; 40_000], vec![b'a'; 40_000], b"GET / HTTP/1.1\nHost: a\n\n".to_vec()] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(&garbage).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 4"), "{}", answer.escape_ascii());
    }
    assert_eq!(running.ask("GET /livez HTTP/1.1\nhost: localhost").await.0, 200);
}

#[tokio::test]
async fn connections_that_are_only_held_keep_nobody_out() {
    for begun in ["", "GET /livez HT", "PUT /api HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"] {
        let running = local();
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS + 20 {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            stream.write_all(begun.as_bytes()).await.unwrap();
            held.push(stream);
        }
        assert_eq!(running.ask("GET /livez HTTP/1.1\nhost: localhost").await.0, 200);
        // The oldest one has made room, and was not answered when its time was over.
        let mut said = Vec::new();
        let _ = held[0].read_to_end(&mut said).await;
        assert!(said.is_empty(), "{begun}: {}", said.escape_ascii());
        drop(held);
    }
}
