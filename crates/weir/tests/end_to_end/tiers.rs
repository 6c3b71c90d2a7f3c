//! Who carries the traffic of a pool: primaries, backups, all of them in panic, the own zone first.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use weir_model::{status::State, time::Moment};
use weir_testkit::{Answer, FakeBackend, RawClient, wait_until};

use crate::support::Weir;

/// A backend that answers with its name, or fails its checks.
struct Named {
    backend: FakeBackend,
    sick: Arc<AtomicBool>,
}

fn named(name: &'static str) -> Named {
    let sick = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&sick);
    // Traffic is answered well all the same: what is tested is who gets it.
    let backend = FakeBackend::answering_each(move |request| match request.target() {
        "/healthz" if now.load(Ordering::SeqCst) => {
            Answer::bytes("HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n")
        }
        _ => Answer::ok(name),
    });
    Named { backend, sick }
}

impl Named {
    fn address(&self) -> SocketAddr {
        self.backend.address()
    }

    fn set_sick(&self, sick: bool) {
        self.sick.store(sick, Ordering::SeqCst);
    }
}

const CHECKED: &str = "health: { http: /healthz, interval: 30ms, timeout: 2s, fall: 1, rise: 1 }";

/// One pool with these lines, and backends as they are written.
fn file(top: &str, pool: &[&str], backends: &[String]) -> String {
    let pool: String = pool.iter().map(|line| format!("    {line}\n")).collect();
    let backends: String = backends.iter().map(|backend| format!("      - {backend}\n")).collect();
    format!(
        "workers: 1\n{top}\nlisteners: {{ web: {{ bind: '127.0.0.1:0', protocol: http, pool: app }} }}\n\
         pools:\n  app:\n{pool}    backends:\n{backends}"
    )
}

fn with(backend: &Named, keys: &str) -> String {
    format!("{{ address: '{}', {keys} }}", backend.address())
}

/// Who answers, over a few requests.
fn who(weir: &Weir) -> BTreeSet<String> {
    let mut client = RawClient::connect(weir.address());
    (0..12).map(|_| client.get("/").text()).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn backups_wait_until_no_primary_is_left() {
    let (one, two, spare, other) = (named("one"), named("two"), named("spare"), named("other"));
    let backends = [
        with(&one, "weight: 1"),
        with(&spare, "backup: true"),
        with(&two, "weight: 1"),
        with(&other, "backup: true"),
    ];
    let weir = Weir::from_text(&file("", &[CHECKED], &backends));
    wait_until("all are checked", || who(&weir) == names(&["one", "two"]));
    one.set_sick(true);
    wait_until("one primary is left", || who(&weir) == names(&["two"]));
    two.set_sick(true);
    wait_until("the backups take over, all of them", || who(&weir) == names(&["spare", "other"]));
    one.set_sick(false);
    wait_until("the first primary that is back takes everything", || who(&weir) == names(&["one"]));
}

#[test]
fn in_panic_all_are_used_but_those_that_drain() {
    let (one, two, away) = (named("one"), named("two"), named("away"));
    let backends = [with(&one, "name: one"), with(&two, "name: two"), with(&away, "state: draining")];
    let weir = Weir::from_text(&file("", &[CHECKED, "panic: 50%"], &backends));
    wait_until("both are up", || who(&weir) == names(&["one", "two"]));
    // Half of them is not less than half of them.
    one.set_sick(true);
    wait_until("one is down", || who(&weir) == names(&["two"]));
    two.set_sick(true);
    wait_until("none is healthy, and both are used", || who(&weir) == names(&["one", "two"]));
    assert!(away.backend.requests().iter().all(|request| request.target() == "/healthz"));
    one.set_sick(false);
    wait_until("half of them is enough", || who(&weir) == names(&["one"]));
}

#[test]
fn the_file_says_who_drains_and_operators_do_until_it_changes() {
    let (one, two) = (named("one"), named("two"));
    let says = |state: &str| {
        file("", &[], &[with(&one, &format!("name: one, state: {state}")), with(&two, "name: two")])
    };
    let weir = Weir::from_text(&says("draining"));
    assert_eq!(who(&weir), names(&["two"]));
    weir.app().reload_text(&says("active")).unwrap();
    assert_eq!(who(&weir), names(&["one", "two"]));
    weir.app().reload_text(&says("disabled")).unwrap();
    assert_eq!(who(&weir), names(&["two"]));

    // An operator overrules the file, over reloads that say the same.
    let order = |state: State| {
        let snapshot = weir.app().snapshot();
        snapshot.pools[0].backends[0].order(Some(state), None, Moment(1));
        snapshot.pools[0].status.touch();
    };
    order(State::Active);
    assert_eq!(who(&weir), names(&["one", "two"]));
    weir.app().reload_text(&says("disabled")).unwrap();
    assert_eq!(who(&weir), names(&["one", "two"]));
    // The file says something else: that counts.
    weir.app().reload_text(&says("draining")).unwrap();
    assert_eq!(who(&weir), names(&["two"]));
    // And the order does not come back with the file.
    weir.app().reload_text(&says("disabled")).unwrap();
    assert_eq!(who(&weir), names(&["two"]));
}

#[test]
fn where_everybody_drains_the_answer_is_503() {
    let one = named("one");
    let weir = Weir::from_text(&file("debug_headers: true", &[], &[with(&one, "state: draining")]));
    let answer = RawClient::connect(weir.address()).get("/");
    assert_eq!(answer.status(), 503);
    assert!(answer.to_string().contains("weir-error: no_healthy_backend"), "{answer}");
    assert_eq!(one.backend.byte_count(), 0);
}

#[test]
fn the_own_zone_comes_first_and_overflows() {
    let (near, near_too, far, far_too) = (named("near"), named("near too"), named("far"), named("far too"));
    let backends = [
        with(&near, "zone: a"),
        with(&near_too, "zone: a"),
        with(&far, "zone: b"),
        with(&far_too, "zone: b"),
    ];
    let text = file("zone: a", &[CHECKED, "zone_aware: prefer"], &backends);
    let weir = Weir::from_text(&text);
    wait_until("all are checked", || who(&weir) == names(&["near", "near too"]));
    near.set_sick(true);
    wait_until("the other zone helps", || who(&weir) == names(&["near too", "far", "far too"]));
    // One of three carries a third of everything, which is two thirds of what arrives here.
    let mut client = RawClient::connect(weir.address());
    let stayed = (0..300).filter(|_| client.get("/").text() == "near too").count();
    assert!((195..=205).contains(&stayed), "{stayed} of 300");
    near_too.set_sick(true);
    wait_until("it takes all of it", || who(&weir) == names(&["far", "far too"]));
    // The same backends seen from there.
    weir.app().reload_text(&text.replace("zone: a\n", "zone: b\n")).unwrap();
    near.set_sick(false);
    near_too.set_sick(false);
    wait_until("it keeps to itself", || who(&weir) == names(&["far", "far too"]));
}
