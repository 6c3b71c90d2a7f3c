//! What a pick costs, and what a change of health does, by policy and size of the pool: the balancer alone, on the thread
//! that runs this. Prints JSON; `cargo xtask bench pick` makes tables of it.
#![allow(clippy::unwrap_used, reason = "a bench fails where a test would")]

use std::{
    hint::black_box,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use serde_json::{Value, json};
use weir_control::config;
use weir_model::{
    balance::{Ask, Balancer, EligibleSet, Policy, Seed},
    pool::Pool,
    status::{Health, Registry},
    time::Moment,
};

const SIZES: [usize; 3] = [10, 1000, 10_000];
const PICKS: u32 = 200_000;
/// The least of so many rounds counts: what is more is the machine's.
const ROUNDS: usize = 7;
const FULL: [Full; 5] = [Full::Nobody, Full::Half, Full::Most, Full::AllButLast, Full::OrDown];

/// Who has as much as it may have.
#[derive(Clone, Copy, PartialEq)]
enum Full {
    Nobody,
    /// The first half.
    Half,
    /// All but every hundredth, which is one at least.
    Most,
    AllButLast,
    /// All but the last, and every second one of them is down as well: a pool of few has one left then.
    OrDown,
}

impl Full {
    const fn has(self, index: usize, size: usize) -> bool {
        match self {
            Self::Nobody => false,
            Self::Half => index < size / 2,
            Self::Most => index % 100 != if size < 100 { 5 } else { 50 },
            Self::AllButLast | Self::OrDown => index + 1 < size,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Nobody => "none",
            Self::Half => "half",
            Self::Most => "all but every hundredth",
            Self::AllButLast => "all but the last",
            Self::OrDown => "all but the last (half of them down as well)",
        }
    }
}

fn main() {
    let rows: Vec<Value> = Policy::ALL
        .into_iter()
        // Refused by name as long as no file can say it.
        .filter(|policy| is_ready(*policy))
        .flat_map(|policy| [false, true].map(|weighted| (policy, weighted)))
        .flat_map(|(policy, weighted)| FULL.map(|full| (policy, weighted, full)))
        .filter(|(_, weighted, full)| *full == Full::Nobody || !weighted)
        .flat_map(|(policy, weighted, full)| SIZES.map(|size| row(policy, weighted, full, size)))
        .collect();
    println!("{:#}", json!({ "picks": PICKS, "rounds": ROUNDS, "rows": rows }));
}

/// A pool as a file makes it, with the time that compiling it took.
fn pool(policy: Policy, weighted: bool, size: usize) -> Option<(Arc<Pool>, f64)> {
    let backend = |index: usize| {
        let weight = if weighted { index % 4 + 1 } else { 1 };
        let (high, middle, low) = (index >> 16, index >> 8 & 255, index & 255);
        format!("{{ address: '10.{high}.{middle}.{low}:80', weight: {weight}, max_connections: 1000 }}")
    };
    let backends: Vec<_> = (0..size).map(backend).collect();
    let text = format!(
        "listeners: {{ web: {{ bind: ':80', protocol: http, pool: app }} }}\n\
         pools: {{ app: {{ balance: {}, backends: [{}] }} }}",
        policy.word(),
        backends.join(", ")
    );
    let loaded = config::from_text("bench.yaml", &text);
    let begun = Instant::now();
    let compiled = config::compile(loaded, 1, &mut Registry::new(2)).ok()?;
    Some((compiled.snapshot.pools[0].clone(), begun.elapsed().as_secs_f64()))
}

fn is_ready(policy: Policy) -> bool {
    pool(policy, false, 2).is_some()
}

fn row(policy: Policy, weighted: bool, full: Full, size: usize) -> Value {
    let (pool, compiled) = pool(policy, weighted, size).unwrap();
    let mut seed = Seed::new(1);
    for backend in &pool.backends {
        backend.status.active.store(seed.below(20) as u32, Ordering::Relaxed);
        backend.status.latency.answered(1000 + seed.below(1000), Moment(1));
    }
    for (index, backend) in pool.backends.iter().enumerate().filter(|(index, _)| full.has(*index, size)) {
        backend.status.active.store(1000, Ordering::SeqCst);
        if full == Full::OrDown && index % 2 == 0 {
            backend.status.set_health(Health::Down, "a bench says so", Moment(1));
        }
    }
    let mut set = EligibleSet::of(&pool);
    let mut balancer = Balancer::new(&pool.balance, pool.hash_table.as_ref(), 0);
    balancer.prepare(&set);
    let pick = least(|| {
        let begun = Instant::now();
        for _ in 0..PICKS {
            let ask = Ask { hash: seed.next(), tried: &[], now: Moment(2) };
            black_box(balancer.pick(&set, black_box(&ask), &*pool, &mut seed));
        }
        begun.elapsed().as_secs_f64() / f64::from(PICKS)
    });
    // One backend goes down and comes back; this is what the control thread does about it, …
    let health = [Health::Down, Health::Up].into_iter().cycle();
    let publish = least_each(health, |health| {
        let begun = Instant::now();
        pool.backends[size / 2].status.set_health(health, "a bench says so", Moment(3));
        pool.status.touch();
        begun.elapsed().as_secs_f64()
    });
    // … and this what each worker does before its next pick.
    let rebuild = least(|| {
        let begun = Instant::now();
        set.rebuild(&pool);
        balancer.prepare(&set);
        begun.elapsed().as_secs_f64()
    });
    json!({
        "policy": policy.word(),
        "weighted": weighted,
        "full": full.words(),
        "backends": size,
        "pick_ns": pick * 1e9,
        "publish_us": publish * 1e6,
        "rebuild_us": rebuild * 1e6,
        "compile_ms": compiled * 1e3,
    })
}

fn least(mut round: impl FnMut() -> f64) -> f64 {
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn least_each<T>(rounds: impl Iterator<Item = T>, round: impl FnMut(T) -> f64) -> f64 {
    rounds.take(ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}
