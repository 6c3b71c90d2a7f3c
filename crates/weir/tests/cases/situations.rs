//! The situations that a balancer exists for, as far as weir masters them, each under its name.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use weir_testkit::{Answer, FakeBackend, RawClient, wait_until};

use crate::support::{Setup, Weir};

const CHECK: &str = "health: { http: /healthz, interval: 100ms, timeout: 300ms, fall: 3, rise: 2 }";

/// Waits until so many answers in a row have this body.
fn settles(weir: &Weir, what: &str, body: &str) {
    wait_until(what, || {
        let mut client = RawClient::connect(weir.address());
        (0..8).all(|_| client.get("/").text() == body)
    });
}

/// Passes every port check, and fails every request while the flag is up.
fn moody(bad: &Arc<AtomicBool>, failure: fn() -> Answer) -> FakeBackend {
    let bad = bad.clone();
    FakeBackend::answering_each(
        move |_| {
            if bad.load(Ordering::SeqCst) { failure() } else { Answer::ok("moody") }
        },
    )
}

fn error_500() -> Answer {
    Answer::bytes("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nbad")
}

#[test]
fn the_zombie_leaves_and_comes_back() {
    let bad = Arc::new(AtomicBool::new(true));
    let (zombie, good) = (moody(&bad, error_500), FakeBackend::answering(Answer::ok("good")));
    let weir = Setup::http(&[zombie.address(), good.address()]).pool(CHECK).start();
    settles(&weir, "only the good one answers", "good");
    bad.store(false, Ordering::SeqCst);
    wait_until("the zombie is back", || RawClient::connect(weir.address()).get("/").text() == "moody");
}

#[test]
fn retries_hide_the_zombie_until_it_leaves() {
    let bad = Arc::new(AtomicBool::new(false));
    let (zombie, good) = (moody(&bad, error_500), FakeBackend::answering(Answer::ok("good")));
    let weir = Setup::http(&[zombie.address(), good.address()])
        .pool(CHECK)
        .route("retry: { retry_on: [connect, reset, 500], budget: none }")
        .start();
    wait_until("both answer", || {
        let mut client = RawClient::connect(weir.address());
        let seen = [client.get("/").text(), client.get("/").text()];
        seen.contains(&"moody".to_owned()) && seen.contains(&"good".to_owned())
    });
    bad.store(true, Ordering::SeqCst);
    let mut client = RawClient::connect(weir.address());
    for _ in 0..200 {
        assert_eq!(client.get("/").status(), 200);
    }
    settles(&weir, "only the good one answers", "good");
}

#[test]
fn the_deadlock_leaves_by_the_time_out_of_its_check() {
    let bad = Arc::new(AtomicBool::new(true));
    let (stuck, good) = (moody(&bad, Answer::hang), FakeBackend::answering(Answer::ok("good")));
    let weir =
        Setup::http(&[stuck.address(), good.address()]).pool(CHECK).pool("response_timeout: 30s").start();
    settles(&weir, "only the good one answers", "good");
}

#[test]
fn one_slow_of_ten_gets_less_where_connections_are_counted() {
    /// How many of 400 requests, twenty at a time, the slow one of ten gets.
    fn share_of_the_slow_one(balance: &str) -> usize {
        let slow = FakeBackend::answering_each(|_| {
            thread::sleep(Duration::from_millis(100));
            Answer::ok("slow")
        });
        let fast: Vec<_> = (0..9).map(|_| FakeBackend::answering(Answer::ok("fast"))).collect();
        let mut addresses = vec![slow.address()];
        addresses.extend(fast.iter().map(FakeBackend::address));
        let weir = Setup::http(&addresses).pool(&format!("balance: {balance}")).start();
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let mut client = RawClient::connect(weir.address());
                    (0..20).for_each(|_| assert_eq!(client.get("/").status(), 200));
                });
            }
        });
        slow.requests().len()
    }
    assert_eq!(share_of_the_slow_one("round_robin"), 40, "round robin does not look");
    for balance in ["least_conn", "two_choices"] {
        let share = share_of_the_slow_one(balance);
        assert!(share < 30, "{balance}: {share} of 400");
    }
}

#[test]
fn paths_hosts_headers_and_cookies_lead_to_their_pools() {
    let names = ["api-v1", "api-v2", "static", "admin", "cdn", "mobile", "tenant", "beta", "premium", "rest"];
    let backends = names.map(|name| FakeBackend::answering(Answer::ok(name)));
    let pools: String = names
        .iter()
        .zip(&backends)
        .map(|(name, backend)| format!("  {name}: {{ backends: [\"{}\"] }}\n", backend.address()))
        .collect();
    let weir = Weir::from_text(&format!(
        "listeners:\n  web:\n    bind: 127.0.0.1:0\n    protocol: http\n    routes:\n\
         \x20     - {{ match: {{ host: admin.example.com }}, pool: admin }}\n\
         \x20     - {{ match: {{ host: cdn.example.com }}, pool: cdn }}\n\
         \x20     - {{ match: {{ path: /api/v1/* }}, pool: api-v1 }}\n\
         \x20     - {{ match: {{ path: /api/v2/* }}, pool: api-v2 }}\n\
         \x20     - {{ match: {{ path: /static/* }}, pool: static }}\n\
         \x20     - {{ match: {{ headers: {{ X-Tenant: \"~^acme-\" }} }}, pool: tenant }}\n\
         \x20     - {{ match: {{ headers: {{ User-Agent: \"~Mobile\" }} }}, pool: mobile }}\n\
         \x20     - {{ match: {{ headers: {{ X-Feature: beta }} }}, pool: beta }}\n\
         \x20     - {{ match: {{ cookies: {{ session-type: premium }} }}, pool: premium }}\n\
         \x20   pool: rest\npools:\n{pools}"
    ));
    for (host, path, fields, expected) in [
        ("admin.example.com", "/api/v1/x", "", "admin"),
        ("cdn.example.com", "/", "", "cdn"),
        ("a.test", "/api/v1", "", "api-v1"),
        ("a.test", "/api/v2/users", "", "api-v2"),
        ("a.test", "/api/v21", "", "rest"),
        ("a.test", "/static/logo.png", "", "static"),
        ("a.test", "/", "X-Tenant: acme-north\r\n", "tenant"),
        ("a.test", "/", "X-Tenant: other\r\n", "rest"),
        ("a.test", "/", "User-Agent: X (Mobile; Y)\r\n", "mobile"),
        ("a.test", "/", "X-Feature: beta\r\n", "beta"),
        ("a.test", "/", "Cookie: a=b; session-type=premium\r\n", "premium"),
        ("a.test", "/", "Cookie: session-type=premiumish\r\n", "rest"),
    ] {
        let mut client = RawClient::connect(weir.address());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
        assert_eq!(client.final_response("GET").text(), expected, "{host}{path} {fields}");
    }
}

#[test]
fn the_backend_sees_the_clients_address_and_spoofed_ones_are_not_believed() {
    let backend = FakeBackend::echo();
    let seen = |weir: &Weir| {
        backend.forget();
        let mut client = RawClient::connect(weir.address());
        client.send(
            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 192.0.2.1\r\nX-Real-IP: 192.0.2.2\r\n\r\n",
        );
        assert_eq!(client.final_response("GET").status(), 200);
        let request = backend.only_request();
        (request.header("x-forwarded-for").map(str::to_owned), request.has("x-real-ip"))
    };
    let weir = Setup::http(&[backend.address()]).start();
    assert_eq!(seen(&weir), (Some("127.0.0.1".into()), false));
    let weir = Setup::http(&[backend.address()]).listener("trusted_proxies: [127.0.0.1]").start();
    assert_eq!(seen(&weir), (Some("192.0.2.1, 127.0.0.1".into()), true));
}

#[test]
fn a_backend_that_is_the_balancer_itself_is_refused() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = format!(
        "listeners:\n  web: {{ bind: 127.0.0.1:{port}, protocol: http, pool: app }}\n\
         pools:\n  app: {{ backends: [\"127.0.0.1:{port}\"] }}\n"
    );
    let refusal = weir::app::App::from_text(&text).unwrap_err().to_string();
    assert!(refusal.contains("web") && refusal.contains("app"), "{refusal}");
}
