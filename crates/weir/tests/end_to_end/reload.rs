//! Reloads: what changes, what stays, and that nobody notices what does not concern them.

mod binds;
mod load;
mod memory;

use std::net::{SocketAddr, TcpListener};

use weir_testkit::{Answer, FakeBackend, RawClient, wait_until};

use crate::support::Weir;

/// A whole configuration: listeners and pools as the file has them, a line each.
pub(crate) fn file(listeners: &[&str], pools: &[&str]) -> String {
    let indented = |lines: &[&str]| lines.iter().map(|line| format!("  {line}\n")).collect::<String>();
    format!("workers: 2\nlisteners:\n{}pools:\n{}", indented(listeners), indented(pools))
}

const WEB: &str = "web: { bind: '127.0.0.1:0', protocol: http, pool: app }";

pub(crate) fn pool(name: &str, backends: &[SocketAddr]) -> String {
    let backends: Vec<_> = backends.iter().map(|address| format!("'{address}'")).collect();
    format!("{name}: {{ backends: [{}] }}", backends.join(", "))
}

/// A port of this loopback address that nobody listens at. Each test has an address of its own, so that no other one is
/// given the port meanwhile.
pub(crate) fn free_port(host: &str) -> SocketAddr {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

fn answering(text: &str) -> FakeBackend {
    FakeBackend::answering(Answer::ok(text))
}

/// Sends every byte back.
fn echoing() -> FakeBackend {
    FakeBackend::custom(|mut connection| {
        loop {
            let bytes = connection.read_exact(1);
            if bytes.is_empty() || !connection.send(&bytes) {
                return;
            }
        }
    })
}

#[test]
fn connections_on_both_sides_stay() {
    let backend = answering("ok");
    let before = file(&[WEB], &[&pool("app", &[backend.address()])]);
    let weir = Weir::from_text(&before);
    let mut client = RawClient::connect(weir.address());
    assert_eq!(client.get("/").text(), "ok");
    let address = weir.address();

    // A pool that comes before `app` moves its place in the snapshot.
    let other = answering("other");
    let after = file(
        &[
            "web: { bind: '127.0.0.1:0', protocol: http, routes: [ { match: { path: /other }, pool: a }, { pool: app } ] }",
        ],
        &[&pool("a", &[other.address()]), &pool("app", &[backend.address()])],
    );
    let outcome = weir.app().reload_text(&after).unwrap();
    assert_eq!(outcome.generation, 2);
    assert_eq!(weir.address(), address, "the socket is the same");
    assert_eq!(client.get("/").text(), "ok");
    assert_eq!(client.get("/other").text(), "other");
    assert_eq!(backend.accepted(), 1, "the connection to the backend was kept");
    let backends = &weir.app().snapshot().pools[1].backends;
    assert_eq!(backends[0].status.shards.sum(|shard| shard.codes.total()), 2, "and so were its counters");
}

#[test]
fn a_pool_that_changed_keeps_what_stayed() {
    let (one, two, three) = (answering("one"), answering("two"), answering("three"));
    let weir = Weir::from_text(&file(&[WEB], &[&pool("app", &[one.address(), two.address()])]));
    let mut client = RawClient::connect(weir.address());
    let first: Vec<_> = (0..4).map(|_| client.get("/").text()).collect();
    assert!(first.contains(&"one".to_owned()) && first.contains(&"two".to_owned()), "{first:?}");

    let outcome = weir.app().reload_text(&file(&[WEB], &[&pool("app", &[three.address(), two.address()])]));
    let outcome = outcome.unwrap();
    assert_eq!(outcome.changes["backends"]["added"][0], format!("app/{}", three.address()));
    assert_eq!(outcome.changes["backends"]["removed"][0], format!("app/{}", one.address()));
    assert_eq!(outcome.changes["backends"]["kept"], 1);
    let then: Vec<_> = (0..8).map(|_| client.get("/").text()).collect();
    assert!(!then.contains(&"one".to_owned()), "{then:?}");
    assert!(then.contains(&"two".to_owned()) && then.contains(&"three".to_owned()), "{then:?}");
    assert_eq!(two.accepted(), 1, "its kept connection was taken over");
    wait_until("connections to the backend that went are closed", || one.open() == 0);
    let snapshot = weir.app().snapshot();
    let requests =
        |index: usize| snapshot.pools[0].backends[index].status.shards.sum(|shard| shard.codes.total());
    assert_eq!(requests(0) + requests(1), 8 + first.iter().filter(|text| *text == "two").count() as u64);
}

#[test]
fn who_connected_before_and_asks_after_gets_what_is_new() {
    let (one, two) = (answering("one"), answering("two"));
    let weir = Weir::from_text(&file(&[WEB], &[&pool("app", &[one.address()])]));
    // Several, so that each worker has one; the first request on each comes after the reload, in two parts.
    let mut clients: Vec<_> = (0..8).map(|_| RawClient::connect(weir.address())).collect();
    for client in &mut clients[4..] {
        client.send("GET / HTTP/1.1\r\n");
    }
    let accepted = || {
        let snapshot = weir.app().snapshot();
        snapshot.listeners[0].status.shards.sum(|shard| shard.accepted.value())
    };
    wait_until("all of them are accepted", || accepted() == 8);
    weir.app().reload_text(&file(&[WEB], &[&pool("app", &[two.address()])])).unwrap();
    drop(one);
    for client in &mut clients[4..] {
        client.send("Host: a.test\r\n\r\n");
        assert_eq!(client.final_response("GET").text(), "two");
    }
    for client in &mut clients[..4] {
        assert_eq!(client.get("/").text(), "two");
    }
}

#[test]
fn requests_wait_for_the_first_check_where_every_backend_is_new() {
    let (one, two) = (answering("one"), answering("two"));
    let checked = |backend: &FakeBackend| {
        format!(
            "app: {{ backends: ['{}'], health: {{ http: / }}, limits: {{ queue_timeout: 20s }} }}",
            backend.address()
        )
    };
    let listeners = [WEB, "tcp: { bind: '127.0.0.1:0', protocol: tcp, pool: app }"];
    let weir = Weir::from_text(&file(&listeners, &[&checked(&one)]));
    // Also at the start.
    let mut client = RawClient::connect(weir.address());
    assert_eq!(client.get("/").text(), "one");
    for (backend, name) in [(&two, "two"), (&one, "one"), (&two, "two")] {
        weir.app().reload_text(&file(&listeners, &[&checked(backend)])).unwrap();
        assert_eq!(client.get("/").text(), name);
        assert_eq!(RawClient::connect(weir.app().address("tcp")).get("/").text(), name);
    }
}

#[test]
fn a_name_that_comes_back_starts_afresh() {
    let backend = answering("ok");
    let app = pool("app", &[backend.address()]);
    let weir = Weir::from_text(&file(&[WEB], &[&app]));
    RawClient::connect(weir.address()).get("/");
    let count = || {
        let snapshot = weir.app().snapshot();
        let (_, pool) = snapshot.pool("app").expect("it is there");
        pool.backends[0].status.shards.sum(|shard| shard.codes.total())
    };
    assert_eq!(count(), 1);
    let without = "web: { bind: '127.0.0.1:0', protocol: http, routes: [ { respond: { status: 204 } } ] }";
    weir.app().reload_text(&file(&[without], &[])).unwrap();
    weir.app().reload_text(&file(&[WEB], &[&app])).unwrap();
    assert_eq!(count(), 0);
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let backend = answering("ok");
    let good = file(&[WEB], &[&pool("app", &[backend.address()])]);
    let weir = Weir::from_text(&good);
    let mut client = RawClient::connect(weir.address());
    client.get("/");
    let running = weir.app().snapshot();

    let bad = good.replace("pool: app", "pool: ap") + "wurkers: 3\n";
    let refusal = weir.app().reload_text(&bad).unwrap_err();
    assert!(refusal.error.starts_with("weir.yaml:"), "{}", refusal.error);
    let causes: Vec<_> = refusal.problems.iter().map(|problem| &*problem.cause).collect();
    assert!(causes.iter().any(|cause| cause.contains("wurkers")), "{causes:?}");
    assert!(refusal.text.contains("did you mean"), "{}", refusal.text);

    let record = weir.app().reloads().unwrap();
    assert_eq!((record.generation, record.last_reload_success, record.refused), (1, false, 1));
    assert_eq!(record.last_error, Some(refusal.error));
    assert!(std::sync::Arc::ptr_eq(&running, &weir.app().snapshot()));
    assert_eq!(client.get("/").text(), "ok");

    weir.app().reload_text(&good).unwrap();
    let record = weir.app().reloads().unwrap();
    assert_eq!((record.generation, record.last_reload_success, record.last_error), (2, true, None));
    assert_eq!(client.get("/").text(), "ok");
}

#[test]
fn the_token_stays_as_long_as_the_socket_that_it_guards() {
    let backend = answering("ok");
    let token = std::env::temp_dir().join(format!("weir-reload-token-{}", std::process::id()));
    std::fs::write(&token, "0123456789abcdef").unwrap();
    let text = |admin: &str| admin.to_owned() + &file(&[WEB], &[&pool("app", &[backend.address()])]);
    let guarded = format!("admin: {{ bind: '127.0.0.1:0', token_file: '{}' }}\n", token.display());
    let weir = Weir::from_text(&text(&guarded));
    std::fs::remove_file(&token).unwrap();
    let ask = || {
        RawClient::connect(weir.app().admin_address().unwrap())
            .send("PUT /api/pools/app/backends/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
            .final_response("PUT")
            .status()
    };
    assert_eq!(ask(), 401);
    // The socket is there until the next start, whatever the file says of it: so is what it takes to give orders.
    for admin in ["", "admin: { bind: 'unix:/tmp/weir-nowhere.sock' }\n", ""] {
        let outcome = weir.app().reload_text(&text(admin)).unwrap();
        let waits = serde_json::json!(["admin.bind", "admin.token_file"]);
        assert_eq!(
            outcome.changes["settings"],
            serde_json::json!({ "changed": [], "next_start": waits }),
            "{admin}"
        );
        assert_eq!(ask(), 401, "{admin}");
    }
    // Where the socket is to stay, the token goes at once.
    let outcome = weir.app().reload_text(&text("admin: { bind: '127.0.0.1:0' }\n")).unwrap();
    assert_eq!(outcome.changes["settings"]["changed"], serde_json::json!(["admin.token_file"]));
    assert_eq!(ask(), 404);
}

#[test]
fn what_waits_for_the_next_start_is_named() {
    let backend = answering("ok");
    let text = file(&[WEB], &[&pool("app", &[backend.address()])]);
    let weir = Weir::from_text(&text);
    for _ in 0..2 {
        // It is named every time, for as long as the file and the process differ.
        let outcome = weir.app().reload_text(&text.replace("workers: 2", "workers: 3")).unwrap();
        assert_eq!(outcome.changes["settings"]["next_start"], serde_json::json!(["workers"]));
        assert!(outcome.warnings[0].contains("`workers`"), "{:?}", outcome.warnings);
        assert_eq!(weir.app().snapshot().process.workers, Some(2));
    }
    let outcome = weir.app().reload_text(&text).unwrap();
    assert_eq!((&*outcome.summary, outcome.warnings), ("nothing changes", Vec::new()));
}

#[test]
fn files_are_read_again() {
    let folder = std::env::temp_dir().join(format!("weir-reload-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("weir.yaml");
    let (one, two) = (answering("one"), answering("two"));
    let write = |backend: &FakeBackend| {
        // As editors do: a new file takes the place of the old one.
        let text = file(&[WEB], &[&pool("app", &[backend.address()])]);
        std::fs::write(folder.join("new"), text).unwrap();
        std::fs::rename(folder.join("new"), &path).unwrap();
    };
    write(&one);
    let app = weir::app::App::from_watched_path(&path, weir::app::Sink::none()).unwrap();
    let mut client = RawClient::connect(app.address("web"));
    assert_eq!(client.get("/").text(), "one");
    write(&two);
    wait_until("the change is noticed", || client.get("/").text() == "two");
    wait_until("it is written down", || app.reloads().unwrap().generation == 2);
    std::fs::write(&path, "listeners: [").unwrap();
    wait_until("the bad file is noticed", || !app.reloads().unwrap().last_reload_success);
    write(&one);
    app.reload().unwrap();
    assert_eq!(client.get("/").text(), "one");
    std::fs::remove_dir_all(folder).unwrap();
}
