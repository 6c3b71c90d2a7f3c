//! One weir, and fleets of them.

use proptest::prelude::*;

use super::*;
use crate::{
    balance::{EligibleSet, Tier, tier::tests::pool},
    pool::Pool,
    status::{FULL_SHARE, Health, State},
    time::{Millis, Moment},
};

/// A pool whose backends stand in these zones and have these weights.
fn zoned(backends: &[(&str, u32)]) -> Pool {
    let mut pool = pool(backends.len());
    for (backend, (zone, weight)) in pool.backends.iter_mut().zip(backends) {
        backend.zone = (!zone.is_empty()).then(|| (*zone).into());
        backend.weight = *weight;
    }
    pool
}

/// The share of the traffic of a weir in this zone that each backend gets.
fn shares(pool: &mut Pool, own: &str) -> Vec<f64> {
    pool.zones = Some(Zones::new(&own.into(), pool.backends.iter().map(|backend| backend.zone.as_ref())));
    let set = EligibleSet::of(pool);
    let mut shares = vec![0.0; pool.backends.len()];
    for member in set.members() {
        shares[member.backend] = f64::from(member.weight) / set.total_weight() as f64;
    }
    shares
}

fn about(shares: &[f64], expected: &[f64]) {
    let near = shares.iter().zip(expected).all(|(share, expected)| (share - expected).abs() < 1e-4);
    assert!(near && shares.len() == expected.len(), "{shares:?} instead of {expected:?}");
}

fn down(pool: &Pool, backend: usize) {
    pool.backends[backend].status.set_health(Health::Down, "", Moment(0));
}

#[test]
fn what_the_own_zone_can_carry_stays_there() {
    let mut pool = zoned(&[("a", 1), ("a", 1), ("b", 1), ("b", 1)]);
    about(&shares(&mut pool, "a"), &[0.5, 0.5, 0.0, 0.0]);
    about(&shares(&mut pool, "b"), &[0.0, 0.0, 0.5, 0.5]);
    // One of three is left in `a`, which carries a third of everything: two thirds of its half.
    down(&pool, 0);
    about(&shares(&mut pool, "a"), &[0.0, 2.0 / 3.0, 1.0 / 6.0, 1.0 / 6.0]);
    about(&shares(&mut pool, "b"), &[0.0, 0.0, 0.5, 0.5]);
    down(&pool, 1);
    about(&shares(&mut pool, "a"), &[0.0, 0.0, 0.5, 0.5]);
}

#[test]
fn the_rest_goes_where_there_is_more_than_enough() {
    // `b` has just what it needs, and is given nothing.
    let mut pool = zoned(&[("a", 1), ("b", 2), ("c", 3)]);
    about(&shares(&mut pool, "a"), &[0.5, 0.0, 0.5]);
    about(&shares(&mut pool, "b"), &[0.0, 1.0, 0.0]);
    about(&shares(&mut pool, "c"), &[0.0, 0.0, 1.0]);
}

#[test]
fn a_zone_without_backends_gives_everything_away() {
    let mut pool = zoned(&[("a", 3), ("b", 2)]);
    // Three zones have to carry a third each: `a` has 60 % and `b` 40 %.
    about(&shares(&mut pool, "elsewhere"), &[0.8, 0.2]);
    let mut pool = zoned(&[("", 1), ("", 3)]);
    about(&shares(&mut pool, "a"), &[0.25, 0.75]);
}

#[test]
fn those_without_a_zone_are_a_zone() {
    let mut pool = zoned(&[("a", 1), ("", 1)]);
    about(&shares(&mut pool, "a"), &[1.0, 0.0]);
    let mut pool = zoned(&[("a", 1), ("", 3)]);
    about(&shares(&mut pool, "a"), &[0.5, 0.5]);
}

#[test]
fn backups_prefer_their_zone_as_well_and_panic_none() {
    let mut pool = zoned(&[("a", 1), ("a", 1), ("b", 1)]);
    pool.backends[1].backup = true;
    pool.backends[2].backup = true;
    down(&pool, 0);
    about(&shares(&mut pool, "a"), &[0.0, 1.0, 0.0]);
    pool.panic = 500_000;
    down(&pool, 1);
    down(&pool, 2);
    pool.backends.iter_mut().for_each(|backend| backend.backup = false);
    about(&shares(&mut pool, "a"), &[1.0 / 3.0; 3]);
    assert_eq!(EligibleSet::of(&pool).standing().tier, Tier::Panic);
}

#[test]
fn who_starts_slowly_carries_less() {
    let mut pool = zoned(&[("a", 2), ("a", 2), ("b", 2), ("b", 2)]);
    pool.slow_start = Millis(1);
    pool.backends.iter().for_each(|backend| backend.status.set_share(FULL_SHARE));
    let set = EligibleSet::of(&pool);
    assert_eq!(set.members().iter().map(|member| member.weight).collect::<Vec<_>>(), [2; 4]);
    pool.backends[0].status.set_share(100);
    let set = EligibleSet::of(&pool);
    assert_eq!(set.members().iter().map(|member| member.weight).collect::<Vec<_>>(), [200, 2000, 2000, 2000]);
    assert!(!set.is_even());
    // A tenth of a backend less: 1.1 of 3.1 is above a third, and below a half.
    let kept = 1.1 / 3.1 * 2.0;
    let (small, large) = (kept / 11.0, kept * 10.0 / 11.0);
    about(&shares(&mut pool, "a"), &[small, large, (1.0 - kept) / 2.0, (1.0 - kept) / 2.0]);
    // All of them at once: nothing changes.
    pool.zones = None;
    pool.backends.iter().for_each(|backend| backend.status.set_share(100));
    assert!(EligibleSet::of(&pool).is_even());
}

proptest! {
    #[test]
    fn a_fleet_spreads_all_traffic_by_weight(
        backends in proptest::collection::vec((0usize..4, 1u32..=1000, any::<bool>()), 1..=5),
    ) {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        let named: Vec<_> = backends.iter().map(|(zone, weight, _)| (NAMES[*zone], *weight)).collect();
        let mut pool = zoned(&named);
        for (backend, (.., up)) in pool.backends.iter_mut().zip(&backends) {
            backend.state = if *up { State::Active } else { State::Draining };
        }
        let total: u32 = backends.iter().filter(|(.., up)| *up).map(|(_, weight, _)| weight).sum();
        let mut zones: Vec<_> = named.iter().map(|(zone, _)| *zone).collect();
        zones.sort_unstable();
        zones.dedup();
        // A weir in each zone, and as much traffic at each of them.
        let mut carried = vec![0.0; backends.len()];
        for zone in &zones {
            for (sum, share) in carried.iter_mut().zip(shares(&mut pool, zone)) {
                *sum += share / zones.len() as f64;
            }
        }
        for (carried, (_, weight, up)) in carried.iter().zip(&backends) {
            let fair = if *up { f64::from(*weight) / f64::from(total) } else { 0.0 };
            prop_assert!((carried - fair).abs() < 1e-3, "{carried} instead of {fair}: {backends:?}");
        }
    }
}
