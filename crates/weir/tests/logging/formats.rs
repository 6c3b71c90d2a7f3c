//! Every format over real sockets, with values that try to be more than values.

use serde_json::{Value, json};
use weir_testkit::{Answer, FakeBackend, RawClient, Refusing};

use crate::support::Logged;

const TEMPLATE: &str = r#"$client_address "$request" $status "$header_user_agent" "$header_referer" "$response_header_x_id" "$cookie_uid""#;

/// Values of header fields that a client may send: quotes, HTML, escapes of other formats, tabs, bytes that are not
/// UTF-8, and a value that nearly fills the head.
fn hostile() -> Vec<Vec<u8>> {
    vec![
        b"\"}{\" 200 \"x".to_vec(),
        b"<script>alert('x')</script>&amp;".to_vec(),
        b"a\tb\\\" \\x22 \\u0022 %0d%0a$status".to_vec(),
        b"\xff\xfe\x80 \xc3\xa9 \xe2\x80\xa8 \xc2\x9b31m".to_vec(),
        b"y".repeat(30 * 1024),
        b"\"\\<\xff".repeat(7 * 1024),
    ]
}

fn request(value: &[u8]) -> Vec<u8> {
    let fields: [(&[u8], &[u8]); 2] = [(b"User-Agent", value), (b"Host", b"A.Test:80")];
    let mut text = b"GET /path?q=%22 HTTP/1.1\r\n".to_vec();
    for (name, value) in fields {
        text.extend_from_slice(&[name, b": ", value, b"\r\n"].concat());
    }
    text.extend_from_slice(b"\r\n");
    text
}

#[test]
fn no_value_of_a_client_makes_more_than_its_line() {
    let backend = FakeBackend::answering(Answer::bytes(
        "HTTP/1.1 200 OK\r\nX-Id: a\"<b>\\\r\nContent-Length: 2\r\n\r\nok",
    ));
    for format in ["json", "common", "combined", "httplog", TEMPLATE] {
        let weir = Logged::http(&[backend.address()], format, "");
        let mut client = RawClient::connect(weir.address());
        for value in hostile() {
            let response = client.send(request(&value)).final_response("GET");
            assert_eq!(response.status(), 200, "{format}: {}", value.escape_ascii());
        }
        let lines = weir.lines();
        assert_eq!(lines.len(), hostile().len(), "{format}");
        for (line, value) in lines.iter().zip(hostile()) {
            assert!(!line.chars().any(char::is_control) && !line.contains(['<', '>']), "{format}: {line}");
            if format == "json" {
                let object: Value = serde_json::from_str(line).unwrap();
                let told = String::from_utf8_lossy(&value);
                assert_eq!(object["user_agent"], json!(told.trim()), "{format}");
            }
            let quotes = match format {
                "common" | "httplog" => 2,
                "combined" => 6,
                TEMPLATE => 10,
                _ => continue,
            };
            assert_eq!(line.matches('"').count(), quotes, "{format}: {line}");
        }
    }
}

#[test]
fn json_says_what_happened() {
    let (refusing, backend) = (Refusing::new(), FakeBackend::answering(Answer::ok("twelve bytes")));
    let backends = [refusing.address(), backend.address()];
    let weir = Logged::http(&backends, "json", "");
    let mut client = RawClient::connect(weir.address());
    let body =
        "POST /x?y HTTP/1.1\r\nHost: a.test\r\nReferer: http://b.test/\r\nContent-Length: 4\r\n\r\nabcd";
    for _ in 0..2 {
        assert_eq!(client.send(body).final_response("POST").status(), 200);
    }
    let port = client.local_address().port();
    let objects = weir.objects();
    assert_eq!(objects.len(), 2);
    let retried = objects.iter().find(|object| object["attempts"].as_array().unwrap().len() == 2).unwrap();
    for (key, value) in [
        ("listener", json!("web")),
        ("client_address", json!("127.0.0.1")),
        ("client_port", json!(port)),
        ("method", json!("POST")),
        ("host", json!("a.test")),
        ("target", json!("/x?y")),
        ("protocol", json!("HTTP/1.1")),
        ("referer", json!("http://b.test/")),
        ("route", json!("any")),
        ("pool", json!("app")),
        ("backend", json!(backend.address().to_string())),
        ("status", json!(200)),
        ("bytes_in", json!(body.len())),
        ("body_bytes_out", json!(12)),
    ] {
        assert_eq!(retried[key], value, "{key} in {retried}");
    }
    assert!(retried.get("cause").is_none() && retried.get("user_agent").is_none(), "{retried}");
    assert_eq!(retried["request_id"].as_str().unwrap().len(), 36);
    assert!(retried["time"].as_str().unwrap().ends_with('Z') && retried["duration"].is_number());
    assert!(retried["bytes_out"].as_u64().unwrap() > 12);
    let attempts = retried["attempts"].as_array().unwrap();
    assert_eq!(attempts[0]["backend"], json!(refusing.address().to_string()));
    assert_eq!(attempts[0]["cause"], "backend_connect_refused");
    assert_eq!(attempts[1]["backend"], retried["backend"]);
    assert_eq!(attempts[1]["status"], 200);
    assert!(attempts[1]["response_time"].is_number(), "{retried}");
}

#[test]
fn lines_for_analysers_are_what_they_expect() {
    let backend = FakeBackend::answering(Answer::ok("hello"));
    let ask = "GET /a HTTP/1.1\r\nHost: a.test\r\nUser-Agent: curl/8\r\nReferer: http://b.test/\r\n\r\n";
    let head = "HEAD /a HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let line_of = |format: &str, request: &str| {
        let weir = Logged::http(&[backend.address()], format, "");
        let method = request.split(' ').next().unwrap();
        RawClient::connect(weir.address()).send(request).final_response(method);
        weir.lines().remove(0)
    };
    let split = |line: String| {
        // The time is between brackets; its form is `21/Nov/2026:02:35:33 +0000`.
        let (before, rest) = line.split_once('[').unwrap();
        let (time, after) = rest.split_once(']').unwrap();
        let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let form = form.replace(|c: char| c.is_ascii_alphabetic(), "a");
        (before.to_owned(), form, after.to_owned())
    };
    let (before, time, after) = split(line_of("combined", ask));
    assert_eq!((&*before, &*time), ("127.0.0.1 - - ", "00/aaa/0000:00:00:00 +0000"));
    assert_eq!(after, r#" "GET /a HTTP/1.1" 200 5 "http://b.test/" "curl/8""#);
    let (before, time, after) = split(line_of("common", head));
    assert_eq!((&*before, &*time), ("127.0.0.1 - - ", "00/aaa/0000:00:00:00 +0000"));
    assert_eq!(after, r#" "HEAD /a HTTP/1.1" 200 -"#);
    let (before, time, after) = split(line_of("httplog", ask));
    assert!(before.starts_with("127.0.0.1:"), "{before}");
    assert_eq!(time, "00/aaa/0000:00:00:00.000");
    let fields: Vec<_> = after.split(' ').collect();
    assert_eq!(fields[1..3], ["web", &format!("app/{}", backend.address())]);
    assert_eq!(fields[3].split('/').count(), 5);
    assert!(fields[3].split('/').all(|timer| timer.parse::<u64>().is_ok()), "{after}");
    assert_eq!((fields[4], &fields[6..9]), ("200", &["-", "-", "----"][..]));
    assert!(fields[5].parse::<u64>().unwrap() > 5);
    assert_eq!(&fields[11..], ["\"GET", "/a", "HTTP/1.1\""]);
}

#[test]
fn a_connection_of_a_tcp_listener_is_a_record_too() {
    let backend = FakeBackend::custom(|mut connection| {
        let said = connection.read_exact(4);
        connection.send([&said[..], b" back"].concat());
        connection.read_to_end();
    });
    let refusing = Refusing::new();
    let weir = Logged::start("tcp", &[refusing.address(), backend.address()], "json", "", "");
    for _ in 0..2 {
        let mut client = RawClient::connect(weir.address());
        client.send("ping");
        assert_eq!(client.read_exact(9), b"ping back");
        client.finish();
        client.read_to_end();
    }
    weir_testkit::wait_until("both are over", || weir.app.open_connections() == 0);
    let objects = weir.objects();
    assert_eq!(objects.len(), 2);
    for object in &objects {
        assert_eq!((&object["protocol"], &object["bytes_in"]), (&json!("TCP"), &json!(4)), "{object}");
        assert_eq!((&object["bytes_out"], &object["pool"]), (&json!(9), &json!("app")), "{object}");
        assert!(object.get("method").is_none() && object.get("status").is_none(), "{object}");
        assert_eq!(object["attempts"].as_array().unwrap().last().unwrap()["connected"], true);
    }
    assert!(objects.iter().any(|object| object["attempts"][0]["cause"] == "backend_connect_refused"));
}
