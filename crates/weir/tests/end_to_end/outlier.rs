//! Backends that live traffic takes out: bad from the start, bad under load, and back again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use weir_model::status::Health;
use weir_testkit::{Answer, BlackHole, FakeBackend, RawClient, Refusing, wait_until};

use crate::support::{Setup, Weir};

/// What a backend does just now.
const WELL: usize = 0;
const ZOMBIE: usize = 500;
const DEADLOCK: usize = 1;
const SHORT: usize = 2;
const BAD_CHUNK: usize = 3;
const CLOSES: usize = 4;

/// A backend that answers with its name, or in the way that the test sets.
fn moody(name: &'static str) -> (FakeBackend, Arc<AtomicUsize>) {
    let mood = Arc::new(AtomicUsize::new(WELL));
    let now = Arc::clone(&mood);
    let backend = FakeBackend::answering_each(move |_| match now.load(Ordering::SeqCst) {
        WELL => Answer::ok(name),
        DEADLOCK => Answer::hang(),
        SHORT => Answer::bytes("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort").then_close(),
        BAD_CHUNK => {
            Answer::bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
                .slowly(Duration::from_micros(1))
        }
        CLOSES => Answer::close(),
        status => Answer::bytes(format!("HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno")),
    });
    (backend, mood)
}

fn backends(good: &FakeBackend, bad: &FakeBackend) -> Setup {
    Setup::http(&[good.address(), bad.address()])
}

fn health(weir: &Weir, backend: usize) -> Health {
    weir.app().snapshot().pools[0].backends[backend].status.health()
}

/// Waits until it is ejected: a client may have its answer a little before that is counted.
#[track_caller]
fn ejected(weir: &Weir, backend: usize) {
    wait_until("it is ejected", || health(weir, backend) == Health::Ejected);
}

fn reason(weir: &Weir, backend: usize) -> String {
    weir.app().snapshot().pools[0].backends[backend].status.reason().to_string()
}

/// Asks so often, each time over a connection of its own; how many were answered with a whole 200.
fn well_of(weir: &Weir, count: usize) -> usize {
    let one = || {
        let mut client = RawClient::connect(weir.address());
        let answer = client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response("GET");
        answer.is_some_and(|answer| answer.status() == 200 && answer.complete)
    };
    (0..count).filter(|_| one()).count()
}

#[test]
fn bad_from_the_start_with_checks_costs_no_request() {
    for mood in [ZOMBIE, DEADLOCK] {
        let ((good, _), (bad, now)) = (moody("good"), moody("bad"));
        now.store(mood, Ordering::SeqCst);
        let weir = backends(&good, &bad)
            .pool("health: { http: /healthz, interval: 50ms, timeout: 300ms }")
            .pool("limits: { queue_timeout: 10s }")
            .start();
        assert_eq!(well_of(&weir, 50), 50);
        assert!(bad.requests().iter().all(|request| request.target() == "/healthz"));
    }
}

#[test]
fn each_way_to_fail_ejects_after_so_many_in_a_row_and_none_fails_after_that() {
    for (mood, said) in [
        (ZOMBIE, "answered 500"),
        (503, "answered 503"),
        (DEADLOCK, "response_timeout"),
        (SHORT, "ended before it was complete"),
        (BAD_CHUNK, "malformed"),
        (CLOSES, "closed the connection without an answer"),
    ] {
        let ((good, _), (bad, now)) = (moody("good"), moody("bad"));
        let weir = backends(&good, &bad)
            .pool("outlier: { consecutive_errors: 3, error_rate: none, eject: 1h }")
            .pool("response_timeout: 200ms")
            .route("retry: { retries: 0 }")
            .start();
        assert_eq!(well_of(&weir, 10), 10);
        now.store(mood, Ordering::SeqCst);
        let mut failed = 0;
        wait_until("it is ejected", || {
            if health(&weir, 1) == Health::Ejected {
                return true;
            }
            failed += 1 - well_of(&weir, 1);
            false
        });
        // A client may have its answer a little before that is counted.
        assert!((3..=4).contains(&failed), "{mood}: {failed} failed");
        let reason = reason(&weir, 1);
        assert!(reason.starts_with("3 errors in a row, last: ") && reason.contains(said), "{reason}");
        bad.forget();
        assert_eq!(well_of(&weir, 50), 50, "{mood}");
        assert!(bad.requests().is_empty(), "{mood}");
    }
}

#[test]
fn a_backend_that_refuses_connections_is_left_alone() {
    let (good, _) = moody("good");
    let refusing = Refusing::new();
    let weir = Setup::http(&[good.address(), refusing.address()]).pool("outlier: { eject: 1h }").start();
    // Another one is asked each time: nobody notices.
    assert_eq!(well_of(&weir, 20), 20);
    ejected(&weir, 1);
    assert!(reason(&weir, 1).contains("refused the connection"), "{}", reason(&weir, 1));
    let status = weir.app().snapshot().pools[0].backends[1].status.clone();
    let errors = status.shards.sum(|shard| shard.errors.value());
    assert_eq!(well_of(&weir, 50), 50);
    assert_eq!((errors, status.shards.sum(|shard| shard.errors.value())), (5, 5));
}

#[test]
fn tcp_connections_that_are_refused_eject() {
    let good = FakeBackend::answering(Answer::ok("good"));
    let refusing = Refusing::new();
    let weir = Setup::tcp(&[good.address(), refusing.address()]).pool("outlier: { eject: 1h }").start();
    assert_eq!(well_of(&weir, 20), 20);
    ejected(&weir, 1);
}

#[test]
fn what_is_no_fault_of_the_backend_ejects_nobody() {
    let ((good, _), (other, now)) = (moody("good"), moody("other"));
    let weir = backends(&good, &other)
        .pool("outlier: { consecutive_errors: 1, error_rate: 1%, eject: 1h }")
        .pool("response_timeout: 20s")
        .start();
    // Clients that go away while they wait.
    now.store(DEADLOCK, Ordering::SeqCst);
    let hanging = || other.requests().len();
    for count in 1..=5 {
        wait_until("the one that hangs was asked", || {
            let mut client = RawClient::connect(weir.address());
            client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
            wait_until("somebody was asked", || hanging() >= count || !good.requests().is_empty());
            good.forget();
            client.reset();
            hanging() >= count
        });
    }
    // Statuses that are about the request.
    for status in [400, 404, 429, 501, 505] {
        now.store(status, Ordering::SeqCst);
        let answers: Vec<_> = (0..4).map(|_| RawClient::connect(weir.address()).get("/").status()).collect();
        assert!(answers.contains(&(status as u16)), "{answers:?}");
    }
    // Kept connections that the backend closes in between.
    now.store(WELL, Ordering::SeqCst);
    assert_eq!(well_of(&weir, 20), 20);
    assert_eq!((health(&weir, 0), health(&weir, 1)), (Health::Up, Health::Up), "{}", reason(&weir, 1));
}

#[test]
fn a_kept_connection_that_went_stale_is_no_fault() {
    // Every connection carries one request, and ends when the next one comes.
    let backend = || {
        FakeBackend::custom(|mut connection| {
            if connection.read_request().is_some() {
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                let _ = connection.read_request();
            }
        })
    };
    let (one, two) = (backend(), backend());
    let weir = backends(&one, &two).pool("outlier: { consecutive_errors: 1, eject: 1h }").start();
    let mut client = RawClient::connect(weir.address());
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!((health(&weir, 0), health(&weir, 1)), (Health::Up, Health::Up), "{}", reason(&weir, 1));
}

#[test]
fn the_rate_ejects_what_errors_in_a_row_do_not() {
    let count = Arc::new(AtomicUsize::new(0));
    let turn = Arc::clone(&count);
    // Two of three fail, never five in a row.
    let flaky = FakeBackend::answering_each(move |_| match turn.fetch_add(1, Ordering::SeqCst) % 3 {
        0 => Answer::ok("flaky"),
        _ => Answer::bytes("HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n"),
    });
    let (good, _) = moody("good");
    let weir = backends(&good, &flaky).pool("outlier: { window: 1m, eject: 1h }").start();
    wait_until("it is ejected", || {
        well_of(&weir, 2);
        health(&weir, 1) == Health::Ejected
    });
    let reason = reason(&weir, 1);
    assert!(reason.contains(" requests within 60s failed, last: answered 502"), "{reason}");
    assert_eq!(count.load(Ordering::SeqCst), 20, "not before twenty, and not after them");
}

#[test]
fn where_all_fail_the_last_one_stays() {
    let ((one, first), (two, second)) = (moody("one"), moody("two"));
    let weir = backends(&one, &two).pool("outlier: { max_ejected: 100%, eject: 1h }").start();
    first.store(ZOMBIE, Ordering::SeqCst);
    second.store(ZOMBIE, Ordering::SeqCst);
    let out = || [0, 1].into_iter().filter(|backend| health(&weir, *backend) == Health::Ejected).count();
    assert_eq!(well_of(&weir, 60), 0);
    assert_eq!(out(), 1);
    let mut client = RawClient::connect(weir.address());
    assert_eq!(client.get("/").status(), 500, "the backend's own answer, not weir's 503");
}

#[test]
fn one_that_is_well_again_returns() {
    let ((good, _), (bad, now)) = (moody("good"), moody("bad"));
    let weir = backends(&good, &bad).pool("outlier: { eject: 300ms }").start();
    now.store(ZOMBIE, Ordering::SeqCst);
    wait_until("it is ejected", || {
        well_of(&weir, 1);
        health(&weir, 1) == Health::Ejected
    });
    now.store(WELL, Ordering::SeqCst);
    wait_until("it is back", || health(&weir, 1) == Health::Up);
    assert_eq!(reason(&weir, 1), "its ejection is over");
    bad.forget();
    assert_eq!(well_of(&weir, 10), 10);
    assert!(!bad.requests().is_empty());
}

#[test]
fn a_time_out_of_the_route_counts_against_who_is_waited_for() {
    let ((good, _), (bad, now)) = (moody("good"), moody("bad"));
    let weir = backends(&good, &bad)
        .pool("outlier: { consecutive_errors: 2, eject: 1h }")
        .route("timeout: 300ms")
        .start();
    now.store(DEADLOCK, Ordering::SeqCst);
    assert_eq!(well_of(&weir, 4), 2);
    ejected(&weir, 1);
    assert!(reason(&weir, 1).contains("timeout of its route"), "{}", reason(&weir, 1));
    let status = weir.app().snapshot().pools[0].backends[1].status.clone();
    assert_eq!(status.shards.sum(|counters| counters.errors.value()), 2, "as `errors` as well");
}

#[test]
fn a_time_out_of_the_route_counts_against_who_accepts_no_connection() {
    let (good, _) = moody("good");
    let hole = BlackHole::new();
    let weir = Setup::http(&[good.address(), hole.address()])
        .pool("outlier: { consecutive_errors: 2, eject: 1h }")
        .pool("connect_timeout: 20s")
        .route("timeout: 300ms")
        .start();
    assert_eq!(well_of(&weir, 4), 2);
    ejected(&weir, 1);
    assert_eq!(well_of(&weir, 20), 20);
}

#[test]
fn two_workers_agree() {
    let ((good, _), (bad, now)) = (moody("good"), moody("bad"));
    let weir = Weir::from_text(&format!(
        "workers: 2\nlisteners: {{ web: {{ bind: '127.0.0.1:0', protocol: http, pool: app }} }}\npools:\n  app:\n    \
         backends: ['{}', '{}']\n    outlier: {{ eject: 1h }}\n",
        good.address(),
        bad.address()
    ));
    now.store(ZOMBIE, Ordering::SeqCst);
    // Five errors as each of them sees it, and not one more than that for both.
    wait_until("it is ejected", || {
        well_of(&weir, 1);
        health(&weir, 1) == Health::Ejected
    });
    assert!(bad.requests().len() <= 9, "{} requests failed", bad.requests().len());
    bad.forget();
    assert_eq!(well_of(&weir, 100), 100);
    assert!(bad.requests().is_empty());
}
