//! What a listener decides before any route: who may come in, how paths are tidied, what its refusals look like.

use std::fs;

use weir_testkit::{FakeBackend, RawClient};

use crate::support::{Setup, Weir};

fn get(weir: &Weir, path: &str, fields: &str) -> weir_testkit::Message {
    let mut client = RawClient::connect(weir.address());
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"));
    client.final_response("GET")
}

#[test]
fn who_is_not_admitted_gets_403_and_no_backend_hears_of_it() {
    let backend = FakeBackend::echo();
    for line in ["deny: [127.0.0.0/8]", "allow: [10.0.0.0/8]"] {
        let weir = Setup::http(&[backend.address()]).listener(line).start();
        let mut client = RawClient::connect(weir.address());
        assert_eq!(client.get("/").status(), 403, "{line}");
        assert_eq!(client.get("/").status(), 403, "the connection goes on");
    }
    assert_eq!(backend.accepted(), 0);
    let weir = Setup::http(&[backend.address()]).listener("allow: [127.0.0.1]").start();
    assert_eq!(get(&weir, "/", "").status(), 200);
}

#[test]
fn behind_a_trusted_proxy_its_client_is_who_counts() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()])
        .listener("trusted_proxies: [127.0.0.1]")
        .listener("allow: [192.0.2.0/24]")
        .listener("deny: [192.0.2.66]")
        .start();
    assert_eq!(get(&weir, "/", "X-Forwarded-For: 192.0.2.1\r\n").status(), 200);
    assert_eq!(get(&weir, "/", "X-Forwarded-For: 192.0.2.66\r\n").status(), 403);
    assert_eq!(get(&weir, "/", "X-Forwarded-For: 192.0.2.1, 198.51.100.1\r\n").status(), 403);
    assert_eq!(get(&weir, "/", "").status(), 403);
}

#[test]
fn a_tcp_client_that_is_not_admitted_is_closed_without_a_backend() {
    let backend = FakeBackend::echo();
    let weir = Setup::tcp(&[backend.address()]).listener("deny: [127.0.0.1]").start();
    // The reset may be there before this end has seen the connection made.
    if let Ok(mut client) = RawClient::try_connect(weir.address()) {
        client.send("hello");
        assert!(client.closed());
    }
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn the_path_that_is_matched_is_the_path_that_is_forwarded() {
    let backend = FakeBackend::echo();
    let eager = "normalize: { encoded_slash: decode, double_slash: merge }";
    let weir = Setup::http(&[backend.address()]).listener(eager).route("match: { path: /admin/* }").start();
    for path in ["/public/..%2fadmin%2Fx", "//admin//x", "/admin/./x", "/%61dmin/%78", "/adm%69n/x"] {
        assert_eq!(get(&weir, path, "").status(), 200, "{path}");
    }
    assert_eq!(get(&weir, "/admin/../public", "").status(), 404);
    for request in backend.requests() {
        assert!(request.target() == "/admin/x", "{}", request.target());
    }
    let strict = "normalize: { encoded_slash: reject, dot_segments: reject }";
    let weir = Setup::http(&[backend.address()]).listener(strict).start();
    for path in ["/a%2Fb", "/a/../b"] {
        assert_eq!(get(&weir, path, "").status(), 400, "{path}");
    }
    assert_eq!(backend.requests().len(), 5);
}

#[test]
fn weirs_own_answers_wear_the_pages_of_the_listener() {
    let folder = std::env::temp_dir().join(format!("weir-pages-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let page = folder.join("sorry.html");
    fs::write(&page, "<h1>Back soon</h1>").unwrap();
    let backend = FakeBackend::echo();
    let line = format!("errors: {{ \"404\": {} }}", page.display());
    let weir = Setup::http(&[backend.address()]).listener(&line).route("match: { path: /known }").start();
    let response = get(&weir, "/unknown", "");
    assert_eq!((response.status(), response.text().as_str()), (404, "<h1>Back soon</h1>"));
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    // To HEAD the same without the page, and with its length.
    let mut client = RawClient::connect(weir.address());
    client.send("HEAD /unknown HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let response = client.final_response("HEAD");
    assert_eq!((response.header("content-length"), response.text().as_str()), (Some("18"), ""));
    fs::remove_dir_all(folder).unwrap();
}
