//! What every policy keeps to. Loads and latencies are those of a small world that the tests make up.

mod ewma;
mod hash;
mod keys;
mod reload;
mod room;

use std::cell::RefCell;

use proptest::prelude::*;

use super::*;
use crate::{status::LatencyEstimate, time::Moment};

/// Backends as a balancer sees them.
#[derive(Default)]
struct World {
    active: RefCell<Vec<u32>>,
    full: Vec<usize>,
    latency: Vec<LatencyEstimate>,
}

impl World {
    fn idle(backends: usize) -> Self {
        let latency = (0..backends).map(|_| LatencyEstimate::default()).collect();
        Self { active: RefCell::new(vec![0; backends]), full: Vec::new(), latency }
    }

    fn start(&self, backend: usize) {
        self.active.borrow_mut()[backend] += 1;
    }

    fn end(&self, backend: usize) {
        self.active.borrow_mut()[backend] -= 1;
    }
}

impl Loads for World {
    fn active(&self, backend: usize) -> u32 {
        self.active.borrow()[backend]
    }

    fn is_full(&self, backend: usize) -> bool {
        self.full.contains(&backend)
    }

    fn latency(&self, backend: usize, now: Moment) -> Option<f32> {
        self.latency[backend].at(now)
    }

    fn total(&self) -> u32 {
        self.active.borrow().iter().sum()
    }
}

fn set(weights: &[u32]) -> EligibleSet {
    EligibleSet::new(weights.iter().enumerate().map(|(backend, weight)| Member { backend, weight: *weight }))
}

fn named(weights: &[u32]) -> Vec<(Arc<str>, u32)> {
    let name = |index: usize| format!("10.0.{}.{}:80", index / 250, index % 250).into();
    weights.iter().enumerate().map(|(index, weight)| (name(index), *weight)).collect()
}

/// A balancer for backends with these weights, all of them eligible.
fn balancer(balance: impl Into<Balance>, weights: &[u32]) -> (Balancer, EligibleSet) {
    let balance = balance.into();
    let table = HashTable::new(balance.policy, named(weights)).map(Arc::new);
    let mut balancer = Balancer::new(&balance, table.as_ref(), 7);
    let set = set(weights);
    balancer.prepare(&set);
    (balancer, set)
}

/// Picks in an idle pool, each for another key.
fn counts(policy: Policy, weights: &[u32], picks: usize) -> Vec<u64> {
    let (mut balancer, set) = balancer(policy, weights);
    let (mut seed, mut keys) = (Seed::new(42), Seed::new(43));
    let world = World::idle(weights.len());
    let mut counts = vec![0; weights.len()];
    for _ in 0..picks {
        let ask = Ask { hash: keys.next(), ..Ask::default() };
        let index = balancer.pick(&set, &ask, &world, &mut seed).expect("not empty");
        counts[set.members()[index].backend] += 1;
    }
    counts
}

/// Picks where so many are in flight all the time, and any of them may be the next to end.
fn counts_under_load(policy: Policy, weights: &[u32], picks: usize, in_flight: usize) -> Vec<u64> {
    let (mut balancer, set) = balancer(policy, weights);
    let mut seed = Seed::new(42);
    let world = World::idle(weights.len());
    world.latency.iter().for_each(|latency| latency.answered(1000, Moment(0)));
    let mut running = Vec::new();
    let mut counts = vec![0; weights.len()];
    for pick in 0..picks + in_flight {
        let index = balancer.pick(&set, &Ask::default(), &world, &mut seed).expect("not empty");
        let backend = set.members()[index].backend;
        world.start(backend);
        running.push(backend);
        if pick >= in_flight {
            counts[backend] += 1;
            let ended = seed.below(running.len() as u64) as usize;
            world.end(running.swap_remove(ended));
        }
    }
    counts
}

#[test]
fn round_robin_with_equal_weights_is_exact() {
    assert_eq!(counts(Policy::RoundRobin, &[1, 1, 1], 3000), [1000, 1000, 1000]);
    assert_eq!(counts(Policy::RoundRobin, &[7, 7], 1000), [500, 500]);
}

#[test]
fn a_second_attempt_takes_nobodys_turn() {
    let (mut balancer, set) = balancer(Policy::RoundRobin, &[1, 1]);
    let (mut seed, world) = (Seed::new(1), World::idle(2));
    let mut first = [0; 2];
    for _ in 0..1000 {
        let index = balancer.pick(&set, &Ask::default(), &world, &mut seed).expect("not empty");
        first[index] += 1;
        // The second of them is dead.
        if index == 1 {
            let ask = Ask { tried: &[1], ..Ask::default() };
            assert_eq!(balancer.pick(&set, &ask, &world, &mut seed), Some(0));
        }
    }
    assert_eq!(first, [500, 500]);
}

#[test]
fn who_has_nothing_in_flight_ties_whatever_the_weight() {
    assert_eq!(counts(Policy::LeastConn, &[5, 3, 1], 90), [30, 30, 30]);
    let two = counts(Policy::TwoChoices, &[5, 3, 1], 9000);
    assert!(two[0] > two[1] && two[1] > two[2] && two[2] > 500, "{two:?}");
}

#[test]
fn round_robin_is_smooth() {
    let (mut balancer, set) = balancer(Policy::RoundRobin, &[5, 1, 1]);
    let (mut seed, world) = (Seed::new(1), World::idle(3));
    let picks: Vec<_> =
        (0..14).filter_map(|_| balancer.pick(&set, &Ask::default(), &world, &mut seed)).collect();
    // The heavy one never runs more than five times in a row over the seam of two rounds.
    let longest = picks.chunk_by(|a, b| a == b).map(<[usize]>::len).max();
    assert!(longest <= Some(5), "{picks:?}");
    assert_eq!(picks.iter().filter(|index| **index == 0).count(), 10);
}

#[test]
fn least_conn_takes_the_fewest_and_rotates_ties() {
    assert_eq!(counts(Policy::LeastConn, &[1, 1, 1, 1], 400), [100; 4]);
    let (mut balancer, set) = balancer(Policy::LeastConn, &[1, 1, 1]);
    let world = World { active: vec![5, 1, 5].into(), ..World::default() };
    for _ in 0..10 {
        assert_eq!(balancer.pick(&set, &Ask::default(), &world, &mut Seed::new(1)), Some(1));
    }
}

#[test]
fn least_conn_respects_weights_under_load() {
    for backends in [3usize, 60] {
        let weights: Vec<u32> = (0..backends).map(|index| if index == 0 { 4 } else { 1 }).collect();
        let (mut balancer, set) = balancer(Policy::LeastConn, &weights);
        let world = World::idle(backends);
        let mut seed = Seed::new(3);
        for _ in 0..backends * 100 {
            let pick = balancer.pick(&set, &Ask::default(), &world, &mut seed).expect("not empty");
            world.start(pick);
        }
        let loads = world.active.into_inner();
        let others: u32 = loads[1..].iter().sum::<u32>() / (backends as u32 - 1);
        assert!(loads[0] > others * 3 && loads[0] < others * 5, "{loads:?}");
    }
}

#[test]
fn an_empty_set_has_no_pick_and_a_retry_never_repeats() {
    for policy in Policy::ALL {
        let (mut none, empty) = balancer(policy, &[]);
        assert_eq!(none.pick(&empty, &Ask::default(), &World::idle(0), &mut Seed::new(0)), None);
        let (mut balancer, set) = balancer(policy, &[1000, 1, 1]);
        let (mut seed, world) = (Seed::new(9), World::idle(3));
        for hash in 0..100u64 {
            let ask = Ask { hash: hash << 57, tried: &[0], now: Moment(1) };
            let pick = balancer.pick(&set, &ask, &world, &mut seed);
            assert!(matches!(pick, Some(1 | 2)), "{policy:?}: {pick:?}");
        }
        let ask = Ask { tried: &[0, 1, 2], ..Ask::default() };
        assert_eq!(balancer.pick(&set, &ask, &world, &mut seed), None, "{policy:?}");
    }
}

#[test]
fn what_is_full_is_not_picked() {
    for policy in Policy::ALL {
        for backends in [2usize, 3, 50] {
            let (mut balancer, set) = balancer(policy, &vec![1; backends]);
            let mut seed = Seed::new(9);
            let world = World { full: (0..backends - 1).collect(), ..World::idle(backends) };
            for hash in 0..100u64 {
                let ask = Ask { hash: hash << 57, ..Ask::default() };
                let pick = balancer.pick(&set, &ask, &world, &mut seed);
                assert_eq!(pick, Some(backends - 1), "{policy:?} of {backends}");
            }
            let world = World { full: (0..backends).collect(), ..World::idle(backends) };
            assert_eq!(balancer.pick(&set, &Ask::default(), &world, &mut seed), None, "{policy:?}");
        }
    }
}

#[test]
fn first_fills_one_after_the_other() {
    let (mut balancer, set) = balancer(Policy::First, &[1, 9, 5]);
    let mut pick = |full: &[usize]| {
        let world = World { full: full.to_vec(), ..World::idle(3) };
        balancer.pick(&set, &Ask::default(), &world, &mut Seed::new(1))
    };
    assert_eq!([pick(&[]), pick(&[0]), pick(&[0, 1]), pick(&[1])], [Some(0), Some(1), Some(2), Some(0)]);
}

#[test]
fn weights_of_all_zero_are_an_empty_set() {
    for policy in Policy::ALL {
        let (mut balancer, set) = balancer(policy, &[0, 0]);
        assert_eq!(balancer.pick(&set, &Ask::default(), &World::idle(2), &mut Seed::new(1)), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn every_policy_follows_the_weights(weights in proptest::collection::vec(1u32..=1000, 2..6)) {
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let picks = 20_000usize;
        let fair = |weight: u32| picks as f64 * f64::from(weight) / total as f64;
        let by_weight =
            [Policy::RoundRobin, Policy::Random, Policy::SourceHash, Policy::RingHash, Policy::Maglev];
        for policy in by_weight {
            let counts = counts(policy, &weights, picks);
            for (count, weight) in counts.into_iter().zip(&weights) {
                // Drawn by lot, counts scatter by their root; a ring scatters by the root of its points as well.
                let fair = fair(*weight);
                let slack = match policy {
                    Policy::RoundRobin => weights.len() as f64 + 1.0,
                    Policy::RingHash => 5.0 * fair.sqrt() + 0.4 * fair + 5.0,
                    _ => 5.0 * fair.sqrt() + 5.0,
                };
                prop_assert!((count as f64 - fair).abs() <= slack, "{policy:?} {weights:?}: {count} for {fair}");
            }
        }
        // Those that compare loads keep to weights under load.
        for policy in [Policy::LeastConn, Policy::TwoChoices, Policy::Ewma] {
            let counts = counts_under_load(policy, &weights, picks, 4000);
            for (count, weight) in counts.into_iter().zip(&weights) {
                let fair = fair(*weight);
                let slack = 5.0 * fair.sqrt() + 0.1 * fair + 10.0;
                prop_assert!((count as f64 - fair).abs() <= slack, "{policy:?} {weights:?}: {count} for {fair}");
            }
        }
    }
}

#[test]
fn one_to_a_thousand_is_kept_by_every_weighted_policy() {
    let picks = 200_200;
    for policy in [Policy::RoundRobin, Policy::Random, Policy::SourceHash, Policy::RingHash, Policy::Maglev] {
        let light = counts(policy, &[1, 1000], picks)[0] as f64;
        let slack = if policy == Policy::RoundRobin { 1.0 } else { 80.0 };
        assert!((light - 200.0).abs() <= slack, "{policy:?}: {light} for 200");
    }
    for policy in [Policy::LeastConn, Policy::TwoChoices, Policy::Ewma] {
        let light = counts_under_load(policy, &[1, 1000], picks, 20_000)[0] as f64;
        assert!((light - 200.0).abs() <= 80.0, "{policy:?}: {light} for 200");
    }
}
