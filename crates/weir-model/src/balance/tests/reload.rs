//! What goes on over changes of health, of weights and of the configuration.

use super::*;

fn picks(balancer: &mut Balancer, set: &EligibleSet, count: usize) -> Vec<usize> {
    let world = World::idle(20);
    let mut seed = Seed::new(1);
    let pick =
        |_| balancer.pick(set, &Ask::default(), &world, &mut seed).map(|index| set.members()[index].backend);
    (0..count).filter_map(pick).collect()
}

/// The balancer of a pool after a reload, whose backends have other places.
fn reloaded(before: &Balancer, policy: Policy, places: &[Option<usize>]) -> Balancer {
    let mut after = Balancer::new(&policy.into(), None, 7);
    after.inherit(before, |place| places.get(place).copied().flatten());
    after
}

#[test]
fn round_robin_goes_on_over_a_reload() {
    for weights in [&[1, 1, 1, 1][..], &[1, 2, 3, 4]] {
        let (mut one, set) = balancer(Policy::RoundRobin, weights);
        let (mut other, _) = balancer(Policy::RoundRobin, weights);
        let whole = picks(&mut one, &set, 60);
        let mut parts = Vec::new();
        for _ in 0..20 {
            parts.extend(picks(&mut other, &set, 3));
            other = reloaded(&other, Policy::RoundRobin, &[Some(0), Some(1), Some(2), Some(3)]);
            other.prepare(&set);
        }
        assert_eq!(whole, parts, "{weights:?}");
    }
}

#[test]
fn shares_are_kept_though_the_set_is_built_anew_at_every_pick() {
    let weights = [5, 3, 1, 1];
    let (mut balancer, set) = balancer(Policy::RoundRobin, &weights);
    let mut counts = [0; 4];
    for _ in 0..1000 {
        balancer.prepare(&set);
        counts[picks(&mut balancer, &set, 1)[0]] += 1;
    }
    assert_eq!(counts, [500, 300, 100, 100]);
}

#[test]
fn round_robin_follows_backends_to_their_new_places() {
    let (mut before, set) = balancer(Policy::RoundRobin, &[4, 2, 1]);
    picks(&mut before, &set, 5);
    // The second one goes, the others change places and a new one comes.
    let mut after = reloaded(&before, Policy::RoundRobin, &[Some(2), None, Some(0)]);
    let next = super::set(&[1, 1, 4]);
    after.prepare(&next);
    let mut counts = [0; 3];
    picks(&mut after, &next, 600).into_iter().for_each(|backend| counts[backend] += 1);
    for (count, fair) in counts.into_iter().zip([100i32, 100, 400]) {
        assert!((count - fair).abs() <= 3, "{counts:?}");
    }
}

#[test]
fn weights_that_become_equal_and_differ_again_keep_everybody_served() {
    let (mut balancer, uneven) = balancer(Policy::RoundRobin, &[3, 1, 1]);
    let even = set(&[1, 1, 1]);
    let mut counts = [0; 3];
    for round in 0..300 {
        let set = if round % 2 == 0 { &uneven } else { &even };
        balancer.prepare(set);
        picks(&mut balancer, set, 7).into_iter().for_each(|backend| counts[backend] += 1);
    }
    // Between the shares of the one and of the other.
    assert!(counts.iter().all(|count| *count >= 2100 / 5 - 40), "{counts:?}");
}

#[test]
fn least_conn_goes_on_with_its_turn() {
    let (mut before, set) = balancer(Policy::LeastConn, &[1, 1, 1]);
    assert_eq!(picks(&mut before, &set, 2), [0, 1]);
    let mut after = reloaded(&before, Policy::LeastConn, &[Some(0), Some(1), Some(2)]);
    assert_eq!(picks(&mut after, &set, 2), [2, 0]);
}
