//! What the textbooks say, and where it ends.

use super::*;
use crate::balance::Policy;

/// Ten machines at so many percent of what they can do together, the last of them slower than the others.
fn ten(slowness: f64, load: f64) -> (Model, Vec<Request>) {
    let machine = |index: usize| Machine {
        name: format!("m{index}").into(),
        weight: 1,
        concurrency: 2,
        max_connections: u32::MAX,
        slowness: if index == 9 { slowness } else { 1.0 },
        trouble: Trouble::None,
    };
    let model = Model { machines: (0..10).map(machine).collect(), workers: 2, seed: 7 };
    let capacity = (9.0 + 1.0 / slowness) * 2.0 / 10_000.0 * 1e6;
    let workload = Workload {
        requests: 60_000,
        rate: capacity * load,
        service: Service::Exponential,
        mean: 10_000.0,
        keys: 5000,
    };
    let requests = workload.requests(3);
    (model, requests)
}

fn p99(model: &Model, requests: &[Request], policy: Policy) -> f64 {
    run(model, requests, &policy.into()).quantile_ms(0.99)
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let (model, requests) = ten(5.0, 0.6);
    for policy in Policy::ALL {
        let (one, other) = (run(&model, &requests, &policy.into()), run(&model, &requests, &policy.into()));
        assert_eq!(one.latencies, other.latencies, "{policy:?}");
        assert_eq!(one.requests, other.requests, "{policy:?}");
    }
}

#[test]
fn every_request_ends_and_is_counted_once() {
    let (model, requests) = ten(5.0, 0.6);
    for policy in Policy::ALL {
        let outcome = run(&model, &requests, &policy.into());
        assert_eq!(outcome.requests.iter().sum::<u64>(), 60_000, "{policy:?}");
        assert_eq!(outcome.latencies.len() as u64 + outcome.errors, 60_000, "{policy:?}");
    }
}

#[test]
fn draws_have_the_mean_that_they_promise() {
    for service in Service::ALL {
        let workload = Workload { requests: 200_000, rate: 1000.0, service, mean: 10_000.0, keys: 10 };
        let requests = workload.requests(1);
        let mean = requests.iter().map(|request| request.work).sum::<f64>() / 200_000.0;
        assert!((mean / 10_000.0 - 1.0).abs() < 0.05, "{service:?}: {mean}");
        let last = requests.last().expect("many").at as f64;
        assert!((last / 200e6 - 1.0).abs() < 0.02, "{last}");
    }
}

/// A queue with one server has a known answer: with exponential work, times in the system are exponential with the mean
/// work / (1 - load).
#[test]
fn one_machine_behaves_as_theory_says() {
    let machine = Machine { concurrency: 1, ..ten(1.0, 0.5).0.machines[0].clone() };
    let model = Model { machines: vec![machine], workers: 1, seed: 1 };
    let workload =
        Workload { requests: 400_000, rate: 70.0, service: Service::Exponential, mean: 10_000.0, keys: 1 };
    let outcome = run(&model, &workload.requests(5), &Policy::RoundRobin.into());
    let mean = 10.0 / 0.3;
    for part in [0.5f64, 0.9, 0.99] {
        let expected = -(1.0 - part).ln() * mean;
        let found = outcome.quantile_ms(part);
        assert!((found / expected - 1.0).abs() < 0.1, "{part}: {found} for {expected}");
    }
}

#[test]
fn one_slow_of_ten_hurts_turns_ten_times_as_much() {
    let (model, requests) = ten(5.0, 0.6);
    let turns = p99(&model, &requests, Policy::RoundRobin);
    for policy in [Policy::LeastConn, Policy::Ewma] {
        let better = p99(&model, &requests, policy);
        assert!(turns > 10.0 * better, "{policy:?}: {better}, round_robin: {turns}");
    }
}

#[test]
fn the_floor_of_ewma_has_its_price() {
    // A machine that cannot do a quarter of its fair share drowns in it.
    let (model, requests) = ten(20.0, 0.7);
    let (least, ewma) = (p99(&model, &requests, Policy::LeastConn), p99(&model, &requests, Policy::Ewma));
    assert!(ewma > 3.0 * least, "ewma: {ewma}, least_conn: {least}");
}

#[test]
fn one_that_fails_fast_draws_traffic_unless_errors_count_as_slow() {
    let (mut model, requests) = ten(1.0, 0.6);
    model.machines[9].trouble = Trouble::FailsFrom(0);
    let errors = |policy: Policy| run(&model, &requests, &policy.into()).errors as f64 / 60_000.0;
    // It always has the fewest in flight.
    assert!(errors(Policy::LeastConn) > 0.15, "{}", errors(Policy::LeastConn));
    assert!((errors(Policy::RoundRobin) - 0.1).abs() < 0.001);
    assert!(errors(Policy::Ewma) < 0.03, "{}", errors(Policy::Ewma));
}

#[test]
fn a_cold_one_is_spared_by_those_who_look() {
    let (mut model, requests) = ten(1.0, 0.6);
    model.machines[9].trouble = Trouble::StartsAt(requests[30_000].at);
    let turns = p99(&model, &requests, Policy::RoundRobin);
    for policy in [Policy::LeastConn, Policy::Ewma] {
        let outcome = run(&model, &requests, &policy.into());
        assert!(outcome.quantile_ms(0.99) < turns, "{policy:?}");
        assert!(outcome.requests[9] > 700, "{policy:?} never let it warm up: {:?}", outcome.requests);
    }
}

#[test]
fn keys_that_move_are_those_of_the_machine_that_goes() {
    let (model, _) = ten(1.0, 0.6);
    let moved = |policy: Policy| Moved::of(&policy.into(), &model.machines);
    let ring = moved(Policy::RingHash).expect("it hashes");
    assert_eq!(ring.due, ring.removed);
    let maglev = moved(Policy::Maglev).expect("it hashes");
    assert!((maglev.due - 0.1).abs() < 0.005 && maglev.removed < maglev.due + 0.02, "{maglev:?}");
    let source = moved(Policy::SourceHash).expect("it hashes");
    assert!(source.removed > 0.3, "{source:?}");
    assert_eq!(moved(Policy::LeastConn), None);
    assert_eq!(Moved::of(&Policy::Maglev.into(), &model.machines[..1]), None);
}

#[test]
fn first_uses_as_few_machines_as_it_can() {
    let (mut model, requests) = ten(1.0, 0.5);
    model.machines.iter_mut().for_each(|machine| machine.max_connections = 2);
    let outcome = run(&model, &requests, &Policy::First.into());
    assert!(
        outcome.requests.is_sorted_by(|a, b| a >= b) && outcome.requests[0] > 9000,
        "{:?}",
        outcome.requests
    );
    assert_eq!(outcome.errors, 0);
    // Where all are full, requests wait at the balancer.
    let busiest = run(&model, &ten(1.0, 0.95).1, &Policy::First.into());
    assert!(busiest.errors == 0 && busiest.latencies.len() == 60_000);
}

#[test]
fn an_empty_pool_answers_nobody() {
    let model = Model { machines: Vec::new(), workers: 1, seed: 1 };
    let requests = [Request { at: 5, work: 1.0, key: 1 }];
    for policy in Policy::ALL {
        let outcome = run(&model, &requests, &policy.into());
        assert_eq!((outcome.errors, outcome.quantile_ms(0.5), outcome.spread()), (1, 0.0, 0.0), "{policy:?}");
    }
}
