//! `first` picks what looking at one after the other would pick, whatever its memory of full backends says.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    thread,
};

use proptest::prelude::*;

use super::*;
use crate::{
    balance::tier::tests::pool,
    pool::Pool,
    status::{Health, Occupancy},
};

/// A pool whose backends may have two in flight each.
fn limited(backends: usize) -> Pool {
    let mut pool = pool(backends);
    pool.backends.iter_mut().for_each(|backend| backend.max_connections = 2);
    pool.occupancy = Some(Arc::new(Occupancy::new(backends)));
    pool.seat();
    pool
}

/// What a worker keeps.
struct Chooser {
    set: EligibleSet,
    balancer: Balancer,
}

impl Chooser {
    fn new(pool: &Pool) -> Self {
        let mut balancer = Balancer::new(&Policy::First.into(), None, 0);
        let set = EligibleSet::of(pool);
        balancer.prepare(&set);
        Self { set, balancer }
    }

    fn pick(&mut self, pool: &Pool, tried: &[usize]) -> Option<usize> {
        if self.set.epoch() != pool.status.epoch.load(SeqCst) {
            self.set.rebuild(pool);
            self.balancer.prepare(&self.set);
        }
        let ask = Ask { tried, ..Ask::default() };
        let index = self.balancer.pick(&self.set, &ask, pool, &mut Seed::new(1))?;
        Some(self.set.members()[index].backend)
    }
}

/// The rule itself.
fn naive(pool: &Pool, tried: &[usize]) -> Option<usize> {
    let free = |backend: usize| !tried.contains(&backend) && !pool.backends[backend].is_full();
    EligibleSet::of(pool).members().iter().map(|member| member.backend).find(|backend| free(*backend))
}

#[derive(Clone, Debug)]
enum Step {
    /// A worker places so many.
    Place(usize, usize),
    /// One of those in flight at this backend, or at the next one that has any, ends.
    End(usize),
    /// Health changes, or is said again.
    Health(usize, bool),
    /// A worker asks for a retry.
    Retry(usize, Vec<usize>),
}

fn step(backends: usize) -> impl Strategy<Value = Step> {
    let backend = 0..backends;
    prop_oneof![
        4 => (0..2usize, 1..20usize).prop_map(|(worker, count)| Step::Place(worker, count)),
        4 => backend.clone().prop_map(Step::End),
        1 => (backend.clone(), any::<bool>()).prop_map(|(backend, up)| Step::Health(backend, up)),
        1 => (0..2usize, proptest::collection::vec(backend, 0..3)).prop_map(|(worker, tried)| Step::Retry(worker, tried)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_first_with_room_is_picked(
        steps in (1..200usize).prop_flat_map(|backends| {
            (Just(backends), proptest::collection::vec(step(backends), 1..200))
        }),
    ) {
        let (backends, steps) = steps;
        let pool = limited(backends);
        let mut workers = [Chooser::new(&pool), Chooser::new(&pool)];
        for step in steps {
            match step {
                Step::Place(worker, count) => for _ in 0..count {
                    let expected = naive(&pool, &[]);
                    prop_assert_eq!(workers[worker].pick(&pool, &[]), expected);
                    let Some(backend) = expected else { break };
                    pool.backends[backend].status.active.fetch_add(1, SeqCst);
                },
                Step::End(from) => {
                    let mut order = (from..backends).chain(0..from);
                    let busy = order.find(|backend| pool.backends[*backend].status.active.load(SeqCst) > 0);
                    if let Some(backend) = busy {
                        pool.backends[backend].status.release();
                    }
                }
                Step::Health(backend, up) => {
                    let health = if up { Health::Up } else { Health::Down };
                    pool.backends[backend].status.set_health(health, "a test says so", Moment(1));
                    pool.status.touch();
                }
                Step::Retry(worker, tried) => {
                    prop_assert_eq!(workers[worker].pick(&pool, &tried), naive(&pool, &tried));
                }
            }
        }
    }
}

#[test]
fn what_threads_do_to_each_other_leaves_nothing_shut_that_has_room() {
    const BACKENDS: usize = 70 * 64;
    let pool = limited(BACKENDS);
    // Only the last ones have room, so that workers meet there.
    let crowd = BACKENDS - 20;
    pool.backends[..crowd].iter().for_each(|backend| backend.status.active.store(2, SeqCst));
    thread::scope(|scope| {
        for worker in 0..4u64 {
            let pool = &pool;
            scope.spawn(move || {
                let (mut chooser, mut seed) = (Chooser::new(pool), Seed::new(worker));
                let mut held = Vec::new();
                for _ in 0..20_000 {
                    if seed.below(2) == 0
                        && let Some(backend) = chooser.pick(pool, &[])
                    {
                        pool.backends[backend].status.active.fetch_add(1, SeqCst);
                        held.push(backend);
                    } else if !held.is_empty() {
                        let ended = seed.below(held.len() as u64) as usize;
                        pool.backends[held.swap_remove(ended)].status.release();
                    }
                    if seed.below(1000) == 0 {
                        pool.status.touch();
                    }
                }
                held.into_iter().for_each(|backend| pool.backends[backend].status.release());
            });
        }
    });
    let mut chooser = Chooser::new(&pool);
    // Without a rebuild: what is known now has to be right.
    let occupancy = pool.occupancy.as_ref().expect("it has one");
    for backend in crowd..BACKENDS {
        assert_eq!(occupancy.open_from(backend), Some(backend), "it has room");
    }
    assert_eq!(chooser.pick(&pool, &[]), Some(crowd));
}

#[test]
fn who_holds_the_pool_as_it_was_still_finds_room() {
    let old = limited(130);
    let mut worker = Chooser::new(&old);
    old.backends.iter().for_each(|backend| backend.status.active.store(2, SeqCst));
    assert_eq!(worker.pick(&old, &[]), None);
    // A reload with another limit: releases are told to the new pool only.
    let mut new = old.clone();
    new.occupancy = Some(Arc::new(Occupancy::new(130)));
    new.backends.iter_mut().for_each(|backend| backend.max_connections = 1);
    old.occupancy.as_ref().expect("it has one").retire();
    new.seat();
    old.backends[7].status.release();
    assert_eq!((worker.pick(&old, &[]), Chooser::new(&new).pick(&new, &[])), (Some(7), None));
    old.backends[7].status.release();
    assert_eq!((worker.pick(&old, &[]), Chooser::new(&new).pick(&new, &[])), (Some(7), Some(7)));
}

#[test]
fn places_beyond_the_last_are_none() {
    for places in [0, 1, 63, 64, 65, 4095, 4096, 4097, 10_000] {
        let occupancy = Occupancy::new(places);
        assert_eq!(occupancy.open_from(0), (places > 0).then_some(0));
        assert_eq!(occupancy.open_from(places), None);
        (0..places.div_ceil(64)).for_each(|word| occupancy.shut(word, u64::MAX));
        assert_eq!(occupancy.open_from(0), None);
        occupancy.open_all();
        let last = places.checked_sub(1);
        assert_eq!(last.and_then(|last| occupancy.open_from(last)), last);
        assert_eq!(occupancy.open_from(places), None);
    }
}
