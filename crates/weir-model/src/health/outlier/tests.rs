//! Every rule of outlier detection on a virtual clock, for pools of one to five backends.

use proptest::prelude::*;

use super::*;
use crate::{
    balance::EligibleSet,
    draft::{BackendDraft, Draft, ListenerDraft, OutlierDraft, PoolDraft},
    health::Fact,
    listener::Protocol,
    pool::Pool,
    problem::{Located, Span},
    snapshot::compile,
    status::{FULL_SHARE, Health, Registry, State},
    time::Moment,
};

const START: Moment = Moment(1_000_000);

fn located<T>(value: T) -> Located<T> {
    Located::new(value, Span::default())
}

/// A pool of so many backends; `max_ejected` in percent.
fn pool(backends: usize, max_ejected: u32, slow_start: Millis) -> Pool {
    let backend = |number| BackendDraft {
        address: located(format!("10.0.0.{}:80", number + 1)),
        ..BackendDraft::default()
    };
    let outlier =
        OutlierDraft { max_ejected: Some(located(max_ejected * 10_000)), ..OutlierDraft::default() };
    let draft = PoolDraft {
        name: located("app".to_owned()),
        backends: (0..backends).map(backend).collect(),
        outlier: Some(located(outlier)),
        slow_start: Some(located(slow_start)),
        ..PoolDraft::default()
    };
    let web = ListenerDraft {
        name: located("web".to_owned()),
        binds: vec![located("127.0.0.1:80".to_owned())],
        protocol: Some(located(Protocol::Http)),
        pool: Some(located("app".to_owned())),
        ..ListenerDraft::default()
    };
    let draft = Draft { listeners: vec![web], pools: vec![draft], ..Draft::default() };
    let (snapshot, _) = compile::compile(&draft, 1, &mut Registry::new(2)).unwrap();
    (*snapshot.pools[0]).clone()
}

#[test]
fn how_many_may_be_out() {
    let table = [
        (1, [0, 0, 0, 0, 0]),
        (2, [1, 1, 1, 1, 1]),
        (3, [1, 1, 1, 2, 2]),
        (4, [1, 1, 2, 2, 3]),
        (5, [1, 1, 2, 3, 4]),
    ];
    for (backends, expected) in table {
        for (share, expected) in [10, 34, 50, 67, 100].into_iter().zip(expected) {
            let pool = pool(backends, share, Millis(0));
            assert_eq!(pool.most_ejected(), Some(expected), "{backends} backends, {share}%");
            // All of them fail, in every order that a rotation gives.
            for first in 0..backends {
                let pool = self::pool(backends, share, Millis(0));
                let out = (0..backends)
                    .filter(|turn| pool.eject((first + turn) % backends, "bad", START).is_ok())
                    .count();
                assert_eq!(out, expected, "{backends} backends, {share}%, the {first}. first");
                assert_eq!(EligibleSet::of(&pool).len(), backends - expected);
            }
        }
    }
    assert_eq!(Outlier::default().most_ejected(0), 0);
    assert_eq!(Outlier::default().most_ejected(1000), 500);
}

#[test]
fn the_last_one_that_takes_traffic_stays() {
    let pool = pool(3, 100, Millis(0));
    pool.backends[0].status.apply(Fact::Checked(Health::Down, "connection refused"), START);
    pool.backends[1].order(Some(State::Draining), None, START);
    assert_eq!(pool.eject(2, "bad", START), Err(Refused::Last));
    assert_eq!(pool.eject(0, "bad", START), Err(Refused::NotUp));
    pool.backends[1].order(Some(State::Active), Some(0), START);
    assert_eq!(pool.eject(2, "bad", START), Err(Refused::Last), "one without weight takes nothing");
    pool.backends[1].order(None, Some(1), START);
    assert_eq!(pool.eject(2, "bad", START), Ok(Ejected { length: Millis::secs(30) }));
    assert_eq!(pool.eject(1, "bad", START), Err(Refused::Last));
}

#[test]
fn those_that_drain_do_not_count() {
    let pool = pool(4, 50, Millis(0));
    pool.backends[3].order(Some(State::Disabled), None, START);
    assert_eq!(pool.most_ejected(), Some(1), "half of three");
    assert!(pool.eject(0, "bad", START).is_ok());
    assert_eq!(pool.eject(1, "bad", START), Err(Refused::Most { ejected: 1, of: 3 }));
}

#[test]
fn which_statuses_are_errors() {
    let errors: Vec<_> = (0..=999).filter(|status| Outlier::is_error(*status)).collect();
    let expected: Vec<_> = (500..=999).filter(|status| ![501, 505].contains(status)).collect();
    assert_eq!(errors, expected);
}

/// Judges one request, as one of two workers.
fn see(pool: &Pool, worker: usize, backend: usize, well: bool, now: Moment) -> Option<Verdict> {
    let outlier = pool.outlier.as_ref().unwrap();
    let status = &pool.backends[backend].status;
    let own = status.shards.of(worker).faults();
    if well {
        own.well(outlier, now);
        return None;
    }
    let all = status.shards.iter().filter_map(|shard| shard.seen_faults());
    let ejections = status.ejections.load(std::sync::atomic::Ordering::Relaxed);
    own.wrong(outlier, all, (ejections, status.view().returned()), now)
}

#[test]
fn errors_in_a_row_are_counted_by_each_worker() {
    let mut pool = pool(2, 50, Millis(0));
    pool.outlier = Some(Outlier { error_rate: None, ..Outlier::default() });
    let wrong = |worker, at| see(&pool, worker, 0, false, START + Millis(at));
    for _ in 0..3 {
        assert_eq!([wrong(0, 0), wrong(0, 1), wrong(0, 2), wrong(0, 3)], [None; 4]);
        see(&pool, 0, 0, true, START + Millis(4));
    }
    assert_eq!([wrong(1, 5), wrong(1, 6), wrong(1, 7), wrong(1, 8)], [None; 4], "the other has its own row");
    assert_eq!(wrong(1, 9), Some(Verdict::Row(5)));
    assert_eq!(wrong(1, 10), Some(Verdict::Row(6)), "until it is ejected or something goes well");
}

#[test]
fn the_rate_is_judged_over_all_workers_from_twenty_requests_on() {
    let pool = pool(2, 50, Millis(0));
    // One of two fails, never two in a row.
    let mut judged = Vec::new();
    for turn in 0..20u64 {
        let (worker, now) = ((turn / 2 % 2) as usize, START + Millis(turn * 10));
        judged.extend(see(&pool, worker, 0, turn % 2 == 0, now).map(|verdict| (turn, verdict)));
    }
    assert_eq!(judged, [(19, Verdict::Rate { errors: 10, requests: 20 })]);
    // The same without failures enough.
    let pool = self::pool(2, 50, Millis(0));
    let judged = (0..3000u64).filter_map(|turn| {
        let now = START + Millis(turn * 10);
        see(&pool, (turn % 2) as usize, 0, turn % 5 > 1, now)
    });
    assert_eq!(judged.count(), 0, "two of five are below a half");
}

#[test]
fn the_window_slides() {
    let mut pool = pool(2, 50, Millis(0));
    pool.outlier = Some(Outlier { consecutive_errors: None, ..Outlier::default() });
    let at = |millis| START + Millis(millis);
    for turn in 0..100 {
        see(&pool, 0, 0, true, at(turn));
    }
    // While the good ones are in the window, 40 bad ones of 140 are few; when they have left it, they are all.
    let bad = |from: u64| -> Vec<Verdict> {
        (0..40).filter_map(|turn| see(&pool, (turn % 4 / 2) as usize, 0, false, at(from + turn))).collect()
    };
    let rates = |verdicts: Vec<Verdict>| {
        verdicts.into_iter().filter(|verdict| matches!(verdict, Verdict::Rate { .. })).count()
    };
    assert_eq!(rates(bad(5000)), 0);
    assert!(rates(bad(10_900)) > 0);
    // And nothing is left of any of it after a long silence.
    assert_eq!(rates((0..4).filter_map(|turn| see(&pool, 1, 0, false, at(100_000 + turn))).collect()), 0);
}

#[test]
fn what_was_seen_before_an_ejection_says_nothing_after_it() {
    let pool = pool(2, 50, Millis(0));
    let at = |millis| START + Millis(millis);
    for turn in 0..4 {
        see(&pool, 1, 0, false, at(turn));
    }
    for turn in 0..40 {
        see(&pool, 0, 0, turn % 2 == 0, at(10 + turn));
    }
    pool.eject(0, "bad", at(100)).unwrap();
    pool.backends[0].status.apply(Fact::Returned("an operator took it back"), at(1500));
    // Four errors of the other worker and forty requests of this one are forgotten.
    assert_eq!(see(&pool, 1, 0, false, at(1600)), None);
    assert_eq!(see(&pool, 0, 0, false, at(1700)), None);
}

#[test]
fn a_window_that_a_reload_changed_begins_anew() {
    let mut pool = pool(2, 50, Millis(0));
    for turn in 0..18 {
        see(&pool, 0, 0, turn % 2 == 0, START + Millis(turn));
    }
    pool.outlier = Some(Outlier { window: Millis(3), consecutive_errors: None, ..Outlier::default() });
    for turn in 0..19 {
        assert_eq!(see(&pool, 0, 0, false, START + Millis(20)), None, "{turn}");
    }
    let verdict = see(&pool, 0, 0, false, START + Millis(20));
    assert_eq!(verdict, Some(Verdict::Rate { errors: 20, requests: 20 }));
}

/// Something that happens to a pool.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A request to this backend, seen by one of two workers, went so.
    Request(usize, usize, bool),
    /// A check of it changed its mind.
    Check(usize, bool),
    Operator(usize, State),
    /// Time passes, in milliseconds.
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let states =
        prop_oneof![Just(State::Active), Just(State::Active), Just(State::Draining), Just(State::Disabled)];
    prop_oneof![
        20 => (0..5usize, 0..2usize, prop::bool::weighted(0.3)).prop_map(|(b, w, well)| Step::Request(b, w, well)),
        2 => (0..5usize, any::<bool>()).prop_map(|(b, passed)| Step::Check(b, passed)),
        1 => (0..5usize, states).prop_map(|(b, state)| Step::Operator(b, state)),
        6 => (0..15_000u64).prop_map(Step::Wait),
    ]
}

/// What the control loop does as time passes, every tenth of a second.
fn wait(pool: &Pool, now: &mut Moment, length: u64) {
    let end = *now + Millis(length);
    while *now < end {
        *now = (*now + Millis(100)).min(end);
        pool.ramp(*now);
        for backend in 0..pool.backends.len() {
            pool.readmit(backend, *now);
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_a_pool_keeps_its_promises(
        size in 1..=5usize,
        max_ejected in 1..=100u32,
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let pool = pool(size, max_ejected, Millis::secs(10));
        let mut now = START;
        wait(&pool, &mut now, 100);
        for step in steps {
            let serving = EligibleSet::of(&pool).len();
            match step {
                Step::Request(backend, worker, well) => {
                    let backend = backend % size;
                    if pool.backends[backend].is_eligible()
                        && see(&pool, worker, backend, well, now).is_some()
                        && pool.eject(backend, "bad", now).is_ok()
                    {
                        prop_assert!(serving > 1, "the last one is never ejected");
                        prop_assert!(pool.ejected() <= pool.most_ejected().unwrap_or(0));
                        prop_assert_eq!(EligibleSet::of(&pool).len(), serving - 1);
                        let until = pool.backends[backend].status.ejected_until().unwrap();
                        let length = until.since(now).0;
                        prop_assert!(length.is_multiple_of(30_000) && (30_000..=300_000).contains(&length), "{}", length);
                    }
                }
                Step::Check(backend, passed) => {
                    let to = if passed { Health::Up } else { Health::Down };
                    pool.backends[backend % size].status.apply(Fact::Checked(to, "checked"), now);
                }
                Step::Operator(backend, state) => pool.backends[backend % size].order(Some(state), None, now),
                Step::Wait(length) => wait(&pool, &mut now, length),
            }
            for backend in &pool.backends {
                let status = &backend.status;
                // The table of the view, from its parts.
                let expected = match (status.view().checked(), status.ejected_until()) {
                    (Health::Up, Some(_)) => Health::Ejected,
                    (checked, _) => checked,
                };
                prop_assert_eq!(status.health(), expected);
                // Nobody is forgotten outside.
                if let Some(until) = status.ejected_until() {
                    prop_assert!(until > now || until.since(now).0 == 0);
                }
                let takes = backend.state_now() == State::Active && status.health() == Health::Up;
                prop_assert_eq!(backend.is_eligible(), takes);
            }
        }
        // With nothing but good behaviour everybody who may work does, with all of its weight.
        for backend in &pool.backends {
            backend.status.apply(Fact::Checked(Health::Up, "checked"), now);
        }
        wait(&pool, &mut now, 320_000);
        prop_assert_eq!(pool.ejected(), 0);
        let active = pool.backends.iter().filter(|backend| backend.state_now() == State::Active);
        prop_assert!(active.clone().all(|backend| backend.status.share() == FULL_SHARE));
        prop_assert_eq!(EligibleSet::of(&pool).len(), active.count());
    }
}

/// The weights that the balancer works with, by backend.
fn weights(pool: &Pool) -> Vec<(usize, u32)> {
    EligibleSet::of(pool).members().iter().map(|member| (member.backend, member.weight)).collect()
}

#[test]
fn all_that_begin_together_share_alike_and_one_alone_has_everything() {
    for size in 1..=5 {
        let pool = pool(size, 50, Millis::secs(10));
        let mut now = START;
        for _ in 0..200 {
            assert!(weights(&pool).iter().all(|(_, weight)| *weight == 1), "{:?}", weights(&pool));
            wait(&pool, &mut now, 100);
        }
    }
}

#[test]
fn one_that_joins_begins_with_a_tenth() {
    for size in 2..=5 {
        let pool = pool(size, 50, Millis::secs(10));
        let mut now = START;
        let joiner = &pool.backends[size - 1];
        let leave: [&dyn Fn(Moment); 3] = [
            &|now| {
                let shift = joiner.status.apply(Fact::Checked(Health::Down, "connection refused"), now);
                assert!(shift.is_some());
            },
            &|now| assert!(pool.eject(size - 1, "bad", now).is_ok()),
            &|now| joiner.order(Some(State::Draining), None, now),
        ];
        for (leave, how) in leave.into_iter().zip(["down", "ejected", "drained"]) {
            wait(&pool, &mut now, 20_000);
            assert!(weights(&pool).iter().all(|(_, weight)| *weight == 1), "{how}");
            leave(now);
            assert_eq!(weights(&pool).len(), size - 1, "{how}");
            wait(&pool, &mut now, 1000);
            joiner.status.apply(Fact::Returned("over"), now);
            joiner.status.apply(Fact::Checked(Health::Up, "answered 200"), now);
            joiner.order(Some(State::Active), None, now);
            let mut seen = Vec::new();
            for _ in 0..4 {
                let weights = weights(&pool);
                assert!(weights[..size - 1].iter().all(|(_, weight)| *weight == weights[0].1));
                seen.push(weights[size - 1].1 * 1000 / weights[0].1);
                wait(&pool, &mut now, 4000);
            }
            assert_eq!(seen[0], 100, "{how}");
            assert!((440..=460).contains(&seen[1]) && (800..=830).contains(&seen[2]), "{how}: {seen:?}");
            assert_eq!(seen[3], 1000, "{how}");
        }
    }
}
