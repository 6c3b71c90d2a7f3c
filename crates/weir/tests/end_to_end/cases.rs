//! The well-known cases: the files in `examples/` do on real sockets what the files of other balancers promise.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use weir::app::App;
use weir_testkit::{Answer, FakeBackend, Message, RawClient, wait_until};

/// An example as it runs: its own text, with addresses that are free and checks that are quick.
struct Case {
    app: App,
    listener: &'static str,
}

impl Case {
    /// Runs `examples/NAME.yaml` with each of these texts replaced. All of them have to be there.
    #[track_caller]
    fn run(name: &str, listener: &'static str, replaced: &[(&str, &str)]) -> Self {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name).with_extension("yaml");
        let mut text = fs::read_to_string(path).unwrap();
        for (from, to) in replaced {
            assert!(text.contains(from), "{name} does not say `{from}`");
            text = text.replace(from, to);
        }
        if !text.contains("workers:") {
            // One worker, so that "in turn" is exact.
            text.insert_str(0, "workers: 1\n");
        }
        let app = App::from_text(&text);
        Self { app: app.unwrap_or_else(|error| panic!("{error}\n--- in ---\n{text}")), listener }
    }

    fn client(&self) -> RawClient {
        RawClient::connect(self.app.address(self.listener))
    }

    fn ask(&self, host: &str, path: &str, fields: &str) -> Message {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        self.client().send(request).final_response("GET")
    }
}

/// Where a backend is, as files write it.
fn at(backend: &FakeBackend) -> String {
    backend.address().to_string()
}

/// Answers each request with its name; health checks too, unless it is told to be ill.
fn named(name: &'static str, ill: &Arc<AtomicBool>) -> FakeBackend {
    let ill = Arc::clone(ill);
    FakeBackend::answering_each(move |request| {
        if request.target() == "/healthz" && ill.load(Ordering::SeqCst) {
            return Answer::bytes("HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n");
        }
        Answer::ok(name)
    })
}

fn well(name: &'static str) -> FakeBackend {
    named(name, &Arc::default())
}

/// Says its name to each connection, and keeps it open until the client has gone.
fn greeting(name: &'static str) -> FakeBackend {
    FakeBackend::custom(move |mut connection| {
        connection.send(name);
        connection.read_to_end();
    })
}

/// A client of a byte stream, and the name of the backend that greeted it.
fn greeted(case: &Case) -> (RawClient, String) {
    let mut client = case.client();
    let name = String::from_utf8(client.read_exact(2)).unwrap();
    (client, name)
}

fn counted(names: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    names.into_iter().for_each(|name| *counts.entry(name).or_default() += 1);
    counts
}

#[test]
fn haproxy_http_paths() {
    let ill = Arc::new(AtomicBool::new(false));
    let (a1, a2, p1) = (well("a1"), named("a2", &ill), well("p1"));
    let case = Case::run(
        "haproxy-http-paths",
        "shop",
        &[
            ("127.0.0.1:7300", "127.0.0.1:0"),
            ("127.0.0.1:7301", &at(&a1)),
            ("127.0.0.1:7302", &at(&a2)),
            ("127.0.0.1:7303", &at(&p1)),
            ("interval: 2s", "interval: 50ms"),
        ],
    );
    let text = |path: &str| case.ask("shop.test", path, "").text();
    let from_api = || counted((0..8).map(|_| text("/api/orders")));
    let both = BTreeMap::from([("a1".into(), 4), ("a2".into(), 4)]);
    wait_until("both servers of the API are up", || from_api() == both);
    wait_until("the pages are up", || text("/") == "p1");
    for page in ["/", "/index.html", "/apicture", "/pages/api/"] {
        assert_eq!(text(page), "p1", "{page}");
    }
    ill.store(true, Ordering::SeqCst);
    wait_until("the ill one is out", || from_api() == BTreeMap::from([("a1".into(), 8)]));
    ill.store(false, Ordering::SeqCst);
    wait_until("it is back", || from_api() == both);
}

#[test]
fn haproxy_tcp_leastconn() {
    let backends = [greeting("o1"), greeting("o2"), greeting("o3")];
    let case = Case::run(
        "haproxy-tcp-leastconn",
        "orders_in",
        &[
            ("127.0.0.1:7200", "127.0.0.1:0"),
            ("127.0.0.1:7201", &at(&backends[0])),
            ("127.0.0.1:7202", &at(&backends[1])),
            ("127.0.0.1:7203", &at(&backends[2])),
            ("port: 7201", &format!("port: {}", backends[0].address().port())),
            ("interval: 2s", "interval: 50ms"),
        ],
    );
    wait_until("all are up", || {
        let clients: Vec<_> =
            (0..3).filter_map(|_| RawClient::try_connect(case.app.address("orders_in")).ok()).collect();
        let names: Vec<_> = clients
            .into_iter()
            .map(|mut client| client.read_until_quiet(std::time::Duration::from_millis(50)).0)
            .collect();
        names.iter().all(|name| !name.is_empty())
            && counted(names.into_iter().map(|name| String::from_utf8(name).unwrap())).len() == 3
    });
    wait_until("those that waited are gone", || case.app.open_connections() == 0);
    // Six connections that stay are two for each; where two have gone, the next two arrive.
    let mut clients: Vec<_> = (0..6).map(|_| greeted(&case)).collect();
    let counts = counted(clients.iter().map(|(_, name)| name.clone()));
    assert_eq!(counts, BTreeMap::from([("o1".into(), 2), ("o2".into(), 2), ("o3".into(), 2)]));
    clients.retain(|(_, name)| name != "o2");
    wait_until("weir has seen them go", || case.app.open_connections() == 4);
    let next = counted((0..2).map(|_| greeted(&case)).map(|(client, name)| {
        clients.push((client, name.clone()));
        name
    }));
    assert_eq!(next, BTreeMap::from([("o2".into(), 2)]));
}

#[test]
fn nginx_stream_weighted() {
    let backends = [greeting("s5"), greeting("s3"), greeting("s2")];
    let case = Case::run(
        "nginx-stream-weighted",
        "orders",
        &[
            ("127.0.0.1:7100", "127.0.0.1:0"),
            ("127.0.0.1:7101", &at(&backends[0])),
            ("127.0.0.1:7102", &at(&backends[1])),
            ("127.0.0.1:7103", &at(&backends[2])),
        ],
    );
    let counts = counted((0..30).map(|_| greeted(&case).1));
    assert_eq!(counts, BTreeMap::from([("s5".into(), 15), ("s3".into(), 9), ("s2".into(), 6)]));
}

#[test]
fn ingress_paths() {
    let (api, pages) = (well("api"), well("pages"));
    let case = Case::run(
        "ingress-paths",
        "web",
        &[
            ("bind: :80", "bind: 127.0.0.1:0"),
            ("[shop-api:80]", &format!("[\"{}\"]", at(&api))),
            ("[shop-pages:80]", &format!("[\"{}\"]", at(&pages))),
        ],
    );
    for (path, expected) in
        [("/api", "api"), ("/api/", "api"), ("/api/v1/orders?x=1", "api"), ("/apix", "pages"), ("/", "pages")]
    {
        assert_eq!(case.ask("shop.example.com", path, "").text(), expected, "{path}");
    }
    assert_eq!(case.ask("SHOP.example.com:80", "/api", "").text(), "api");
    for host in ["example.com", "www.shop.example.com", "other.test"] {
        assert_eq!(case.ask(host, "/api", "").status(), 404, "{host}");
    }
}

#[test]
fn gateway_canary() {
    let (one, two) = (well("v1"), well("v2"));
    let case = Case::run(
        "gateway-canary",
        "edge",
        &[
            ("bind: :80", "bind: 127.0.0.1:0"),
            ("[shop-v1:80]", &format!("[\"{}\"]", at(&one))),
            ("[shop-v2:80]", &format!("[\"{}\"]", at(&two))),
        ],
    );
    for _ in 0..20 {
        assert_eq!(case.ask("shop.example.com", "/", "X-Canary: true\r\n").text(), "v2");
    }
    assert_eq!(case.ask("other.example.com", "/", "X-Canary: true\r\n").status(), 404);
    let mut client = case.client();
    let request = "GET / HTTP/1.1\r\nHost: shop.example.com\r\nX-Canary: false\r\n\r\n";
    let counts = counted((0..2000).map(|_| client.send(request).final_response("GET").text()));
    // 100 of 2,000 are expected; six standard deviations are 58.
    assert!((42..=158).contains(&counts["v2"]) && counts["v1"] + counts["v2"] == 2000, "{counts:?}");
}

#[test]
fn service_three_pods() {
    let pods = [greeting("p1"), greeting("p2"), greeting("p3")];
    let addresses: [SocketAddr; 3] = [pods[0].address(), pods[1].address(), pods[2].address()];
    let case = Case::run(
        "service-three-pods",
        "three",
        &[
            ("bind: 10.96.0.100:80 ", "bind: 127.0.0.1:0 "),
            ("10.244.1.5:8080", &addresses[0].to_string()),
            ("10.244.2.8:8080", &addresses[1].to_string()),
            ("10.244.3.2:8080", &addresses[2].to_string()),
        ],
    );
    let counts = counted((0..300).map(|_| greeted(&case).1));
    // 100 each are expected; six standard deviations are 49.
    assert!(counts.len() == 3 && counts.values().all(|count| (51..=149).contains(count)), "{counts:?}");
}
