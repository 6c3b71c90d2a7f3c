//! Who clients are: shown, verified, matched, told to backends and logs, and never believed from a header.

use std::fs;

use serde_json::Value;
use weir_testkit::{Authority, FakeBackend, Issued, RawClient, TlsClient, TlsVersion, Wanted, wait_until};

use super::{Site, get};

/// Sends on what is known of the client.
const TELLING: &str = "routes: [{ pool: app, request_headers: { set: { X-Client: $client_cert_subject, \
    X-Names: $client_cert_san, X-Print: $client_cert_fingerprint, X-Tls: \"$tls_version $tls_cipher $sni $alpn $scheme\" } } }]";

#[test]
fn without_the_right_certificate_nobody_is_served_where_one_is_required() {
    let site = Site::new("identity-require").asking("require");
    let weir = site.start();
    let answered = |shows: Option<Issued>| {
        get(weir.address("web"), &site.client(shows.as_ref()), "").map(|answer| answer.status())
    };
    assert_eq!(answered(Some(site.root.client("ops.test"))), Some(200));
    assert_eq!(answered(None), None, "none");
    assert_eq!(answered(Some(Authority::new("Root").client("ops.test"))), None, "another authority");
    assert_eq!(answered(Some(site.root.issue(Wanted::client("ops.test").over()))), None, "it is over");
    assert_eq!(answered(Some(site.root.issue(Wanted::client("ops.test").early()))), None, "it has not begun");
    assert_eq!(answered(Some(site.root.server(&["ops.test"]))), None, "it is for servers");
    assert_eq!(site.backend.requests().len(), 1);
}

#[test]
fn backends_are_told_who_it_is_and_nobody_can_say_so_himself() {
    let site = Site::new("identity-headers").asking("optional").listener(TELLING);
    let weir = site.start();
    let forged = "X-Client: CN=admin\r\nx-client: CN=admin\r\nX-Names: DNS:admin\r\nX-Print: 00\r\n";
    let shows = site.root.client("ops.test");
    assert_eq!(get(weir.address("web"), &site.client(Some(&shows)), forged).unwrap().status(), 200);
    let asked = site.backend.only_request();
    assert_eq!(asked.all("x-client"), ["CN=ops.test"]);
    assert_eq!(asked.all("x-names"), ["DNS:ops.test"]);
    let print = asked.header("x-print").unwrap();
    assert!(print.len() == 64 && print.bytes().all(|byte| byte.is_ascii_hexdigit()), "{print}");
    let tls = asked.header("x-tls").unwrap();
    assert!(tls.starts_with("TLSv1.3 TLS_") && tls.ends_with(" a.test http/1.1 https"), "{tls}");
    assert_eq!(asked.header("x-forwarded-proto"), Some("https"));

    site.backend.forget();
    assert_eq!(get(weir.address("web"), &site.client(None), forged).unwrap().status(), 200);
    let asked = site.backend.only_request();
    for name in ["x-client", "x-names", "x-print"] {
        assert!(!asked.has(name), "nobody in particular has {name}: {:?}", asked.header(name));
    }
}

#[test]
fn a_session_that_is_resumed_is_the_same_client() {
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let site = Site::new("identity-resumed").asking("require").listener(TELLING);
        let weir = site.start();
        let shows = site.root.client("ops.test");
        let client = TlsClient::with(&site.root, "a.test", Some(&shows), &[version], &[b"http/1.1"]);
        let mut resumed = 0;
        for _ in 0..3 {
            let mut connection = RawClient::connect_tls(weir.address("web"), &client);
            assert_eq!(connection.get("/").status(), 200);
            resumed += usize::from(connection.tls().unwrap().resumed);
        }
        assert!(resumed > 0, "{version:?}: no session was resumed");
        for asked in site.backend.requests() {
            assert_eq!(asked.header("x-client"), Some("CN=ops.test"), "{version:?}");
        }
    }
}

#[test]
fn routes_ask_for_names_protocols_and_certificates() {
    let routes = r#"routes: [
        { match: { client_cert: { san: "*.partner.test", subject: "~^CN=ops" } }, respond: { body: partner } },
        { match: { client_cert: { san: staff.test } }, respond: { body: "staff $client_cert_subject" } },
        { match: { sni: "*.b.test", client_cert: { present: false } }, respond: { body: "b $sni" } },
        { match: { client_cert: {} }, respond: { body: known } },
        { match: { alpn: http/1.1 }, respond: { body: "plain ${client_cert_subject}" } },
        { respond: { body: none } } ]"#;
    let site = Site::new("identity-routes").asking("optional").listener(routes);
    site.root.server(&["a.test", "*.b.test"]).write(&site.folder, "a");
    let weir = site.start();
    let address = weir.address("web");
    let body = |client: &TlsClient| get(address, client, "").unwrap().text();
    let shows = |name: &str| site.client(Some(&site.root.client(name)));
    assert_eq!(body(&shows("ops.partner.test")), "partner");
    assert_eq!(body(&shows("dev.partner.test")), "known");
    assert_eq!(body(&shows("staff.test")), "staff CN=staff.test");
    assert_eq!(body(&site.client(None).asking_for("x.b.test")), "b x.b.test");
    assert_eq!(body(&shows("x.test").asking_for("x.b.test")), "known");
    assert_eq!(body(&site.client(None)), "plain ");
    assert_eq!(body(&TlsClient::new(&site.root, "a.test")), "none", "no protocol was agreed on");
}

#[test]
fn byte_streams_are_routed_by_what_tls_knows() {
    let greeting = |word: &'static str| {
        FakeBackend::custom(move |mut connection| {
            connection.send(word);
            while connection.read_request().is_some() {}
        })
    };
    let (ops, db, rest) = (greeting("ops"), greeting("db"), greeting("rest"));
    let mut site = Site::new("identity-tcp").asking("optional").listener(
        "routes: [{ match: { client_cert: { san: ops.test } }, pool: ops }, { match: { sni: db.a.test, alpn: [x, http/1.1] }, pool: db }, { pool: rest }]",
    );
    site.root.server(&["a.test", "*.a.test"]).write(&site.folder, "a");
    site.protocol = "tcp";
    site.tls.push_str(", alpn: [http/1.1, x]");
    let log = site.folder.join("access.json");
    let text = site.text().replace(
        "pools: {",
        &format!(
            "access_log: {{ path: \"{}\", format: json }}\npools: {{ ops: {{ backends: [\"{}\"] }}, db: {{ backends: [\"{}\"] }}, rest: {{ backends: [\"{}\"] }},",
            log.display(), ops.address(), db.address(), rest.address()
        ),
    );
    let weir =
        weir::app::App::from_path(&site.folder.write("weir.yaml", text), weir::app::Sink::none()).unwrap();
    let greeted = |client: &TlsClient, length| {
        let mut connection = RawClient::connect_tls(weir.address("web"), client);
        String::from_utf8(connection.read_exact(length)).unwrap()
    };
    assert_eq!(greeted(&site.client(Some(&site.root.client("ops.test"))), 3), "ops");
    assert_eq!(greeted(&site.client(None).asking_for("db.a.test"), 2), "db");
    assert_eq!(greeted(&site.client(None), 4), "rest");
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    wait_until("three connections are logged", || lines().len() == 3);
    let lines = lines();
    let of = |route: &str| lines.iter().find(|line| line["pool"] == route).unwrap();
    assert_eq!(of("ops")["client_cert_subject"], "CN=ops.test");
    assert_eq!(of("ops")["client_cert_fingerprint"].as_str().unwrap().len(), 64);
    assert_eq!((&of("db")["sni"], &of("db")["alpn"]), (&"db.a.test".into(), &"http/1.1".into()));
    assert_eq!(of("rest")["tls_version"], "TLSv1.3");
    assert!(of("rest")["client_cert_subject"].is_null());
}

/// RFC 9112 section 3.2.2 and RFC 9110 section 7.4: a target says the scheme that it came by, or goes elsewhere.
#[test]
fn the_scheme_is_https_wherever_it_is_spoken_of() {
    let site = Site::new("identity-scheme").listener(
        "routes: [{ match: { path: /old }, redirect: { path: /new } }, { match: { path: /other }, redirect: { host: b.test } }, { pool: app }]",
    );
    let weir = site.start();
    let asked = |target: &str| {
        let mut client = RawClient::connect_tls(weir.address("web"), &site.client(None));
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a.test:8443\r\n\r\n")).final_response("GET")
    };
    assert_eq!(asked("/old").header("location"), Some("https://a.test:8443/new"));
    assert_eq!(asked("/other").header("location"), Some("https://b.test/other"));
    assert_eq!(asked("https://a.test:8443/x").status(), 200);
    assert_eq!(asked("http://a.test:8443/x").status(), 421);
}

#[test]
fn explanations_ask_for_the_name_of_the_url_or_another() {
    let site = Site::new("identity-explain").asking("optional").listener(
        "sni: [a.test, \"*.b.test\"], routes: [{ match: { sni: \"*.b.test\" }, respond: { body: b } }, { match: { client_cert: {} }, pool: app }, { pool: app }]",
    );
    site.root.server(&["a.test", "*.b.test"]).write(&site.folder, "a");
    let weir = site.start();
    // The port is one that the system has chosen, and explanations go by the file.
    let explained = |host: &str, more: &str| -> Value {
        let path = format!("/api/explain?url=https%3A%2F%2F{host}%2F&listener=web{more}");
        serde_json::from_str(&super::told(&weir, &path)).unwrap()
    };
    assert_eq!(explained("x.b.test", "")["action"], "respond");
    let other = explained("x.b.test", "&sni=a.test");
    assert_eq!(other["action"], "pool");
    let why = |number: usize| other["tested"][number]["why"].as_str().unwrap().to_owned();
    assert!(why(0).contains("sni is `a.test`"), "{}", why(0));
    assert!(why(1).contains("the client has shown no certificate"), "{}", why(1));
    assert!(other["effects"].to_string().contains("https"), "{}", other["effects"]);
}
