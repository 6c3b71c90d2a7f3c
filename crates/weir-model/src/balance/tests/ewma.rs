//! The policy that learns: what it avoids, and what it never starves.

use super::*;

const TURNS: usize = 1_000_000;

/// One backend is as bad as can be in every way that counts; returns how often each was picked.
fn against(victim: usize, backends: usize, mut torment: impl FnMut(&World, u64)) -> Vec<u64> {
    let (mut balancer, set) = balancer(Policy::Ewma, &vec![1; backends]);
    let (world, mut seed) = (World::idle(backends), Seed::new(5));
    let mut counts = vec![0; backends];
    for turn in 0..TURNS as u64 {
        let now = Moment(turn / 100);
        if turn % 64 == 0 {
            for (index, latency) in world.latency.iter().enumerate().filter(|(index, _)| *index != victim) {
                latency.answered(100 + index as u64, now);
            }
            torment(&world, now.0);
        }
        let ask = Ask { now, ..Ask::default() };
        counts[balancer.pick(&set, &ask, &world, &mut seed).expect("not empty")] += 1;
    }
    counts
}

#[test]
fn every_backend_keeps_a_quarter_of_its_fair_share() {
    for backends in [2usize, 3, 7, 10, 64] {
        let floor = (TURNS / backends / 4) as u64;
        let slow = against(1, backends, |world, now| world.latency[1].answered(60_000_000, Moment(now)));
        let failing = against(0, backends, |world, now| world.latency[0].failed(1, Moment(now)));
        let busy = against(1, backends, |world, now| {
            world.active.borrow_mut()[1] = u32::MAX - 1;
            world.latency[1].answered(1, Moment(now));
        });
        for counts in [slow, failing, busy] {
            assert!(counts.iter().all(|count| *count >= floor), "{backends}, floor {floor}: {counts:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    /// Whatever backends answer and whenever, nobody is starved.
    #[test]
    fn no_latencies_starve_anybody(backends in 2usize..40, start: u64) {
        let mut chance = Seed::new(start);
        let counts = against(0, backends, |world, now| {
            for latency in &world.latency {
                match chance.below(4) {
                    0 => latency.answered(1 << chance.below(40), Moment(now)),
                    1 => latency.failed(chance.below(1000), Moment(now)),
                    _ => {}
                }
            }
        });
        let floor = (TURNS / backends / 4) as u64;
        prop_assert!(counts.iter().all(|count| *count >= floor), "{backends}, floor {floor}: {counts:?}");
    }
}

#[test]
fn the_slow_and_the_failing_get_little_more_than_the_floor() {
    let fair = TURNS as f64 / 10.0;
    let slow = against(3, 10, |world, now| world.latency[3].answered(50_000, Moment(now)));
    let failing = against(3, 10, |world, now| world.latency[3].failed(1, Moment(now)));
    for counts in [slow, failing] {
        assert!((counts[3] as f64) < fair * 0.3, "{counts:?}");
    }
}

#[test]
fn a_new_backend_is_neither_flooded_nor_starved() {
    let (mut balancer, set) = balancer(Policy::Ewma, &[1; 10]);
    let (world, mut seed) = (World::idle(10), Seed::new(5));
    world.latency[1..].iter().for_each(|latency| latency.answered(5000, Moment(1)));
    // Nothing ends: all that a new one has to show is its load.
    for _ in 0..1000 {
        let pick = balancer.pick(&set, &Ask { now: Moment(1), ..Ask::default() }, &world, &mut seed);
        world.start(pick.expect("not empty"));
    }
    let new = world.active(0);
    assert!((80..=120).contains(&new), "{new} of 1000 in flight at one of ten");
}

#[test]
fn idle_estimates_fade_so_that_one_that_was_slow_is_asked_again() {
    let (mut balancer, set) = balancer(Policy::Ewma, &[1; 2]);
    let (world, mut seed) = (World::idle(2), Seed::new(5));
    world.latency[0].answered(1_000_000, Moment(0));
    let mut picked_at = |now: u64| {
        world.latency[1].answered(5000, Moment(now));
        let ask = Ask { now: Moment(now), ..Ask::default() };
        (0..1000).filter(|_| balancer.pick(&set, &ask, &world, &mut seed) == Some(0)).count()
    };
    assert!(picked_at(1) < 200);
    assert!(picked_at(120_000) > 800);
}
