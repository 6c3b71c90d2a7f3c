//! Routes as a client sees them: the first match decides, and what is edited on the way arrives so.

use weir_testkit::{Answer, FakeBackend, Message, RawClient};

use crate::support::Weir;

const CONFIGURATION: &str = r#"
workers: 1
listeners:
  web:
    bind: 127.0.0.1:0
    protocol: http
    routes:
      - match: { path: /gone }
        respond: { status: 410, body: "gone for good", headers: { X-Why: moved } }
      - match: { path: /old/* }
        redirect: { path_prefix: /new, code: 308 }
      - match: { host: "*.admin.test" }
        pool: admin
      - match: { path: /api/*, method: POST }
        rewrite: { path_prefix: /v1 }
        pool: api
      - match: { headers: { X-Canary: "true" } }
        pool: canary
      - match: { path: /edited }
        request_headers: { set: { X-From: weir }, remove: [X-Secret] }
        response_headers: { set: { X-Served-By: weir }, remove: [X-Internal] }
        pool: app
      - match: { host: [app.test, "www.app.test"] }
        pool: app
pools:
  app: { backends: ["APP"] }
  api: { backends: ["API"] }
  admin: { backends: ["ADMIN"] }
  canary: { backends: ["CANARY"] }
"#;

/// One backend per pool, each answering with its name.
struct House {
    weir: Weir,
    backends: Vec<(&'static str, FakeBackend)>,
}

impl House {
    fn new() -> Self {
        let names = ["app", "api", "admin", "canary"];
        let answer = |name: &str| {
            let fields = format!("X-Internal: 1\r\nContent-Length: {}", name.len());
            FakeBackend::answering(Answer::bytes(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{name}")))
        };
        let backends: Vec<_> = names.into_iter().map(|name| (name, answer(name))).collect();
        let fill = |text: String, (name, backend): &(&str, FakeBackend)| {
            text.replace(&format!("\"{}\"", name.to_uppercase()), &format!("\"{}\"", backend.address()))
        };
        let text = backends.iter().fold(CONFIGURATION.to_owned(), fill);
        Self { weir: Weir::from_text(&text), backends }
    }

    fn ask(&self, request: &str) -> Message {
        RawClient::connect(self.weir.address()).send(request).final_response("GET")
    }

    /// The last request that a pool's backend saw.
    fn last(&self, pool: &str) -> Message {
        let (_, backend) = self.backends.iter().find(|(name, _)| *name == pool).unwrap();
        backend.requests().pop().unwrap()
    }
}

#[test]
fn the_first_route_that_matches_decides() {
    let house = House::new();
    for (request, pool) in [
        ("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n", "app"),
        ("GET / HTTP/1.1\r\nHost: WWW.App.Test:80\r\n\r\n", "app"),
        ("GET / HTTP/1.1\r\nHost: a.b.admin.test\r\n\r\n", "admin"),
        ("GET /api/x HTTP/1.1\r\nHost: a.admin.test\r\n\r\n", "admin"),
        ("POST /api/x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\n\r\n", "api"),
        ("GET /api/x HTTP/1.1\r\nHost: app.test\r\n\r\n", "app"),
        ("GET / HTTP/1.1\r\nHost: app.test\r\nX-Canary: true\r\n\r\n", "canary"),
        ("GET / HTTP/1.1\r\nHost: app.test\r\nX-Canary: truer\r\n\r\n", "app"),
    ] {
        let response = house.ask(request);
        assert_eq!((response.status(), response.text().as_str()), (200, pool), "{request}");
    }
}

#[test]
fn without_a_route_the_answer_is_404_and_the_connection_goes_on() {
    let house = House::new();
    let mut client = RawClient::connect(house.weir.address());
    for host in ["admin.test", "other.test", "xapp.test"] {
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.final_response("GET").status(), 404, "{host}");
    }
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
    assert_eq!(client.final_response("GET").status(), 200);
}

#[test]
fn the_path_that_is_matched_is_the_path_that_is_forwarded() {
    let house = House::new();
    let post =
        |target: &str| format!("POST {target} HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(house.ask(&post("/x/../api/y?z=1")).text(), "api");
    assert_eq!(house.last("api").target(), "/v1/y?z=1");
    assert_eq!(house.ask(&post("/api/../secret")).text(), "app");
    assert_eq!(house.last("app").target(), "/secret");
    // Segments, not letters.
    assert_eq!(house.ask(&post("/apix")).text(), "app");
    assert_eq!(house.ask(&post("/api")).text(), "api");
}

#[test]
fn answers_and_redirects_come_from_weir_itself() {
    let house = House::new();
    let gone = house.ask("GET /gone HTTP/1.1\r\nHost: any.test\r\n\r\n");
    assert_eq!((gone.status(), gone.text().as_str()), (410, "gone for good"));
    assert_eq!(gone.header("x-why"), Some("moved"));
    let moved = house.ask("GET /old/a/b?c=d HTTP/1.1\r\nHost: any.test:8080\r\n\r\n");
    assert_eq!(moved.status(), 308);
    let location = moved.header("location").unwrap_or_default();
    assert!(location.ends_with("/new/a/b?c=d"), "{location}");
    // A body that comes with such a request is not taken for the next one.
    let mut client = RawClient::connect(house.weir.address());
    client.send("POST /gone HTTP/1.1\r\nHost: any.test\r\nContent-Length: 36\r\n\r\nGET / HTTP/1.1\r\nHost: app.test\r\n\r\n12");
    assert_eq!(client.final_response("POST").status(), 410);
    client.send("GET /gone HTTP/1.1\r\nHost: any.test\r\n\r\n");
    assert!(client.response("GET").is_none_or(|next| next.status() == 410));
    assert!(house.backends.iter().all(|(_, backend)| backend.requests().is_empty()));
}

#[test]
fn fields_are_edited_both_ways() {
    let house = House::new();
    let response = house
        .ask("GET /edited HTTP/1.1\r\nHost: app.test\r\nX-From: client\r\nX-Secret: 1\r\nX-Other: 2\r\n\r\n");
    assert_eq!(response.header("x-served-by"), Some("weir"));
    assert!(!response.has("x-internal"), "{response}");
    let seen = house.last("app");
    assert_eq!((seen.all("x-from"), seen.header("x-other")), (vec!["weir"], Some("2")));
    assert!(!seen.has("x-secret"), "{seen}");
}

#[test]
fn what_we_answer_ourselves_is_edited_too() {
    let weir = Weir::from_text(
        "listeners:
  web:
    bind: 127.0.0.1:0
    protocol: http
    routes:
      - match: { path: /said }
        respond: { body: text, headers: { X-Own: a } }
        response_headers: { set: { Date: then, X-Own: b }, remove: [Content-Type] }
      - match: { path: /led }
        redirect: { scheme: https }
        response_headers: { set: { Location: /elsewhere } }
      - match: { path: /same }
        respond: { status: 304 }
      - redirect: { path: /new }
",
    );
    let ask = |path| RawClient::connect(weir.address()).get(path);
    let said = ask("/said");
    assert_eq!(
        (said.all("date"), said.all("x-own"), said.has("content-type")),
        (vec!["then"], vec!["b"], false)
    );
    assert_eq!(ask("/led").all("location"), ["/elsewhere"]);
    assert!(!ask("/same").has("content-length"));
    // A client of HTTP/1.0 need not name a host.
    let mut client = RawClient::connect(weir.address());
    let led = client.send("GET /old HTTP/1.0\r\n\r\n").final_response("GET");
    assert_eq!(led.all("location"), [format!("http://{}/new", weir.address())]);
}
