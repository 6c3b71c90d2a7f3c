use std::cell::RefCell;

use proptest::prelude::*;

use super::*;

fn set(weights: &[u32]) -> EligibleSet {
    EligibleSet::new(weights.iter().enumerate().map(|(backend, weight)| Member { backend, weight: *weight }))
}

fn counts(policy: Policy, weights: &[u32], picks: usize) -> Vec<u64> {
    let set = set(weights);
    let mut balancer = Balancer::new(policy, 7);
    balancer.prepare(&set);
    let mut seed = Seed::new(42);
    let mut counts = vec![0; weights.len()];
    for _ in 0..picks {
        let index = balancer.pick(&set, |_| 0, &mut seed).expect("not empty");
        counts[set.members()[index].backend] += 1;
    }
    counts
}

#[test]
fn round_robin_with_equal_weights_is_exact() {
    assert_eq!(counts(Policy::RoundRobin, &[1, 1, 1], 3000), [1000, 1000, 1000]);
    assert_eq!(counts(Policy::RoundRobin, &[7, 7], 1000), [500, 500]);
}

#[test]
fn round_robin_is_smooth() {
    let set = set(&[5, 1, 1]);
    let mut balancer = Balancer::new(Policy::RoundRobin, 0);
    balancer.prepare(&set);
    let mut seed = Seed::new(1);
    let picks: Vec<_> = (0..14).filter_map(|_| balancer.pick(&set, |_| 0, &mut seed)).collect();
    // The heavy one never runs more than five times in a row over the seam of two rounds.
    let longest = picks.chunk_by(|a, b| a == b).map(<[usize]>::len).max();
    assert!(longest <= Some(5), "{picks:?}");
    assert_eq!(picks.iter().filter(|index| **index == 0).count(), 10);
}

#[test]
fn least_conn_takes_the_fewest_and_rotates_ties() {
    assert_eq!(counts(Policy::LeastConn, &[1, 1, 1, 1], 400), [100; 4]);
    let set = set(&[1, 1, 1]);
    let mut balancer = Balancer::new(Policy::LeastConn, 0);
    let loads = [5, 1, 5];
    for _ in 0..10 {
        assert_eq!(balancer.pick(&set, |member| loads[member.backend], &mut Seed::new(1)), Some(1));
    }
}

#[test]
fn least_conn_respects_weights_under_load() {
    for backends in [3usize, 60] {
        let weights: Vec<u32> = (0..backends).map(|index| if index == 0 { 4 } else { 1 }).collect();
        let set = set(&weights);
        let mut balancer = Balancer::new(Policy::LeastConn, 0);
        let loads = RefCell::new(vec![0u32; backends]);
        let mut seed = Seed::new(3);
        for _ in 0..backends * 100 {
            let pick =
                balancer.pick(&set, |member| loads.borrow()[member.backend], &mut seed).expect("not empty");
            loads.borrow_mut()[pick] += 1;
        }
        let loads = loads.into_inner();
        let others: u32 = loads[1..].iter().sum::<u32>() / (backends as u32 - 1);
        assert!(loads[0] > others * 3 && loads[0] < others * 5, "{loads:?}");
    }
}

#[test]
fn an_empty_set_has_no_pick_and_a_retry_never_repeats() {
    let mut balancer = Balancer::new(Policy::Random, 0);
    assert_eq!(balancer.pick(&set(&[]), |_| 0, &mut Seed::new(0)), None);
    assert_eq!(balancer.pick_other(&set(&[]), |_| 0, &mut Seed::new(0), &[]), None);
    for policy in [Policy::RoundRobin, Policy::LeastConn, Policy::Random, Policy::TwoChoices] {
        let set = set(&[1000, 1, 1]);
        let mut balancer = Balancer::new(policy, 0);
        balancer.prepare(&set);
        let mut seed = Seed::new(9);
        for _ in 0..100 {
            let pick = balancer.pick_other(&set, |_| 0, &mut seed, &[0]);
            assert!(matches!(pick, Some(1 | 2)), "{policy:?}: {pick:?}");
        }
        assert_eq!(balancer.pick_other(&set, |_| 0, &mut seed, &[0, 1, 2]), None);
    }
}

proptest! {
    #[test]
    fn every_policy_follows_the_weights(weights in proptest::collection::vec(1u32..=1000, 2..6)) {
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let picks = 20_000usize;
        for policy in [Policy::RoundRobin, Policy::Random] {
            let slack = if policy == Policy::Random { picks as f64 * 0.02 } else { weights.len() as f64 + 1.0 };
            for (count, weight) in counts(policy, &weights, picks).into_iter().zip(&weights) {
                let fair = picks as f64 * f64::from(*weight) / total as f64;
                prop_assert!((count as f64 - fair).abs() <= slack, "{policy:?} {weights:?}: {count} for {fair}");
            }
        }
    }
}
