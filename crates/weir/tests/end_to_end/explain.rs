//! What `explain` says is what happens: the same requests are explained and sent.

use std::collections::BTreeMap;

use weir::{app::App, rehearse::Path};
use weir_control::explain::{Circumstances, Explanation, Particulars, Question, explain};
use weir_model::{balance::Seed, time::Moment};
use weir_testkit::{Answer, FakeBackend, RawClient};

/// Every route that answers by itself says its name; the others lead to a backend that says its own.
const CONFIGURATION: &str = r#"
workers: 1
listeners:
  web:
    bind: 127.0.0.1:0
    protocol: http
    trusted_proxies: [127.0.0.0/8]
    deny: [203.0.113.0/24]
    normalize: { double_slash: merge }
    limits: { headers: 8 }
    routes:
      - { name: tunnel, match: { host: "*.a.test", method: CONNECT }, respond: { status: 403, headers: { X-Route: tunnel } } }
      - { name: exact, match: { host: a.test, path: /exact }, respond: { headers: { X-Route: exact } } }
      - { name: under, match: { host: "*.a.test", path: /v1/* }, respond: { headers: { X-Route: under } } }
      - { name: post, match: { path: /v1/*, method: [POST, PUT] }, respond: { headers: { X-Route: post } } }
      - { name: call, match: { grpc: { service: v1, method: [x, y] } }, respond: { headers: { X-Route: call } } }
      - { name: regex, match: { path: "~^/v[0-9]+/" }, respond: { headers: { X-Route: regex } } }
      - { name: header, match: { headers: { X-Tenant: "~^acme" } }, respond: { headers: { X-Route: header } } }
      - { name: query, match: { query: { version: "2" } }, respond: { headers: { X-Route: query } } }
      - { name: cookie, match: { cookies: { session: premium } }, respond: { headers: { X-Route: cookie } } }
      - { name: source, match: { source: 192.0.2.0/24 }, respond: { headers: { X-Route: source } } }
      - { name: not, match: { path: /n/*, not: { host: b.test } }, respond: { headers: { X-Route: not } } }
      - name: either
        match: [{ path: /either }, { host: c.test, method: HEAD }]
        respond: { headers: { X-Route: either } }
      - { name: rewritten, match: { path: /app/* }, rewrite: { path_prefix: /inner }, pool: app }
pools:
  app: { backends: ["APP", { address: "APP2", name: resting, weight: 0 }] }
"#;

fn any<'t>(seed: &mut Seed, of: &[&'t str]) -> &'t str {
    of[seed.below(of.len() as u64) as usize]
}

/// A request for routes to disagree about, and now and then one that is refused.
fn request(seed: &mut Seed) -> (String, Particulars) {
    let host =
        any(seed, &["a.test", "A.Test", "x.a.test", "x.y.a.test.", "b.test", "c.test", "other", "a test"]);
    let path = any(
        seed,
        &[
            "/exact",
            "/v1",
            "/v1/x",
            "/v1x",
            "/v12/x",
            "/x/../v1/y",
            "/%2e%2e/exact",
            "/n/1",
            "/either",
            "/app",
            "/app/x",
            "/app/../exact",
            "/",
            "//exact",
            "/%zz",
            "/exact/",
            "/n%2f1",
            "",
        ],
    );
    let query = any(seed, &["", "", "?version=2", "?version=%32", "?a=1&version=3", "?version"]);
    let mut headers = Vec::new();
    for field in [
        "X-Tenant: acme-1",
        "X-Tenant: other",
        "Content-Type: application/grpc+proto",
        "Content-Type: text/plain",
        "Cookie: session=premium",
        "Cookie: a=b; session=basic",
        "X-Forwarded-For: 192.0.2.7",
        "X-Forwarded-For: 192.0.2.7, 198.51.100.1",
        "X-Forwarded-For: 203.0.113.9",
        "X-Bad Name: 1",
        "Content-Length: 1, 1",
        "Max-Forwards: 0",
        "Max-Forwards: 7",
    ] {
        let one_in = match field.split(['-', ':']).next() {
            // Few requests have a method for it.
            Some("Max") => 2,
            _ if field.starts_with("X-Bad") || field.starts_with("Content") => 30,
            _ => 5,
        };
        if seed.below(one_in) == 0 {
            headers.push(field.to_owned());
        }
    }
    let method =
        any(seed, &["GET", "GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "OPTIONS", "TRACE", "CONNECT"]);
    let port = if method == "CONNECT" { any(seed, &[":443", ":443", ""]) } else { "" };
    let particulars = Particulars { method: Some(method.to_owned()), headers, ..Particulars::default() };
    (format!("http://{host}{port}{path}{query}"), particulars)
}

/// What a client finds out: the name of a route, of a backend, or a status.
fn happened(app: &App, question: &Question) -> String {
    let mut client = RawClient::connect(app.address("web"));
    let answer = client.send(question.head()).final_response(&question.method);
    let route = answer.header("x-route").or_else(|| answer.header("x-backend"));
    route.map_or_else(|| answer.status().to_string(), str::to_owned)
}

fn expected(told: &Explanation) -> String {
    let told_status = || {
        let words = told.effects[0].split(|c: char| !c.is_ascii_digit());
        words.filter(|word| word.len() == 3).map(str::to_owned).next().unwrap_or_default()
    };
    match (told.action.as_str(), &told.route) {
        // The route that leads to backends, with a request that may be passed on no more.
        ("respond", Some(route)) if route == "rewritten" => told_status(),
        ("respond", Some(route)) => route.clone(),
        ("pool", Some(_)) => told.pick.clone().unwrap_or_default(),
        _ => told_status(),
    }
}

#[test]
fn what_is_explained_is_what_happens() {
    let name = |backend: &FakeBackend| backend.address().to_string();
    let answer = Answer::bytes("HTTP/1.1 200 OK\r\nX-Backend: itself\r\nContent-Length: 0\r\n\r\n");
    let (backend, resting) = (FakeBackend::answering(answer), FakeBackend::echo());
    let text = CONFIGURATION.replace("APP2", &name(&resting)).replace("APP", &name(&backend));
    let app = App::from_text(&text).unwrap();
    let snapshot = app.snapshot();
    let mut seed = Seed::new(2026);
    let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
    for number in 0..1500 {
        let (url, particulars) = request(&mut seed);
        let question =
            Question::new(&url, Particulars { listener: Some("web".into()), ..particulars }).unwrap();
        let told =
            explain(&snapshot, &question, &Path, Circumstances { live: true, draw: number, now: Moment(0) })
                .unwrap();
        let expected = expected(&told).replace(&name(&backend), "itself");
        assert_eq!(happened(&app, &question), expected, "{question}: {told:#?}");
        *outcomes.entry(expected).or_default() += 1;
    }
    // All routes and all ways of being refused have had their turn.
    for outcome in [
        "tunnel", "exact", "under", "post", "regex", "header", "query", "cookie", "source", "not", "either",
        "itself", "200", "404", "400", "403", "405",
    ] {
        assert!(outcomes.contains_key(outcome), "{outcome} is missing in {outcomes:?}");
    }
    assert_eq!(resting.accepted(), 0);
}

#[test]
fn a_client_that_is_denied_is_told_apart() {
    let text = "listeners: { db: { bind: 127.0.0.1:0, protocol: tcp, deny: [192.0.2.0/24], pool: db } }
pools: { db: { backends: [127.0.0.1:9] } }";
    let app = App::from_text(text).unwrap();
    let ask = |source: &str| {
        let particulars = Particulars {
            listener: Some("db".into()),
            source: Some(source.to_owned()),
            ..Particulars::default()
        };
        let question = Question::new("tcp://127.0.0.1:1", particulars).unwrap();
        explain(&app.snapshot(), &question, &Path, Circumstances { live: true, draw: 0, now: Moment(0) })
            .unwrap()
    };
    assert_eq!(ask("198.51.100.1").action, "pool");
    let denied = ask("192.0.2.7:5555");
    assert_eq!(denied.action, "refused");
    assert!(denied.effects[0].contains("client_denied"), "{denied:?}");
}

#[test]
fn a_body_that_is_not_kept_is_not_promised_to_be_sent_again() {
    let file = "listeners: { web: { bind: 127.0.0.1:0, protocol: http, routes: [{ pool: app, retry: { methods: [GET, PUT] } }] } }
pools: { app: { backends: [127.0.0.1:9, 127.0.0.2:9] } }";
    let app = App::from_text(file).unwrap();
    let words = |method: &str, field: &str| {
        let particulars = Particulars {
            method: Some(method.to_owned()),
            listener: Some("web".into()),
            headers: Some(field).filter(|field| !field.is_empty()).map(str::to_owned).into_iter().collect(),
            ..Particulars::default()
        };
        let question = Question::new("http://a.test/", particulars).unwrap();
        let circumstances = Circumstances { live: false, draw: 0, now: Moment(0) };
        explain(&app.snapshot(), &question, &Path, circumstances).unwrap().effects.join("\n")
    };
    let breaks = "or if the backend breaks off before it answers";
    for (method, field, again, said) in [
        ("GET", "", true, ""),
        ("PUT", "Content-Length: 0", true, ""),
        ("PUT", "Content-Length: 65536", true, ""),
        (
            "PUT",
            "",
            true,
            "; after it was sent only with a body of up to 64 KiB, over HTTP/1 one whose length is said",
        ),
        ("PUT", "Content-Length: 65537", false, "; never after it was sent, because its body is not kept"),
        (
            "PUT",
            "Transfer-Encoding: chunked",
            false,
            "; never after it was sent, because its body is not kept",
        ),
        ("POST", "", false, "; never after it was sent, because its method may not be repeated"),
    ] {
        let words = words(method, field);
        assert!(words.contains("it is tried again elsewhere"), "{method} {field}: {words}");
        assert_eq!(words.contains(breaks), again, "{method} {field}: {words}");
        assert_eq!(words.contains("after it was sent"), !said.is_empty(), "{method} {field}: {words}");
        assert!(words.contains(said), "{method} {field}: {words}");
    }
}
