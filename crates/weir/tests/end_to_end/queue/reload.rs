//! The same while reloads change the pool, rename it, or take it away.

use std::sync::atomic::Ordering;

use weir_testkit::{Answer, FakeBackend, RawClient, wait_until};

use super::{LONG, ask, echo, file, held, is_empty, pending, pool, queued, tcp};
use crate::support::Weir;

#[test]
fn a_reload_finds_them_where_they_wait() {
    let (one, two, three) = (held("one"), held("two"), held("three"));
    let weir = Weir::from_text(&file(1, "http", LONG, &[(&one, "max_connections: 1")]));
    let mut first = ask(&weir, "/first");
    one.has(1);
    let mut waiting = queued(&weir, "/waiting", 1);
    // More of the same.
    weir.app().reload_text(&file(1, "http", LONG, &[(&one, "max_connections: 2")])).unwrap();
    one.has(2);
    assert_eq!(pending(&weir), 0);
    // Another backend in its place: nothing more is sent to the one that went.
    let mut late = queued(&weir, "/late", 1);
    weir.app().reload_text(&file(1, "http", LONG, &[(&two, "max_connections: 1")])).unwrap();
    two.has(1);
    // No limit at all any more, and none of the queue.
    let mut last = queued(&weir, "/last", 1);
    weir.app().reload_text(&file(1, "http", LONG, &[(&three, "weight: 1")])).unwrap();
    three.has(1);
    one.inside.let_go(2);
    two.inside.let_go(1);
    three.inside.let_go(1);
    let names =
        [&mut first, &mut waiting, &mut late, &mut last].map(|client| client.final_response("GET").text());
    assert_eq!(names, ["one", "one", "two", "three"]);
    is_empty(&weir);
}

#[test]
fn a_reload_that_renames_the_pool_takes_nobody_out_of_its_queue() {
    let (one, two) = (held("one"), held("two"));
    let before = file(1, "http", LONG, &[(&one, "max_connections: 1")]);
    let weir = Weir::from_text(&before);
    let old = pool(&weir);
    let mut first = ask(&weir, "/first");
    one.has(1);
    let mut second = queued(&weir, "/second", 1);
    let mut third = queued(&weir, "/third", 2);
    let after = file(1, "http", LONG, &[(&two, "max_connections: 1")]).replace("app", "shop");
    weir.app().reload_text(&after).unwrap();
    let mut new = ask(&weir, "/new");
    two.has(1);
    assert_eq!(old.status.pending.load(Ordering::SeqCst), 2, "they wait where they did");
    one.inside.let_go(3);
    two.inside.let_go(1);
    let names = [&mut first, &mut second, &mut third, &mut new].map(|client| {
        let answer = client.final_response("GET");
        (answer.status(), answer.text())
    });
    assert_eq!(names.map(|(_, name)| name), ["one", "one", "one", "two"]);
    assert_eq!(one.inside.most.load(Ordering::SeqCst), 1);
    let left =
        || old.status.pending.load(Ordering::SeqCst) + old.backends[0].status.active.load(Ordering::SeqCst);
    wait_until("nothing is left of the old pool", || left() == 0);
    is_empty(&weir);
}

#[test]
fn connections_wait_through_reloads() {
    for name in ["shop", "app"] {
        let (one, two) = (echo(), echo());
        let weir = Weir::from_text(&tcp("app", &one));
        let mut first = RawClient::connect(weir.address());
        first.send("a");
        assert_eq!(first.read_exact(1), b"a");
        let mut second = RawClient::connect(weir.address());
        second.send("b");
        wait_until("it waits", || pending(&weir) == 1);
        // The pool has another name, or nothing in common but the name with what it was.
        weir.app().reload_text(&tcp(name, &two)).unwrap();
        drop(first);
        assert_eq!(second.read_exact(1), b"b", "{name}");
        let accepted = (one.accepted(), two.accepted());
        assert_eq!(accepted, if name == "shop" { (2, 0) } else { (1, 1) });
        drop(second);
        is_empty(&weir);
    }
}

#[test]
fn who_waits_for_a_first_check_is_served_by_a_pool_that_goes() {
    let backend = FakeBackend::answering_each(|request| match request.target() {
        "/healthz" => Answer::hang(),
        _ => Answer::ok("one"),
    });
    let text = |name: &str| {
        format!(
            "workers: 1\nlisteners: {{ web: {{ bind: '127.0.0.1:0', protocol: http, pool: {name} }} }}\n\
             pools:\n  {name}: {{ backends: ['{}'], {LONG}, health: {{ http: /healthz, timeout: 20s, interval: 20s }} }}\n",
            backend.address()
        )
    };
    let weir = Weir::from_text(&text("app"));
    let mut client = queued(&weir, "/", 1);
    weir.app().reload_text(&text("shop")).unwrap();
    assert_eq!(client.final_response("GET").text(), "one");
}

#[test]
fn the_last_exchange_of_a_listener_that_went_with_its_pool_is_served() {
    let (one, two) = (FakeBackend::answering(Answer::ok("one")), FakeBackend::answering(Answer::ok("two")));
    let text = |listener: &str, pool: &str, backend: &FakeBackend| {
        format!(
            "workers: 1\nlisteners: {{ {listener}: {{ bind: '127.0.0.1:0', protocol: http, pool: {pool} }} }}\n\
             pools: {{ {pool}: {{ backends: ['{}'] }} }}\n",
            backend.address()
        )
    };
    let weir = Weir::from_text(&text("web", "app", &one));
    let mut client = RawClient::connect(weir.address());
    assert_eq!(client.get("/").text(), "one");
    let moved = text("web", "shop", &two).replace("127.0.0.1:0", "127.0.0.27:0");
    weir.app().reload_text(&moved).unwrap();
    let last = client.get("/");
    assert_eq!((last.status(), last.text()), (200, "one".into()));
    assert!(last.to_string().to_lowercase().contains("connection: close"), "{last}");
}

#[test]
fn a_limit_that_a_reload_sets_counts_what_is_in_flight() {
    let (one, two) = (held("one"), held("two"));
    let limit = "limits: { connections: 2, queue_timeout: 20s }";
    let weir = Weir::from_text(&file(2, "http", LONG, &[(&one, "weight: 1")]));
    let reload = |limits: &str, backend: &super::Held| {
        weir.app().reload_text(&file(2, "http", limits, &[(backend, "weight: 1")])).unwrap();
    };
    let mut clients = vec![ask(&weir, "/"), ask(&weir, "/")];
    one.has(2);
    // What is at a backend that went at the same time counts as well.
    reload(limit, &two);
    clients.push(queued(&weir, "/", 1));
    assert_eq!(two.inside.arrived.load(Ordering::SeqCst), 0);
    one.inside.let_go(1);
    two.has(1);
    clients.push(queued(&weir, "/", 1));
    one.inside.let_go(1);
    two.has(2);
    // Without the limit one more, which counts when it is there again.
    reload(LONG, &two);
    clients.push(ask(&weir, "/"));
    two.has(3);
    reload(limit, &two);
    clients.push(queued(&weir, "/", 1));
    two.inside.let_go(1);
    wait_until("one is answered", || pool(&weir).backends[0].status.active.load(Ordering::SeqCst) == 2);
    assert_eq!(pending(&weir), 1);
    two.inside.let_go(3);
    assert!(clients.iter_mut().all(|client| client.final_response("GET").status() == 200));
    is_empty(&weir);
}

#[test]
fn a_bound_that_a_reload_sets_counts_what_is_in_flight() {
    let (one, two) = (held("one"), held("two"));
    let file = |bound: &str| {
        let balance = format!("balance: {{ policy: maglev, key: path{bound} }}");
        file(1, "http", &balance, &[(&one, "name: one"), (&two, "name: two")])
    };
    let weir = Weir::from_text(&file(""));
    let arrived = |at: &super::Held| at.inside.arrived.load(Ordering::SeqCst);
    // Where each path belongs, while nothing bounds that.
    let (mut of_one, mut of_two) = (Vec::new(), Vec::new());
    while of_one.len() < 4 || of_two.len() < 3 {
        let path = format!("/{}", of_one.len() + of_two.len());
        let before = (arrived(&one), arrived(&two));
        let mut client = ask(&weir, &path);
        wait_until("it arrives", || (arrived(&one), arrived(&two)) != before);
        let (at, paths) = if arrived(&one) > before.0 { (&one, &mut of_one) } else { (&two, &mut of_two) };
        at.inside.let_go(1);
        assert_eq!(client.final_response("GET").status(), 200);
        paths.push(path);
    }
    is_empty(&weir);
    let begun = (arrived(&one), arrived(&two));
    let held = of_one[..3].iter().chain(&of_two[..3]).map(|path| ask(&weir, path));
    let mut clients: Vec<_> = held.collect();
    wait_until("three are at each", || (arrived(&one), arrived(&two)) == (begun.0 + 3, begun.1 + 3));
    weir.app().reload_text(&file(", bounded_load: 125%")).unwrap();
    // Both have less than their bound, which is 1.25 times half of all.
    for (more, path) in of_one[..4].iter().enumerate() {
        clients.push(ask(&weir, path));
        wait_until("it arrives", || arrived(&one) + arrived(&two) == begun.0 + begun.1 + 7 + more);
    }
    assert_eq!(arrived(&two), begun.1 + 3, "they went where they belong");
    one.inside.let_go(7);
    two.inside.let_go(3);
    assert!(clients.iter_mut().all(|client| client.final_response("GET").status() == 200));
    is_empty(&weir);
    wait_until("it is forgotten", || pool(&weir).status.beside.load(Ordering::SeqCst) == 0);
}

/// True if it is told that the pool has as many requests as it may.
fn is_refused(weir: &Weir) -> bool {
    let answer = ask(weir, "/").final_response("GET").to_string();
    answer.contains("weir-error: pool_requests_limit")
}

#[test]
fn a_limit_of_requests_that_a_reload_sets_counts_what_is_in_flight() {
    let (one, two) = (held("one"), held("two"));
    let weir = Weir::from_text(&file(2, "http", LONG, &[(&one, "max_connections: 2")]));
    let reload = |limits: &str, backend: &super::Held| {
        weir.app().reload_text(&file(2, "http", limits, &[(backend, "max_connections: 2")])).unwrap();
    };
    let before = pool(&weir);
    let mut clients = vec![ask(&weir, "/"), ask(&weir, "/")];
    one.has(2);
    clients.push(queued(&weir, "/", 1));
    // What waits counts, and so does what is at a backend that went some time before.
    reload(LONG, &two);
    two.has(1);
    clients.extend([ask(&weir, "/"), queued(&weir, "/", 1)]);
    reload("limits: { requests: 5, queue_timeout: 20s }", &two);
    assert!(is_refused(&weir));
    one.inside.let_go(2);
    assert_eq!(clients[0].final_response("GET").text(), "one");
    assert_eq!(clients[1].final_response("GET").text(), "one");
    clients.drain(..2);
    wait_until("they are over", || before.backends[0].status.active.load(Ordering::SeqCst) == 0);
    // Those that are counted, and those that are not, are as many as there may be.
    clients.extend([queued(&weir, "/", 2), queued(&weir, "/", 3)]);
    assert!(is_refused(&weir));
    // Fewer than there are.
    reload("limits: { requests: 2, queue_timeout: 20s }", &two);
    assert!(is_refused(&weir));
    two.inside.let_go(5);
    assert!(clients.iter_mut().all(|client| client.final_response("GET").status() == 200));
    wait_until("nothing is counted", || before.status.requests.load(Ordering::SeqCst) == 0);
    is_empty(&weir);
    two.inside.let_go(1);
    assert_eq!(ask(&weir, "/").final_response("GET").status(), 200);
}

#[test]
fn tcp_connections_are_no_requests_of_a_pool_that_they_share() {
    let backend = FakeBackend::answering(Answer::ok("one"));
    let text = |limits: &str| {
        format!(
            "workers: 1\nlisteners:\n  raw: {{ bind: '127.0.0.1:0', protocol: tcp, pool: app }}\n  \
             web: {{ bind: '127.0.0.1:0', protocol: http, pool: app }}\n\
             pools: {{ app: {{ backends: ['{}'], {limits} }} }}\n",
            backend.address()
        )
    };
    let weir = Weir::from_text(&text(LONG));
    let mut raw = RawClient::connect(weir.app().address("raw"));
    assert_eq!(raw.get("/").text(), "one");
    weir.app().reload_text(&text("limits: { requests: 1 }")).unwrap();
    assert_eq!(RawClient::connect(weir.app().address("web")).get("/").text(), "one");
    assert_eq!(raw.get("/").text(), "one", "it is still there");
}
