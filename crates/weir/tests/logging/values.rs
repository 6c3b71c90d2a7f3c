//! Variables in header fields and bodies, identities of requests, and the fields for debugging.

use serde_json::json;
use weir_testkit::{Answer, FakeBackend, RawClient, Refusing};

use crate::support::Logged;

fn file(backend: &FakeBackend, more: &str) -> String {
    format!(
        r#"
workers: 1
listeners:
  web:
    bind: 127.0.0.1:0
    protocol: http
{more}
    routes:
      - name: who
        match: {{ path: /who }}
        respond:
          body: "$client_address asked ${{host}}$path?$query for $$5 with $header_user_agent"
          headers: {{ X-Path: "$path", X-Nothing: "$header_absent" }}
      - match: {{ path: /page }}
        respond: {{ body: "<p title='$header_x'>$header_x</p>", headers: {{ Content-Type: text/html }} }}
      - match: {{ path: /json }}
        respond: {{ body: '{{"x":"$header_x"}}', headers: {{ Content-Type: application/json }} }}
      - name: all the rest
        request_headers: {{ set: {{ X-Request-ID: $request_id, X-Route: "$route" }}, add: {{ X-Copy: "$header_x" }} }}
        response_headers: {{ set: {{ X-Request-ID: $request_id, X-From: "$backend $status $response_header_x_own" }} }}
        pool: app
pools:
  app: {{ backends: [{{ address: "{}", name: one }}] }}
"#,
        backend.address()
    )
}

fn backend() -> FakeBackend {
    FakeBackend::answering(Answer::bytes(
        "HTTP/1.1 201 Created\r\nX-Own: mine\r\nContent-Length: 2\r\n\r\nok",
    ))
}

fn get(weir: &Logged, target: &str, fields: &str) -> weir_testkit::Message {
    let request = format!("GET {target} HTTP/1.1\r\nHost: A.test:80\r\n{fields}\r\n");
    RawClient::connect(weir.address()).send(request).final_response("GET")
}

#[test]
fn answers_name_facts_of_the_request() {
    let backend = backend();
    let weir = Logged::from_text(&file(&backend, ""), "format: json");
    let who = get(&weir, "/who?a=1", "User-Agent: <b>\r\n");
    assert_eq!(who.text(), "127.0.0.1 asked a.test/who?a=1 for $5 with <b>");
    assert_eq!((who.header("x-path"), who.has("x-nothing")), (Some("/who"), false));
    assert_eq!(who.header("content-type"), Some("text/plain; charset=utf-8"));
    let page = get(&weir, "/page", "X: <script>'\"&\r\n");
    assert_eq!(page.text(), "<p title='&lt;script&gt;&#39;&quot;&amp;'>&lt;script&gt;&#39;&quot;&amp;</p>");
    let told = get(&weir, "/json", "X: \"},\\\r\n").text();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&told).unwrap(), json!({ "x": "\"},\\" }));
}

#[test]
fn header_fields_name_facts_of_the_exchange() {
    let backend = backend();
    let weir = Logged::from_text(&file(&backend, ""), "format: json");
    let answer = get(&weir, "/", "X: a\tb\"\r\nX-Request-ID: forged\r\n");
    let request = backend.only_request();
    assert_eq!(answer.header("x-from"), Some("one 201 mine"));
    assert_eq!(request.header("x-route"), Some("all the rest"));
    assert_eq!(request.header("x-copy"), Some("a\tb\""));
    let id = request.header("x-request-id").unwrap().to_owned();
    assert!(id.len() == 36 && id.as_bytes()[14] == b'7', "{id} is no UUID of version 7");
    assert_eq!(answer.header("x-request-id"), Some(&*id));
    let objects = weir.objects();
    assert_eq!(objects[0]["request_id"], json!(id));
}

#[test]
fn an_identity_is_believed_of_trusted_proxies_only() {
    let backend = backend();
    let weir = Logged::from_text(&file(&backend, "    trusted_proxies: [127.0.0.1]"), "format: json");
    let fields = "X-Forwarded-For: 198.51.100.9\r\nX-Request-ID: from-the-edge\r\n";
    assert_eq!(get(&weir, "/", fields).header("x-request-id"), Some("from-the-edge"));
    // One that could do harm is replaced all the same.
    let other = get(&weir, "/", "X-Request-ID: \"><script>\r\n");
    assert_eq!(other.header("x-request-id").map(str::len), Some(36));
    let objects = weir.objects();
    assert_eq!(objects[0]["request_id"], "from-the-edge");
    assert_eq!(
        (&objects[0]["client_address"], &objects[0]["peer_address"]),
        (&json!("198.51.100.9"), &json!("127.0.0.1"))
    );
    assert!(objects[0].get("client_port").is_none());
}

#[test]
fn debug_headers_say_where_an_answer_comes_from() {
    let (backend, refusing) = (backend(), Refusing::new());
    let text = file(&backend, "") + "debug_headers: true\n";
    let weir = Logged::from_text(&text, "format: json");
    let answer = get(&weir, "/", "");
    let fields = ["weir-route", "weir-pool", "weir-backend", "weir-error"];
    assert_eq!(
        fields.map(|name| answer.header(name)),
        [Some("all the rest"), Some("app"), Some("one"), None]
    );
    assert_eq!(
        fields.map(|name| get(&weir, "/who", "").header(name).map(str::to_owned)),
        [Some("who".to_owned()), None, None, None]
    );
    let refused = RawClient::connect(weir.address()).send("nonsense HTTP/1.1\r\n\r\n").final_response("GET");
    assert_eq!(refused.header("weir-error"), Some("client_bad_request_line"));
    let address = refusing.address();
    let weir = Logged::http(&[address], "json", "debug_headers: true\n");
    let failed = get(&weir, "/", "");
    assert_eq!((failed.status(), failed.header("weir-error")), (502, Some("backend_connect_refused")));
    assert_eq!(failed.header("weir-backend"), Some(&*address.to_string()));
    // Without the key nothing of this is told.
    let weir = Logged::http(&[address], "json", "");
    let failed = get(&weir, "/", "");
    assert_eq!(fields.map(|name| failed.header(name)), [None; 4]);
}
