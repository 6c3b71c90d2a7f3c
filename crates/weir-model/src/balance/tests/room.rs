//! Whoever looks for room finds what looking at one member after the other would find, whatever the memory of full
//! backends says.

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
    seed: Seed,
}

impl Chooser {
    fn new(pool: &Pool, policy: Policy) -> Self {
        let named = pool.backends.iter().map(|backend| (backend.name.clone(), 1)).collect();
        let table = HashTable::new(policy, named).map(Arc::new);
        let mut balancer = Balancer::new(&policy.into(), table.as_ref(), 0);
        let set = EligibleSet::of(pool);
        balancer.prepare(&set);
        Self { set, balancer, seed: Seed::new(1) }
    }

    fn pick(&mut self, pool: &Pool, tried: &[usize]) -> Option<usize> {
        self.pick_by(pool, pool, tried)
    }

    fn pick_by(&mut self, pool: &Pool, loads: &impl Loads, tried: &[usize]) -> Option<usize> {
        if self.set.epoch() != pool.status.epoch.load(SeqCst) {
            self.set.rebuild(pool);
            self.balancer.prepare(&self.set);
        }
        let ask = Ask { tried, hash: self.seed.next(), ..Ask::default() };
        let index = self.balancer.pick(&self.set, &ask, loads, &mut self.seed)?;
        Some(self.set.members()[index].backend)
    }
}

/// A pool of which nobody remembers who is full.
struct Forgetful<'t>(&'t Pool);

impl Loads for Forgetful<'_> {
    fn active(&self, backend: usize) -> u32 {
        self.0.active(backend)
    }

    fn is_full(&self, backend: usize) -> bool {
        self.0.is_full(backend)
    }

    fn latency(&self, backend: usize, now: Moment) -> Option<f32> {
        self.0.latency(backend, now)
    }

    fn total(&self) -> u32 {
        self.0.total()
    }
}

/// A worker, and what it would be without that memory.
struct Twins(Chooser, Chooser);

impl Twins {
    fn new(pool: &Pool, policy: Policy) -> Self {
        Self(Chooser::new(pool, policy), Chooser::new(pool, policy))
    }

    /// What both of them pick, if it is the same.
    fn pick(&mut self, pool: &Pool, tried: &[usize]) -> Result<Option<usize>, TestCaseError> {
        let expected = self.1.pick_by(pool, &Forgetful(pool), tried);
        prop_assert_eq!(self.0.pick(pool, tried), expected);
        Ok(expected)
    }
}

/// The rule itself.
fn naive(pool: &Pool, tried: &[usize]) -> Vec<usize> {
    let free = |backend: &usize| !tried.contains(backend) && !pool.backends[*backend].is_full();
    EligibleSet::of(pool).members().iter().map(|member| member.backend).filter(free).collect()
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

/// Takes these steps with two workers of this policy; each pick is what the rule allows.
fn follow(policy: Policy, backends: usize, steps: &[Step]) -> Result<(), TestCaseError> {
    let pool = limited(backends);
    let mut workers = [Twins::new(&pool, policy), Twins::new(&pool, policy)];
    let mut pick = |worker: usize, tried: &[usize]| {
        let (free, picked) = (naive(&pool, tried), workers[worker].pick(&pool, tried)?);
        match picked {
            Some(picked) if policy == Policy::First => prop_assert_eq!(Some(&picked), free.first()),
            Some(picked) => prop_assert!(free.contains(&picked), "{picked} of {free:?}"),
            None => prop_assert!(free.is_empty(), "none of {free:?}"),
        }
        Ok(picked)
    };
    for step in steps {
        match step {
            Step::Place(worker, count) => {
                for _ in 0..*count {
                    let Some(backend) = pick(*worker, &[])? else { break };
                    pool.backends[backend].status.active.fetch_add(1, SeqCst);
                }
            }
            Step::End(from) => {
                let mut order = (*from..backends).chain(0..*from);
                let busy = order.find(|backend| pool.backends[*backend].status.active.load(SeqCst) > 0);
                if let Some(backend) = busy {
                    pool.backends[backend].status.release();
                }
            }
            Step::Health(backend, up) => {
                let health = if *up { Health::Up } else { Health::Down };
                pool.backends[*backend].status.set_health(health, "a test says so", Moment(1));
                pool.status.touch();
            }
            Step::Retry(worker, tried) => drop(pick(*worker, tried)?),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whoever_has_room_is_found(
        policy in proptest::sample::select(Policy::ALL.to_vec()),
        steps in (1..200usize).prop_flat_map(|backends| {
            // Many at once, so that few have room for most of the time.
            let full = (0..2usize).prop_map(move |worker| Step::Place(worker, backends * 2 - backends / 8));
            let begin = proptest::collection::vec(full, 0..2);
            (Just(backends), begin, proptest::collection::vec(step(backends), 1..200))
        }),
    ) {
        let (backends, begin, steps) = steps;
        follow(policy, backends, &[begin, steps].concat())?;
    }
}

#[test]
fn who_has_to_look_around_spreads_over_those_that_have_room() {
    const BACKENDS: usize = 640;
    // Too few for a policy to meet one by itself, at one distance from each other.
    let free: Vec<usize> = (3..BACKENDS).step_by(64).collect();
    for policy in Policy::ALL.into_iter().filter(|policy| *policy != Policy::First) {
        let pool = limited(BACKENDS);
        for (index, backend) in pool.backends.iter().enumerate() {
            backend.status.active.store(if free.contains(&index) { 0 } else { 2 }, SeqCst);
        }
        let mut chooser = Chooser::new(&pool, policy);
        let mut counts = vec![0u32; BACKENDS];
        (0..10_000).filter_map(|_| chooser.pick(&pool, &[])).for_each(|backend| counts[backend] += 1);
        assert_eq!(counts.iter().sum::<u32>(), 10_000, "{policy:?}");
        for index in &free {
            assert!(
                (500..2000).contains(&counts[*index]),
                "{policy:?}: {} of 10,000 for {index}",
                counts[*index]
            );
        }
    }
}

#[test]
fn where_full_ones_and_those_that_may_not_be_chosen_take_turns_they_are_passed_over_as_a_whole() {
    let pool = limited(10_000);
    for (index, backend) in pool.backends.iter().enumerate() {
        if index % 2 == 0 {
            backend.status.set_health(Health::Down, "a test says so", Moment(1));
        } else {
            backend.status.active.store(2, SeqCst);
        }
    }
    pool.status.touch();
    pool.backends[9_999].status.active.store(0, SeqCst);
    let occupancy = pool.occupancy.as_ref().expect("it has one");
    assert_eq!(Chooser::new(&pool, Policy::First).pick(&pool, &[]), Some(9_999));
    // From here on there is one word to look at, and it is found from above. Nobody looks before the first member.
    assert_eq!(occupancy.open_from(1), Some(9_999));
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
                let (mut chooser, mut seed) = (Chooser::new(pool, Policy::First), Seed::new(worker));
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
    let mut chooser = Chooser::new(&pool, Policy::First);
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
    let mut worker = Chooser::new(&old, Policy::First);
    old.backends.iter().for_each(|backend| backend.status.active.store(2, SeqCst));
    assert_eq!(worker.pick(&old, &[]), None);
    // A reload with another limit: releases are told to the new pool only.
    let mut new = old.clone();
    new.occupancy = Some(Arc::new(Occupancy::new(130)));
    new.backends.iter_mut().for_each(|backend| backend.max_connections = 1);
    old.occupancy.as_ref().expect("it has one").retire();
    new.seat();
    old.backends[7].status.release();
    assert_eq!((worker.pick(&old, &[]), Chooser::new(&new, Policy::First).pick(&new, &[])), (Some(7), None));
    old.backends[7].status.release();
    assert_eq!(
        (worker.pick(&old, &[]), Chooser::new(&new, Policy::First).pick(&new, &[])),
        (Some(7), Some(7))
    );
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
