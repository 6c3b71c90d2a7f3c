//! Policies that hash: how evenly keys are spread, and which of them move.

use super::*;

const HASHING: [Policy; 3] = [Policy::SourceHash, Policy::RingHash, Policy::Maglev];

fn keys(count: usize) -> impl Iterator<Item = u64> {
    let mut keys = Seed::new(77);
    (0..count).map(move |_| keys.next())
}

/// The backend of each key among these, by name; only those of `up` are eligible.
fn placed(policy: Policy, backends: &[(Arc<str>, u32)], up: &[Member], count: usize) -> Vec<Arc<str>> {
    let table = HashTable::new(policy, backends.to_vec()).map(Arc::new);
    let mut balancer = Balancer::new(&policy.into(), table.as_ref(), 0);
    let set = EligibleSet::new(up.iter().copied());
    balancer.prepare(&set);
    let world = World::idle(backends.len());
    let pick = |hash| {
        let ask = Ask { hash, ..Ask::default() };
        let index = balancer.pick(&set, &ask, &world, &mut Seed::new(hash)).expect("not empty");
        backends[set.members()[index].backend].0.clone()
    };
    keys(count).map(pick).collect()
}

fn all(backends: &[(Arc<str>, u32)]) -> Vec<Member> {
    let member = |(backend, (_, weight)): (usize, &(Arc<str>, u32))| Member { backend, weight: *weight };
    backends.iter().enumerate().map(member).collect()
}

fn moved(before: &[Arc<str>], after: &[Arc<str>]) -> f64 {
    before.iter().zip(after).filter(|(a, b)| a != b).count() as f64 / before.len() as f64
}

#[test]
fn tables_are_the_same_in_every_process_and_version() {
    // Whoever changes a hash moves every key of every user; these values are of the first version that hashed.
    let backends = named(&[1, 2, 3, 1, 1]);
    let expected: [[usize; 16]; 3] = [
        [2, 2, 2, 1, 3, 2, 4, 2, 2, 2, 2, 2, 3, 2, 2, 1],
        [1, 4, 2, 1, 2, 0, 1, 1, 1, 1, 3, 2, 4, 2, 2, 2],
        [2, 2, 2, 1, 1, 4, 3, 2, 1, 4, 1, 2, 1, 1, 2, 2],
    ];
    for (policy, expected) in HASHING.into_iter().zip(expected) {
        let table = HashTable::new(policy, backends.clone()).expect("a table");
        let found: Vec<_> = keys(16).map(|hash| table.lookup(hash)).collect();
        assert_eq!(found, expected, "{policy:?}");
    }
}

#[test]
fn the_order_of_the_file_does_not_count() {
    let backends = named(&[1, 2, 3, 1, 1, 9, 1, 1, 4, 1]);
    let mut shuffled = backends.clone();
    shuffled.reverse();
    shuffled.swap(2, 7);
    for policy in HASHING {
        let one = placed(policy, &backends, &all(&backends), 2000);
        assert_eq!(one, placed(policy, &shuffled, &all(&shuffled), 2000), "{policy:?}");
    }
}

#[test]
fn a_maglev_table_is_even_and_its_size_a_prime() {
    for backends in [1usize, 2, 3, 10, 100, 655, 656, 1000] {
        let table = HashTable::new(Policy::Maglev, named(&vec![5; backends])).expect("a table");
        let slots = table.maglev().expect("a Maglev table").slots();
        assert!(slots.len() >= 65_537.max(backends * 100) && slots.len() < 65_537.max(backends * 200) + 200);
        assert!((2..1000).all(|divisor| !slots.len().is_multiple_of(divisor)));
        let mut counts = vec![0usize; backends];
        slots.iter().for_each(|backend| counts[*backend as usize] += 1);
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most - least <= 1, "{backends}: {least} to {most}");
    }
}

#[test]
fn a_weighted_maglev_table_is_within_one_slot_of_its_weights() {
    let weights = [1, 10, 100, 1000, 7];
    let table = HashTable::new(Policy::Maglev, named(&weights)).expect("a table");
    let slots = table.maglev().expect("a Maglev table").slots();
    for (backend, weight) in weights.into_iter().enumerate() {
        let count = slots.iter().filter(|slot| **slot as usize == backend).count() as f64;
        let fair = slots.len() as f64 * f64::from(weight) / 1118.0;
        assert!((count - fair).abs() <= 5.0, "{weight}: {count} for {fair}");
    }
    // Even the lightest has a slot.
    let table = HashTable::new(Policy::Maglev, named(&[1, 1_000_000, 1_000_000])).expect("a table");
    assert!(table.maglev().expect("a Maglev table").slots().contains(&0));
}

#[test]
fn a_ring_scatters_by_the_root_of_its_points() {
    for backends in [2usize, 10, 100, 1000] {
        let table = HashTable::new(Policy::RingHash, named(&vec![1; backends])).expect("a table");
        let keys_each = 2000;
        let mut counts = vec![0f64; backends];
        keys(backends * keys_each).for_each(|hash| counts[table.lookup(hash)] += 1.0);
        let variance = counts.iter().map(|count| (count / keys_each as f64 - 1.0).powi(2)).sum::<f64>();
        let scatter = (variance / backends as f64).sqrt();
        let most = counts.iter().fold(0f64, |most, count| most.max(count / keys_each as f64));
        // 1 / sqrt(160) is 0.079; the keys themselves add 1 / sqrt(2000).
        assert!(scatter < 0.12 && most < 1.4, "{backends}: {scatter}, at most {most}");
    }
}

#[test]
fn rings_have_a_bounded_size_and_drop_common_divisors() {
    let points = |weights: &[u32]| {
        let names = named(weights);
        let entry = |(backend, (name, weight))| {
            let (name, weight): (&Arc<str>, &u32) = (name, weight);
            table::Entry { name, backend, weight: *weight }
        };
        let entries: Vec<_> =
            names.iter().map(|(name, weight)| (name, weight)).enumerate().map(entry).collect();
        ring_hash::Ring::new(&entries).len()
    };
    assert_eq!(points(&[1, 1, 2]), 640);
    assert!(points(&[1, 1_000_000]) <= (1 << 21) + 2);
    let one = placed(Policy::RingHash, &named(&[1, 2]), &all(&named(&[1, 2])), 1000);
    assert_eq!(one, placed(Policy::RingHash, &named(&[500, 1000]), &all(&named(&[500, 1000])), 1000));
}

/// One more backend takes its share. On a ring nothing else moves; in a Maglev table a few more keys do (section 5.3 of
/// the paper), and a scaled hash moves about half of them.
#[test]
fn another_backend_moves_as_few_keys_as_the_policy_promises() {
    for count in [2usize, 3, 5, 10, 100, 600, 999] {
        let (before, after) = (named(&vec![1; count]), named(&vec![1; count + 1]));
        let share = 1.0 / (count as f64 + 1.0);
        let new = &after[count].0;
        for (policy, beyond) in [(Policy::RingHash, 0.0), (Policy::Maglev, 0.02), (Policy::SourceHash, 0.6)] {
            let one = placed(policy, &before, &all(&before), 50_000);
            let other = placed(policy, &after, &all(&after), 50_000);
            let moved = moved(&one, &other);
            assert!(moved <= share * 1.5 + beyond, "{policy:?} of {count}: {moved} moved, {share} is due");
            if policy == Policy::RingHash {
                assert!(one.iter().zip(&other).all(|(a, b)| a == b || b == new), "{count}");
            }
        }
    }
}

#[test]
fn a_backend_that_goes_down_moves_its_own_keys_only_and_gets_them_back() {
    for policy in HASHING {
        for count in [2usize, 3, 10, 100] {
            let backends = named(&vec![1; count]);
            let up: Vec<_> = all(&backends).into_iter().filter(|member| member.backend != 1).collect();
            let before = placed(policy, &backends, &all(&backends), 20_000);
            let during = placed(policy, &backends, &up, 20_000);
            let gone = &backends[1].0;
            for (a, b) in before.iter().zip(&during) {
                assert!(b != gone && (a == b || a == gone), "{policy:?} of {count}: {a} to {b}");
            }
            // What moved is spread over all the others, not given to a neighbour.
            let moved: Vec<_> =
                before.iter().zip(&during).filter(|(a, _)| *a == gone).map(|(_, b)| b).collect();
            let fair = moved.len() as f64 / (count as f64 - 1.0);
            for (name, _) in backends.iter().filter(|(name, _)| name != gone) {
                let got = moved.iter().filter(|to| **to == name).count() as f64;
                let slack = if policy == Policy::RingHash { 0.4 * fair } else { 0.0 };
                assert!(
                    (got - fair).abs() <= 5.0 * fair.sqrt() + slack + 3.0,
                    "{policy:?} of {count}: {got}, {fair}"
                );
            }
        }
    }
}

#[test]
fn a_weight_that_an_operator_sets_is_kept_to_and_moves_few_keys() {
    let backends = named(&[2, 2, 2, 2]);
    for policy in HASHING {
        let mut lighter = all(&backends);
        lighter[0].weight = 1;
        let before = placed(policy, &backends, &all(&backends), 40_000);
        let after = placed(policy, &backends, &lighter, 40_000);
        let name = &backends[0].0;
        let share = after.iter().filter(|to| *to == name).count() as f64 / 40_000.0;
        assert!((share - 1.0 / 7.0).abs() < 0.02, "{policy:?}: {share}");
        assert!(before.iter().zip(&after).all(|(a, b)| a == b || a == name), "{policy:?}");
        // One that the file gives nothing may be given something too.
        let backends = named(&[0, 1, 1, 1]);
        let mut members = all(&backends);
        members[0].weight = 1;
        let share = placed(policy, &backends, &members, 40_000).iter().filter(|to| *to == name).count();
        assert!((share as f64 / 40_000.0 - 0.25).abs() < 0.04, "{policy:?}: {share}");
    }
}

#[test]
fn keys_come_back_bit_by_bit_to_a_backend_that_starts_slowly() {
    let backends = named(&[1; 8]);
    for policy in HASHING {
        // What the eligible set makes of a backend that has so many thousandths of its weight.
        let at = |share: u32| {
            let weight = |backend| if backend == 3 { share } else { 1000 };
            let members: Vec<_> = (0..8).map(|backend| Member { backend, weight: weight(backend) }).collect();
            placed(policy, &backends, &members, 20_000)
        };
        let (name, mut before) = (&backends[3].0, at(1));
        for share in [50, 200, 500, 900, 1000] {
            let after = at(share);
            let expected = f64::from(share) / f64::from(7000 + share);
            let found = after.iter().filter(|to| *to == name).count() as f64 / 20_000.0;
            assert!((found - expected).abs() < 0.02, "{policy:?} at {share}: {found} for {expected}");
            assert!(before.iter().zip(&after).all(|(a, b)| a == b || b == name), "{policy:?} at {share}");
            before = after;
        }
    }
}

#[test]
fn keys_find_the_last_backends_that_are_up() {
    let backends = named(&vec![1; 1000]);
    for policy in HASHING {
        let up: Vec<_> = [17, 400, 999].map(|backend| Member { backend, weight: 1 }).into();
        let found = placed(policy, &backends, &up, 3000);
        for member in &up {
            let count = found.iter().filter(|name| **name == backends[member.backend].0).count();
            assert!((700..1300).contains(&count), "{policy:?}: {count} of 3000");
        }
    }
}

#[test]
fn retries_of_a_key_go_the_same_way_every_time() {
    for policy in HASHING {
        let (mut balancer, set) = balancer(policy, &[1; 8]);
        let world = World::idle(8);
        for hash in keys(200) {
            let mut way = |chance: u64| {
                let mut tried = Vec::new();
                while let Some(next) = balancer.pick(
                    &set,
                    &Ask { hash, tried: &tried, ..Ask::default() },
                    &world,
                    &mut Seed::new(chance),
                ) {
                    tried.push(next);
                }
                tried
            };
            let (one, other) = (way(1), way(2));
            assert_eq!(one, other, "{policy:?}");
            let mut sorted = one;
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6, 7]);
        }
    }
}

#[test]
fn no_backend_has_more_than_the_bound() {
    for policy in HASHING {
        for weights in [&[1u32; 10][..], &[1, 5, 10, 2]] {
            let balance = Balance { bounded_load: Some(125), ..policy.into() };
            let (mut balancer, set) = balancer(balance, weights);
            let world = World::idle(weights.len());
            let sum: u32 = weights.iter().sum();
            // Nine of ten have the same key.
            for (turn, hash) in keys(1000).enumerate() {
                let hash = if turn % 10 == 0 { hash } else { 1 << 63 };
                let ask = Ask { hash, ..Ask::default() };
                let index = balancer.pick(&set, &ask, &world, &mut Seed::new(1)).expect("not empty");
                world.start(set.members()[index].backend);
                let total = f64::from(world.total());
                for (backend, weight) in weights.iter().enumerate() {
                    let bound = (1.25 * total * f64::from(*weight) / f64::from(sum)).ceil();
                    let active = f64::from(world.active(backend));
                    assert!(active <= bound, "{policy:?} {weights:?}: {active} of {total}, bound {bound}");
                }
            }
        }
    }
}

#[test]
fn a_bound_moves_nobody_while_loads_are_within_it() {
    for policy in HASHING {
        let balance = Balance { bounded_load: Some(200), ..policy.into() };
        let (mut bounded, set) = balancer(balance, &[1; 10]);
        let (mut free, _) = balancer(policy, &[1; 10]);
        let world = World { active: vec![100; 10].into(), ..World::default() };
        for hash in keys(1000) {
            let ask = Ask { hash, ..Ask::default() };
            let one = bounded.pick(&set, &ask, &world, &mut Seed::new(1));
            assert_eq!(one, free.pick(&set, &ask, &world, &mut Seed::new(2)), "{policy:?}");
        }
    }
}
