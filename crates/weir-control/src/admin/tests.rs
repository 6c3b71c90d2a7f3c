//! The admin API over real sockets.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use weir_model::{
    status::{Health, Registry},
    time::Moment,
};

use super::*;
use crate::config;

const FILE: &str = "
listeners:
  web: { bind: '127.0.0.1:8080', protocol: http, pool: app }
pools:
  app:
    balance: least_conn
    backends: ['10.0.0.1:80', { address: 'app.test:80', name: two, weight: 3 }]
    health: { http: / }
";

async fn start(bind: &str) -> (SocketAddr, Arc<AtomicBool>, Arc<SnapshotCell>) {
    let compiled = config::compile(config::from_text("weir.yaml", FILE), 7, &mut Registry::new(2)).unwrap();
    let cell = Arc::new(SnapshotCell::new(compiled.snapshot));
    let ready = Arc::new(AtomicBool::new(true));
    let admin = Admin {
        cell: cell.clone(),
        version: "0.1.0",
        origin: Arc::new(|| Origin { loaded_at: "2026-11-20T10:00:00Z".into(), source: "weir.yaml".into() }),
        readiness: {
            let ready = ready.clone();
            Arc::new(move || match ready.load(Ordering::Relaxed) {
                true => Ok(()),
                false => Err("weir is shutting down".into()),
            })
        },
    };
    let listener = TcpListener::bind(bind).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(serve(listener, admin));
    (SocketAddr::from(([127, 0, 0, 1], port)), ready, cell)
}

/// The status and the body of the answer to a request with these lines.
async fn ask(address: SocketAddr, lines: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{}\r\nconnection: close\r\n\r\n", lines.trim().replace('\n', "\r\n"));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn status_has_the_form_that_is_promised() {
    let (address, _, cell) = start("127.0.0.1:0").await;
    let snapshot = cell.load();
    let backend = &snapshot.pools[0].backends[0].status;
    backend.set_health(Health::Down, "connection refused (3 checks in a row)", Moment(5));
    backend.set_last_error("health check: connection refused");
    backend.shards.of(1).codes.count(200);
    backend.shards.of(1).latency.record(2000);

    let (code, body) = ask(address, "GET /api/status HTTP/1.1\nhost: localhost:9900").await;
    assert_eq!(code, 200);
    let status: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status["version"], "0.1.0");
    assert_eq!(status["config"]["generation"], 7);
    assert_eq!(status["config"]["loaded_at"], "2026-11-20T10:00:00Z");
    assert_eq!(status["config"]["source"], "weir.yaml");
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
    assert_eq!((&second["name"], &second["address"]), (&"two".into(), &"app.test:80".into()));
    assert_eq!((&second["latency_ms"]["p99"], &second["last_error"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn probes_answer_any_host() {
    let (address, ready, _) = start("127.0.0.1:0").await;
    assert_eq!(ask(address, "GET /livez HTTP/1.1\nhost: any.test").await, (200, "alive\n".into()));
    assert_eq!(ask(address, "GET /readyz HTTP/1.1\nhost: any.test").await.0, 200);
    ready.store(false, Ordering::Relaxed);
    assert_eq!(
        ask(address, "GET /readyz HTTP/1.1\nhost: any.test").await,
        (503, "weir is shutting down\n".into())
    );
    assert_eq!(ask(address, "HEAD /livez HTTP/1.1\nhost: any.test").await, (200, String::new()));
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let (address, ..) = start("127.0.0.1:0").await;
    for (lines, code) in [
        ("POST /livez HTTP/1.1\nhost: localhost", 405),
        ("DELETE /api/status HTTP/1.1\nhost: localhost", 405),
        ("GET / HTTP/1.1\nhost: localhost", 404),
        ("GET /api/nothing HTTP/1.1\nhost: localhost", 404),
        ("GET /api/status/ HTTP/1.1\nhost: localhost", 404),
        ("GET /api/status HTTP/1.1\nhost: evil.test", 403),
        ("GET /api/status HTTP/1.1\naccept: */*", 403),
        ("GET /api/status HTTP/1.1\nhost: localhost\norigin: http://evil.test", 403),
        ("GET /api/status HTTP/1.1\nhost: localhost:1\norigin: http://localhost:1", 200),
        ("nonsense", 400),
    ] {
        assert_eq!(ask(address, lines).await.0, code, "{lines}");
    }
}

#[tokio::test]
async fn off_loopback_only_probes_answer() {
    let (address, ..) = start("0.0.0.0:0").await;
    assert_eq!(ask(address, "GET /livez HTTP/1.1\nhost: localhost").await.0, 200);
    let (code, body) = ask(address, "GET /api/status HTTP/1.1\nhost: localhost").await;
    assert!(code == 403 && body.contains("token"), "{code} {body}");
}

#[tokio::test]
async fn garbage_ends_one_connection_and_nothing_else() {
    let (address, ..) = start("127.0.0.1:0").await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[0xff; 40_000]).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert_eq!(ask(address, "GET /livez HTTP/1.1\nhost: localhost").await.0, 200);
}
