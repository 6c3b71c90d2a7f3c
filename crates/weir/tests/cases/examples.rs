//! The files of `examples/` on real sockets: only addresses and the pace of checks are other ones than in the file.

use std::{
    fs,
    io::Read as _,
    net::{SocketAddr, TcpStream},
    path::Path,
};

use weir::app::App;
use weir_testkit::{Answer, DEADLINE, FakeBackend, Message, RawClient, wait_until};

/// An example with its addresses replaced one by one.
struct Example(String);

impl Example {
    fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
        Self(fs::read_to_string(path).unwrap())
    }

    /// Replaces what must stand there.
    #[track_caller]
    fn with(self, from: &str, to: impl ToString) -> Self {
        assert!(self.0.contains(from), "`{from}` does not stand in\n{}", self.0);
        Self(self.0.replace(from, &to.to_string()))
    }

    /// Replaces the bind of its only listener.
    #[track_caller]
    fn bound(self, from: &str) -> Self {
        self.with(&format!("bind: {from}"), "bind: 127.0.0.1:0")
    }

    #[track_caller]
    fn start(&self) -> App {
        App::from_text(&self.0).unwrap_or_else(|error| panic!("{error}\n--- in ---\n{}", self.0))
    }
}

/// A backend that says who it is, to a request or to whoever connects.
fn named(name: &'static str) -> FakeBackend {
    FakeBackend::answering(Answer::ok(name))
}

fn greeting(name: &'static str) -> FakeBackend {
    FakeBackend::custom(move |mut connection| {
        connection.send(name);
        while connection.read_request().is_some() {}
    })
}

fn get(address: SocketAddr, host: &str, path: &str, fields: &str) -> Message {
    let mut client = RawClient::connect(address);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
    client.final_response("GET")
}

/// A connection that was greeted, and by whom; none if nobody was there to greet it.
fn greeted(address: SocketAddr) -> Option<(TcpStream, String)> {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut greeting = [0; 16];
    match client.read(&mut greeting) {
        Ok(count @ 1..) => Some((client, String::from_utf8_lossy(&greeting[..count]).into_owned())),
        _ => None,
    }
}

#[test]
fn smallest() {
    let (one, two) = (named("one"), named("two"));
    let weir = Example::open("smallest.yaml")
        .bound(":8080")
        .with("10.0.0.21:8080", one.address())
        .with("10.0.0.22:8080", two.address())
        .start();
    let address = weir.address("web");
    wait_until("the checks have passed and both are in turn", || {
        let mut client = RawClient::connect(address);
        let mut seen: Vec<_> = (0..4).map(|_| client.get("/").text()).collect();
        seen.sort_unstable();
        seen == ["one", "one", "two", "two"]
    });
}

#[test]
fn ingress_paths() {
    let (api, pages) = (named("api"), named("pages"));
    let weir = Example::open("ingress-paths.yaml")
        .bound(":80")
        .with("[shop-api:80]", format!("[\"{}\"]", api.address()))
        .with("[shop-pages:80]", format!("[\"{}\"]", pages.address()))
        .start();
    let address = weir.address("web");
    for (path, expected) in
        [("/api", "api"), ("/api/", "api"), ("/api/v1", "api"), ("/", "pages"), ("/apix", "pages")]
    {
        assert_eq!(get(address, "shop.example.com", path, "").text(), expected, "{path}");
    }
    assert_eq!(get(address, "other.example.com", "/api", "").status(), 404);
}

#[test]
fn gateway_canary() {
    let (v1, v2) = (named("v1"), named("v2"));
    let weir = Example::open("gateway-canary.yaml")
        .bound(":80")
        .with("[shop-v1:80]", format!("[\"{}\"]", v1.address()))
        .with("[shop-v2:80]", format!("[\"{}\"]", v2.address()))
        .start();
    let address = weir.address("edge");
    for _ in 0..20 {
        assert_eq!(get(address, "shop.example.com", "/", "X-Canary: true\r\n").text(), "v2");
    }
    let mut client = RawClient::connect(address);
    let second = (0..2000)
        .filter(|_| {
            client.send("GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n");
            client.final_response("GET").text() == "v2"
        })
        .count();
    // Five in a hundred, five standard deviations to either side.
    assert!((50..=150).contains(&second), "{second} of 2000");
    assert_eq!(get(address, "other.example.com", "/", "").status(), 404);
}

#[test]
fn haproxy_http_paths() {
    let backend = |name: &'static str| {
        FakeBackend::answering_each(move |request| match request.target() {
            "/healthz" => Answer::ok("healthy"),
            _ => Answer::ok(name),
        })
    };
    let (a1, a2, p1) = (backend("a1"), backend("a2"), backend("p1"));
    let weir = Example::open("haproxy-http-paths.yaml")
        .bound("127.0.0.1:7300")
        .with("127.0.0.1:7301", a1.address())
        .with("127.0.0.1:7302", a2.address())
        .with("127.0.0.1:7303", p1.address())
        .with("interval: 2s", "interval: 100ms")
        .start();
    let address = weir.address("shop");
    wait_until("the checks have passed", || {
        let status = |path| get(address, "a.test", path, "").status();
        status("/api/") == 200 && status("/") == 200
    });
    wait_until("both servers of the API are in turn", || {
        let mut client = RawClient::connect(address);
        let mut seen: Vec<_> = (0..4).map(|_| client.get("/api/orders").text()).collect();
        seen.sort_unstable();
        seen == ["a1", "a1", "a2", "a2"]
    });
    for path in ["/", "/apicture", "/healthz/x"] {
        assert_eq!(get(address, "a.test", path, "").text(), "p1", "{path}");
    }
}

#[test]
fn haproxy_tcp_leastconn() {
    let backends = [greeting("o1"), greeting("o2"), greeting("o3")];
    let weir = Example::open("haproxy-tcp-leastconn.yaml")
        .bound("127.0.0.1:7200")
        .with("port: 7201", format!("port: {}", backends[0].address().port()))
        .with("127.0.0.1:7201", backends[0].address())
        .with("127.0.0.1:7202", backends[1].address())
        .with("127.0.0.1:7203", backends[2].address())
        .with("interval: 2s", "interval: 100ms")
        .start();
    let address = weir.address("orders_in");
    wait_until("all have passed their checks", || {
        let mut seen: Vec<_> = (0..3).filter_map(|_| greeted(address)).collect();
        seen.sort_by(|a, b| a.1.cmp(&b.1));
        seen.iter().map(|(_, name)| name.as_str()).eq(["o1", "o2", "o3"])
    });
    wait_until("those connections are over", || weir.open_connections() == 0);
    let mut open = Vec::new();
    for _ in 0..12 {
        open.push(greeted(address).unwrap());
    }
    let count = |open: &[(TcpStream, String)], name: &str| open.iter().filter(|(_, who)| who == name).count();
    assert_eq!(["o1", "o2", "o3"].map(|name| count(&open, name)), [4, 4, 4]);
    // Where most has ended, the next ones go.
    open.retain(|(_, name)| name != "o2");
    wait_until("those have ended", || weir.open_connections() == 8);
    let next: Vec<_> = (0..4).map(|_| greeted(address).unwrap()).collect();
    assert_eq!(count(&next, "o2"), 4);
}

#[test]
fn nginx_stream_weighted() {
    let backends = [greeting("five"), greeting("three"), greeting("two")];
    let weir = Example::open("nginx-stream-weighted.yaml")
        .bound("127.0.0.1:7100")
        .with("127.0.0.1:7101", backends[0].address())
        .with("127.0.0.1:7102", backends[1].address())
        .with("127.0.0.1:7103", backends[2].address())
        .start();
    let address = weir.address("orders");
    let seen: Vec<_> = (0..20).map(|_| greeted(address).unwrap().1).collect();
    let count = |name: &str| seen.iter().filter(|who| *who == name).count();
    assert_eq!([count("five"), count("three"), count("two")], [10, 6, 4]);
    assert!(seen[..4].iter().any(|who| who != "five"), "smooth, not in blocks: {seen:?}");
}

#[test]
fn service_three_pods() {
    let pods = [greeting("a"), greeting("b"), greeting("c")];
    let weir = Example::open("service-three-pods.yaml")
        .bound("10.96.0.100:80")
        .with("10.244.1.5:8080", pods[0].address())
        .with("10.244.2.8:8080", pods[1].address())
        .with("10.244.3.2:8080", pods[2].address())
        .start();
    let address = weir.address("three");
    let seen: Vec<_> =
        (0..300).map(|_| String::from_utf8(RawClient::connect(address).read_exact(1)).unwrap()).collect();
    for pod in ["a", "b", "c"] {
        // A third, six standard deviations to either side.
        let count = seen.iter().filter(|who| *who == pod).count();
        assert!((50..=150).contains(&count), "{count} of 300 went to {pod}");
    }
}
