//! Every format: what a line looks like, and that no byte of a peer makes more of it than one harmless line.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use serde_json::Value;
use weir_model::{
    draft::{Draft, Text},
    log::LogFormat,
    pool::Pool,
    problem::{Located, Span},
    template::{Place, Template},
};

use super::*;
use crate::error::{Cause, ProxyError};

struct Given(BTreeMap<&'static str, Vec<u8>>);

impl Fields for Given {
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }
}

fn pool() -> Arc<Pool> {
    let text = |text: &str| Text::new(text.to_owned(), Span::default());
    let backend = |name: &str, address: &str| weir_model::draft::BackendDraft {
        name: Some(text(name)),
        address: text(address),
        ..Default::default()
    };
    let mut draft = Draft::default();
    draft.pools.push(weir_model::draft::PoolDraft {
        name: text("app"),
        backends: vec![backend("app-1", "10.0.0.21:8080"), backend("app-2", "10.0.0.22:8080")],
        ..Default::default()
    });
    draft.listeners.push(weir_model::draft::ListenerDraft {
        name: text("web"),
        binds: vec![text("127.0.0.1:80")],
        protocol: Some(Located::new(weir_model::listener::Protocol::Http, Span::default())),
        pool: Some(text("app")),
        ..Default::default()
    });
    let registry = &mut weir_model::status::Registry::new(1);
    weir_model::snapshot::compile::compile(&draft, 1, registry).unwrap().0.pools[0].clone()
}

const BEGAN: u64 = 1_795_216_269_042_000;

/// One exchange that went well on its second attempt.
fn record<'a>(pool: &'a Pool, request: Heard<'a>, attempts: &'a [Attempt]) -> Record<'a> {
    Record {
        began: BEGAN,
        listener: "web",
        client: "192.0.2.7",
        peer: "192.0.2.7",
        tls: crate::tls::Known::default(),
        peer_port: 5555,
        request: Some(request),
        request_id: b"id-1",
        route: "any",
        pool: Some(pool),
        backend: Some(1),
        response: None,
        status: 200,
        grpc_status: None,
        error: None,
        attempts,
        head_time: 1_500,
        duration: 7_000_042,
        bytes_in: 120,
        bytes_out: 2_750,
        body_bytes_out: 2_600,
        open: (3, 4),
    }
}

fn attempts() -> [Attempt; 2] {
    let refused = Attempt {
        admitted: 1_000,
        ended: 1_400,
        outcome: Outcome::Failed(Cause::BackendConnectRefused),
        ..Attempt::new(0, 1_000)
    };
    let answered = Attempt {
        admitted: 3_500,
        connected: 34_000,
        answered: 103_250,
        ended: 104_000,
        outcome: Outcome::Answered(200),
        ..Attempt::new(1, 1_400)
    };
    [refused, answered]
}

fn line(format: &LogFormat, record: &Record<'_>) -> String {
    let mut out = Vec::new();
    write_line(format, record, &mut out);
    assert_eq!(out.pop(), Some(b'\n'));
    String::from_utf8(out).unwrap()
}

fn template(text: &str) -> LogFormat {
    LogFormat::Template(Template::parse(&Text::new(text.into(), Span::default()), Place::Log).unwrap())
}

fn usual(fields: &Given) -> Heard<'_> {
    let line = b"GET /a?b=1&c=%32 HTTP/1.1";
    Heard { line, host: b"example.com", path: b"/a", query: b"b=1&c=%32", fields: Some(fields) }
}

#[test]
fn lines_of_an_exchange() {
    let pool = pool();
    let fields =
        Given(BTreeMap::from([("user-agent", b"curl/8.5.0".to_vec()), ("cookie", b"a=1; uid=42".to_vec())]));
    let attempts = attempts();
    let record = record(&pool, usual(&fields), &attempts);
    let common = r#"192.0.2.7 - - [20/Nov/2026:23:11:09 +0000] "GET /a?b=1&c=%32 HTTP/1.1" 200 2600"#;
    assert_eq!(line(&LogFormat::Common, &record), common);
    assert_eq!(line(&LogFormat::Combined, &record), format!(r#"{common} "-" "curl/8.5.0""#));
    assert_eq!(
        line(&LogFormat::Httplog, &record),
        "192.0.2.7:5555 [20/Nov/2026:23:11:09.042] web app/app-2 1/2/30/69/7000 200 2750 - - ---- \
         4/3/0/0/+1 0/0 \"GET /a?b=1&c=%32 HTTP/1.1\""
    );
    let text = "$client_address:$client_port $method $path $query_c $cookie_uid $header_user_agent $header_x \
                $backend $backend_address $retries $connect_time $queue_time $response_time $duration $cause";
    assert_eq!(
        line(&template(text), &record),
        "192.0.2.7:5555 GET /a %32 42 curl/8.5.0 - app-2 10.0.0.22:8080 1 0.030500 0.002100 0.069250 7.000042 -"
    );
    assert_eq!(
        line(&LogFormat::Json, &record),
        concat!(
            r#"{"time":"2026-11-20T23:11:09.042Z","listener":"web","client_address":"192.0.2.7","#,
            r#""client_port":5555,"request_id":"id-1","method":"GET","host":"example.com","#,
            r#""target":"/a?b=1\u0026c=%32","protocol":"HTTP/1.1","user_agent":"curl/8.5.0","route":"any","#,
            r#""pool":"app","backend":"app-2","status":200,"bytes_in":120,"bytes_out":2750,"#,
            r#""body_bytes_out":2600,"head_time":0.001500,"duration":7.000042,"attempts":["#,
            r#"{"backend":"app-1","duration":0.000400,"cause":"backend_connect_refused"},"#,
            r#"{"backend":"app-2","queue_time":0.002100,"connect_time":0.030500,"response_time":0.069250,"#,
            r#""duration":0.102600,"status":200}]}"#
        )
    );
}

#[test]
fn an_attempt_keeps_the_name_of_a_backend_that_a_reload_has_taken_away() {
    let before = pool();
    let after = before.alone(1);
    let mut attempts = attempts();
    attempts.iter_mut().for_each(|attempt| attempt.moved(&before, &[None, Some(0)]));
    let fields = Given(BTreeMap::new());
    let record = Record { backend: Some(0), ..record(&after, usual(&fields), &attempts) };
    let object: Value = serde_json::from_str(&line(&LogFormat::Json, &record)).unwrap();
    let names = [&object["attempts"][0]["backend"], &object["attempts"][1]["backend"], &object["backend"]];
    assert_eq!(names, ["app-1", "app-2", "app-2"]);
}

#[test]
fn a_call_of_grpc_is_logged_with_its_status() {
    let pool = pool();
    let fields = Given(BTreeMap::new());
    let heard = Heard { line: b"POST /shop.Cart/Add HTTP/2.0", ..usual(&fields) };
    let call = Record { grpc_status: Some(14), ..record(&pool, heard, &[]) };
    assert_eq!(
        line(&template("$status $grpc_status $protocol $request"), &call),
        "200 14 HTTP/2.0 POST /shop.Cart/Add HTTP/2.0"
    );
    let object: Value = serde_json::from_str(&line(&LogFormat::Json, &call)).unwrap();
    assert_eq!((&object["grpc_status"], &object["protocol"]), (&14.into(), &"HTTP/2.0".into()));
    let other = record(&pool, usual(&fields), &[]);
    assert_eq!(line(&template("$status $grpc_status"), &other), "200 -");
    assert!(!line(&LogFormat::Json, &other).contains("grpc"));
}

#[test]
fn lines_of_what_was_refused_and_of_connections() {
    let pool = pool();
    let error = ProxyError::new(Cause::ClientBadRequestLine);
    let heard = Heard { line: b"\x16\x03\x01 \"x\"", host: b"", path: b"", query: b"", fields: None };
    let refused = Record {
        route: "",
        pool: None,
        backend: None,
        status: 400,
        error: Some(&error),
        request_id: b"",
        ..record(&pool, heard, &[])
    };
    assert_eq!(
        line(&LogFormat::Combined, &refused),
        r#"192.0.2.7 - - [20/Nov/2026:23:11:09 +0000] "\x16\x03\x01 \x22x\x22" 400 2600 "-" "-""#
    );
    assert_eq!(
        line(&LogFormat::Httplog, &refused),
        "192.0.2.7:5555 [20/Nov/2026:23:11:09.042] web web/<NOSRV> 1/-1/-1/-1/7000 400 2750 - - PR-- 4/3/0/0/0 \
         0/0 \"#16#03#01 #22x#22\""
    );
    let object: Value = serde_json::from_str(&line(&LogFormat::Json, &refused)).unwrap();
    assert_eq!(object["target"], "\u{16}\u{3}\u{1} \"x\"");
    assert_eq!(object["cause"], "client_bad_request_line");
    assert_eq!(object["sentence"], "the request line is not HTTP");
    assert!(object.get("method").is_none() && object.get("backend").is_none(), "{object}");

    let attempts = [Attempt { answered: 0, outcome: Outcome::Answered(0), ..attempts()[1].clone() }];
    let error = ProxyError::new(Cause::TimeoutIdle);
    let connection = Record { request: None, status: 0, error: Some(&error), ..refused };
    let connection = Record { pool: Some(&pool), backend: Some(1), attempts: &attempts, ..connection };
    assert_eq!(
        line(&LogFormat::Httplog, &connection),
        "192.0.2.7:5555 [20/Nov/2026:23:11:09.042] web app/app-2 2/30/7000 2750 cD 4/3/0/0/0 0/0"
    );
    assert_eq!(
        line(&LogFormat::Common, &connection),
        r#"192.0.2.7 - - [20/Nov/2026:23:11:09 +0000] "TCP web -" 000 2600"#
    );
    let object: Value = serde_json::from_str(&line(&LogFormat::Json, &connection)).unwrap();
    assert_eq!((&object["protocol"], &object["cause"]), (&"TCP".into(), &"timeout_idle".into()));
    assert_eq!(object["attempts"][0]["connected"], true);
}

#[test]
fn every_cause_has_its_sentence_and_a_termination_state() {
    let pool = pool();
    let attempts = attempts();
    for cause in Cause::ALL {
        let error = ProxyError::new(*cause);
        let fields = Given(BTreeMap::new());
        let record = Record { error: Some(&error), ..record(&pool, usual(&fields), &attempts) };
        let object: Value = serde_json::from_str(&line(&LogFormat::Json, &record)).unwrap();
        assert_eq!(object["cause"], cause.code());
        assert_eq!(object["sentence"], cause.sentence());
        let state = line(&template("$termination_state"), &record);
        assert!(state.ends_with("--") && !state.starts_with('-'), "{state} for {}", cause.code());
    }
}

#[test]
fn a_client_behind_a_proxy_has_no_port() {
    let pool = pool();
    let fields = Given(BTreeMap::new());
    let record = Record { client: "198.51.100.1", ..record(&pool, usual(&fields), &[]) };
    let object: Value = serde_json::from_str(&line(&LogFormat::Json, &record)).unwrap();
    assert_eq!(object["client_address"], "198.51.100.1");
    assert_eq!(object["peer_address"], "192.0.2.7");
    assert!(object.get("client_port").is_none(), "{object}");
    assert_eq!(line(&template("$client_port $peer_address"), &record), "- 192.0.2.7");
    assert!(line(&LogFormat::Httplog, &record).starts_with("198.51.100.1:0 ["));
}

/// Bytes that try to break out: any, and more often those that matter.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        any::<u8>(),
        proptest::sample::select(&b"\r\n\t\0\"'\\<>&#$%{} \x1b\x7f\x9b\xe2\x80\xa8\xff"[..]),
    ];
    proptest::collection::vec(byte, 0..120)
}

proptest! {
    #[test]
    fn any_bytes_make_one_harmless_line(
        line_bytes in hostile(), host in hostile(), path in hostile(), agent in hostile(), referer in hostile(),
        id in hostile(), answer in hostile(),
    ) {
        let pool = pool();
        let fields = Given(BTreeMap::from([("user-agent", agent.clone()), ("referer", referer.clone())]));
        let response = Given(BTreeMap::from([("x-id", answer)]));
        let heard =
            Heard { line: &line_bytes, host: &host, path: &path, query: &path, fields: Some(&fields) };
        let attempts = attempts();
        let record = Record {
            request_id: &id,
            response: Some(&response),
            ..record(&pool, heard, &attempts)
        };
        let everything: String = weir_model::template::VARIABLES
            .iter()
            .map(|row| format!("\"${{{}}}\" ", row.name.replace("<name>", "x-id")))
            .collect();
        let formats = [
            LogFormat::Json,
            LogFormat::Common,
            LogFormat::Combined,
            LogFormat::Httplog,
            template(everything.trim_end()),
        ];
        for format in &formats {
            let text = line(format, &record);
            prop_assert!(!text.chars().any(char::is_control), "{text:?}");
            let html = text.replace("<NOSRV>", "");
            prop_assert!(!html.contains(['<', '>']), "{text:?}");
        }
        let object: Value = serde_json::from_str(&line(&LogFormat::Json, &record)).unwrap();
        let said = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        prop_assert_eq!(said("host"), String::from_utf8_lossy(&host));
        prop_assert_eq!(said("user_agent"), String::from_utf8_lossy(&agent));
        prop_assert_eq!(said("referer"), String::from_utf8_lossy(&referer));
        prop_assert_eq!(said("request_id"), String::from_utf8_lossy(&id));
        // Quoted fields stay what they are: as many quotes as the format has of its own.
        let quotes = |format: &LogFormat| line(format, &record).matches('"').count();
        prop_assert_eq!((quotes(&formats[1]), quotes(&formats[2]), quotes(&formats[3])), (2, 6, 2));
        prop_assert_eq!(quotes(&formats[4]), 2 * weir_model::template::VARIABLES.len());
    }
}
