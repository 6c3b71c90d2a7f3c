//! Policies over real sockets: the same key comes to the same backend, whatever happens to the others, and one that
//! answers late is asked less.

use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use weir::rehearse::Path;
use weir_control::explain::{Circumstances, Explanation, Particulars, Question, explain};
use weir_model::{status::Health, time::Moment};
use weir_testkit::{Answer, FakeBackend, RawClient, Refusing, wait_until};

use crate::support::Weir;

/// Names and not ports decide where a key belongs, so that every run of a test places its keys alike.
fn file(protocol: &str, balance: &str, backends: &[SocketAddr]) -> String {
    let backend = |(index, address)| format!("      - {{ address: '{address}', name: b{index} }}\n");
    let backends: String = backends.iter().enumerate().map(backend).collect();
    format!(
        "workers: 2\nlisteners:\n  web:\n    bind: 127.0.0.1:0\n    protocol: {protocol}\n{}    pool: app\n\
         pools:\n  app:\n    balance: {balance}\n    backends:\n{backends}",
        if protocol == "http" { "    trusted_proxies: [127.0.0.0/8]\n" } else { "" },
    )
}

/// Backends that say which one they are.
fn backends(count: usize) -> Vec<FakeBackend> {
    (0..count).map(|index| FakeBackend::answering(Answer::ok(&format!("b{index}")))).collect()
}

fn addresses(backends: &[FakeBackend]) -> Vec<SocketAddr> {
    backends.iter().map(FakeBackend::address).collect()
}

/// What answers a request with these fields, asked for on a connection of its own.
fn asked(weir: &Weir, target: &str, fields: &str) -> String {
    let head = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
    RawClient::connect(weir.address()).send(head).final_response("GET").text()
}

fn explained(weir: &Weir, target: &str, fields: &[&str]) -> Explanation {
    let particulars = Particulars {
        listener: Some("web".into()),
        headers: fields.iter().map(|field| (*field).to_owned()).collect(),
        ..Particulars::default()
    };
    let question = Question::new(&format!("http://a.test{target}"), particulars).unwrap();
    let circumstances = Circumstances { live: true, draw: 0, now: Moment(0) };
    explain(&weir.app().snapshot(), &question, &Path, circumstances).unwrap()
}

/// Takes a backend out, or back in, as a check does it.
fn set_health(weir: &Weir, backend: usize, health: Health) {
    let pool = &weir.app().snapshot().pools[0];
    pool.backends[backend].status.set_health(health, "the test says so", Moment(1));
    pool.status.touch();
}

#[test]
fn requests_with_the_same_key_come_to_the_same_backend() {
    let backends = backends(5);
    let user = |user: usize| (String::from("/"), format!("X-User: user-{user}\r\n"));
    let cookie = |user: usize| (String::from("/"), format!("Cookie: a=b; uid={user}\r\n"));
    let query = |user: usize| (format!("/x?a=1&id={user}"), String::new());
    let path = |user: usize| (format!("/users/{user}?any={user}"), String::new());
    let source = |user: usize| (String::from("/"), format!("X-Forwarded-For: 192.0.2.{user}\r\n"));
    type Request<'r> = &'r dyn Fn(usize) -> (String, String);
    let cases: [(&str, Request<'_>); 6] = [
        ("{ policy: maglev, key: 'header:x-user' }", &user),
        ("{ policy: ring_hash, key: 'cookie:uid' }", &cookie),
        ("{ policy: source_hash, key: 'query:id' }", &query),
        ("{ policy: maglev, key: path }", &path),
        ("{ policy: ring_hash, bounded_load: 1000% }", &source),
        ("source_hash", &source),
    ];
    for (balance, request) in cases {
        let weir = Weir::from_text(&file("http", balance, &addresses(&backends)));
        let answer = |user: usize| {
            let (target, fields) = request(user);
            asked(&weir, &target, &fields)
        };
        let first: Vec<_> = (0..40).map(answer).collect();
        assert_eq!(first, (0..40).map(answer).collect::<Vec<_>>(), "{balance}");
        for name in ["b0", "b1", "b2", "b3", "b4"] {
            assert!(first.iter().any(|answered| answered == name), "{balance}: nothing for {name}");
        }
    }
}

#[test]
fn a_request_without_the_key_is_placed_by_its_source() {
    let backends = backends(5);
    let all = addresses(&backends);
    let by_source = Weir::from_text(&file("http", "maglev", &all));
    let by_cookie = Weir::from_text(&file("http", "{ policy: maglev, key: 'cookie:uid' }", &all));
    for client in 0..20 {
        let fields = format!("X-Forwarded-For: 192.0.2.{client}\r\n");
        let expected = asked(&by_source, "/", &fields);
        assert_eq!(asked(&by_cookie, "/", &fields), expected);
        assert_eq!(asked(&by_cookie, "/", &format!("{fields}Cookie: uid=\r\n")), expected);
    }
}

#[test]
fn a_backend_that_goes_down_moves_its_own_keys_only() {
    let backends = backends(5);
    for policy in ["source_hash", "ring_hash", "maglev"] {
        let balance = format!("{{ policy: {policy}, key: 'header:X-User' }}");
        let weir = Weir::from_text(&file("http", &balance, &addresses(&backends)));
        let all =
            || (0..60).map(|user| asked(&weir, "/", &format!("X-User: {user}\r\n"))).collect::<Vec<_>>();
        let before = all();
        set_health(&weir, 2, Health::Down);
        let during = all();
        for (before, during) in before.iter().zip(&during) {
            assert!(during != "b2" && (before == during || before == "b2"), "{policy}: {before} to {during}");
        }
        set_health(&weir, 2, Health::Up);
        assert_eq!(all(), before, "{policy}");
    }
}

#[test]
fn a_reload_keeps_keys_where_they_are() {
    let backends = backends(6);
    let all = addresses(&backends);
    for policy in ["ring_hash", "maglev"] {
        let balance = format!("{{ policy: {policy}, key: 'header:X-User' }}");
        let weir = Weir::from_text(&file("http", &balance, &all[..5]));
        let answers =
            || (0..60).map(|user| asked(&weir, "/", &format!("X-User: {user}\r\n"))).collect::<Vec<_>>();
        let before = answers();
        // The same backends with another time-out: another pool, and the very same table.
        let table = weir.app().snapshot().pools[0].hash_table.clone().unwrap();
        let timeout = format!("{}    connect_timeout: 3s\n", file("http", &balance, &all[..5]));
        weir.app().reload_text(&timeout).unwrap();
        assert!(std::sync::Arc::ptr_eq(&table, weir.app().snapshot().pools[0].hash_table.as_ref().unwrap()));
        assert_eq!(answers(), before, "{policy}");
        // One more takes its part of the keys and leaves the others; a few may move beside in a Maglev table.
        weir.app().reload_text(&file("http", &balance, &all)).unwrap();
        let after = answers();
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        let new = after.iter().filter(|answered| *answered == "b5").count();
        assert!(new > 0 && moved <= new + 4, "{policy}: {moved} moved, {new} to the new one");
    }
}

#[test]
fn a_retry_goes_on_along_the_same_way() {
    let backends = backends(4);
    let refusing = Refusing::new();
    let all = [addresses(&backends), vec![refusing.address()]].concat();
    let weir = Weir::from_text(&file("http", "{ policy: maglev, key: 'header:X-User' }", &all));
    let mut retried = 0;
    for user in 0..40 {
        let fields = format!("X-User: {user}\r\n");
        let told = explained(&weir, "/", &[&format!("X-User: {user}")]);
        let first = asked(&weir, "/", &fields);
        retried += usize::from(told.pick == Some(refusing.address().to_string()));
        assert_eq!(asked(&weir, "/", &fields), first, "user {user}");
    }
    assert!(retried > 0, "no key belongs to the one that refuses");
}

#[test]
fn explain_says_what_was_hashed_and_picks_what_traffic_gets() {
    let backends = backends(5);
    let all = addresses(&backends);
    let weir = Weir::from_text(&file("http", "{ policy: ring_hash, key: 'header:X-User' }", &all));
    for user in 0..30 {
        let told = explained(&weir, "/", &[&format!("X-User: {user}")]);
        let answered = asked(&weir, "/", &format!("X-User: {user}\r\n"));
        let picked = told.candidates.iter().find(|each| Some(&each.address) == told.pick.as_ref()).unwrap();
        assert_eq!(picked.name, answered);
        assert_eq!(told.key.as_deref(), Some("header X-User"));
    }
    let told = explained(&weir, "/", &["X-User: 7"]);
    assert!(told.to_string().contains("(ring_hash on header X-User)"), "{told}");
    let told = explained(&weir, "/", &[]);
    assert!(told.to_string().contains("(ring_hash on source, since there is no header X-User)"), "{told}");
}

#[test]
fn connections_are_placed_by_source_or_by_both_ends() {
    let speaking = |index: usize| {
        FakeBackend::custom(move |mut connection| {
            connection.send(format!("b{index}"));
            connection.read_to_end();
        })
    };
    let backends: Vec<_> = (0..5).map(speaking).collect();
    let all = addresses(&backends);
    let first = |weir: &Weir| {
        let mut client = RawClient::connect(weir.address());
        String::from_utf8(client.read_exact(2)).unwrap()
    };
    let by_source = Weir::from_text(&file("tcp", "maglev", &all));
    let one = first(&by_source);
    assert!((0..20).all(|_| first(&by_source) == one));
    // Each connection has another port of its own.
    let by_both = Weir::from_text(&file("tcp", "{ policy: maglev, key: 5tuple }", &all));
    let several: std::collections::BTreeSet<_> = (0..60).map(|_| first(&by_both)).collect();
    assert!(several.len() > 1, "{several:?}");
}

#[test]
fn a_bound_sends_a_hot_key_on_and_counts_down_again() {
    let backends: Vec<_> = (0..3).map(|_| FakeBackend::answering(Answer::hang())).collect();
    let balance = "{ policy: maglev, key: path, bounded_load: 100% }";
    let weir = Weir::from_text(&file("http", balance, &addresses(&backends)));
    let clients: Vec<_> = (0..9)
        .map(|number| {
            let mut client = RawClient::connect(weir.address());
            client.send("GET /hot HTTP/1.1\r\nHost: a.test\r\n\r\n");
            let came = || backends.iter().map(|backend| backend.requests().len()).sum::<usize>();
            wait_until("the request has come through", || came() == number + 1);
            client
        })
        .collect();
    let counts: Vec<_> = backends.iter().map(|backend| backend.requests().len()).collect();
    assert_eq!(counts, [3, 3, 3]);
    clients.into_iter().for_each(RawClient::reset);
    let status = &weir.app().snapshot().pools[0].status;
    wait_until("nothing is in flight", || status.in_flight.load(Ordering::Relaxed) == 0);
}

#[test]
fn ewma_asks_one_that_fails_fast_less_and_leaves_out_nobody() {
    let slow = FakeBackend::answering(Answer::ok("slow").slowly(Duration::from_millis(2)));
    let busy = Answer::bytes("HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n");
    let backends = [slow, FakeBackend::answering(busy), FakeBackend::echo(), FakeBackend::echo()];
    let weir = Weir::from_text(&file("http", "ewma", &addresses(&backends)));
    let mut client = RawClient::connect(weir.address());
    for _ in 0..400 {
        client.get("/");
    }
    let counts: Vec<_> = backends.iter().map(|backend| backend.requests().len()).collect();
    // The fair share is 100. However slow, and however broken, each keeps a quarter of it; the one that fails keeps no more
    // than that and what it took to find out.
    assert!(counts.iter().all(|count| *count >= 25), "{counts:?}");
    assert!(counts[1] < 60, "{counts:?}");
}

#[test]
fn round_robin_goes_on_over_a_reload() {
    let backends = backends(4);
    let text = file("http", "round_robin", &addresses(&backends)).replace("workers: 2", "workers: 1");
    let weir = Weir::from_text(&text);
    let mut client = RawClient::connect(weir.address());
    let mut counts = [0; 4];
    for round in 0..12 {
        let answered = client.get("/").text();
        counts[answered[1..].parse::<usize>().unwrap()] += 1;
        weir.app().reload_text(&format!("{text}    connect_timeout: {}s\n", round + 3)).unwrap();
    }
    assert_eq!(counts, [3; 4]);
}
