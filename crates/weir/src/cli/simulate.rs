//! `weir simulate`: the balancing policies side by side, on a workload that is made up or was recorded. The model is
//! weir-model's; this reads what is asked, and prints.

mod plot;
mod recorded;
mod share;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum, builder::RangedU64ValueParser};
use serde_json::{Value, json};
use weir_control::{
    config,
    trouble::{Trouble as Told, instead},
};
use weir_model::{
    balance::{Balance, Policy},
    pool::Pool,
    simulate::{Machine, Model, Moved, Outcome, Request, Service, Trouble, Workload, run},
    status::Registry,
    time::Millis,
};

use super::{ConfigArgs, output};
use crate::terminal;

pub(super) const EXAMPLES: &str = "Examples:
  weir simulate -c weir.yaml                                   the last backend of the pool is five times slower
  weir simulate -c weir.yaml --scenario failing --json         from a third of the run on it fails, fast
  weir simulate -c weir.yaml --scenario even --service lognormal --load 85% --plot chart.svg
  weir simulate -c weir.yaml --log access.json --pool shop     arrivals and times of a recorded access log

Nothing is sent. Who gets which request is decided by the code that balances traffic; docs/simulate.md says what is modelled.";

/// What is wrong with the last backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Nothing: all are alike
    Even,
    /// It is slower than the others
    Slow,
    /// From a third of the run on it answers everything with an error, at once
    Failing,
    /// It comes after a third of the run, and has to warm up
    Cold,
}

#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The pool whose backends are modelled [default: the only one, or the first]
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
    /// What is wrong with the last backend of the pool
    #[arg(long, value_name = "NAME", default_value = "slow")]
    scenario: Scenario,
    /// How many times slower the slow one is
    #[arg(long, value_name = "FACTOR", default_value_t = 5.0)]
    slowness: f64,
    /// How the work of requests is distributed: exponential, lognormal, constant, pareto
    #[arg(long, value_name = "NAME", default_value = "exponential", value_parser = service)]
    service: Service,
    /// How long a backend works on a request, on average
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = mean)]
    mean: Millis,
    /// How many requests a backend works on at once; more wait at the backend
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = within(1_000_000))]
    concurrency: usize,
    /// How much of what all backends can do together is asked of them
    #[arg(long, value_name = "SHARE", default_value = "60%", value_parser = share::parse)]
    load: f64,
    /// How many requests come
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = within(10_000_000))]
    requests: usize,
    /// How many different keys they have
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = within(1_000_000_000))]
    keys: usize,
    /// How many workers balance, each by itself
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = within(1024))]
    workers: usize,
    /// What chance begins with: the same number gives the same result
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Policies to compare, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = policy)]
    policies: Vec<Policy>,
    /// Replay an access log of weir in the format `json` instead of making requests up
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenario", "service", "mean", "load", "requests", "keys"])]
    log: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a chart of the latencies
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// From one to so many.
fn within(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
}

fn service(text: &str) -> Result<Service, String> {
    let words = Service::ALL.map(Service::word);
    let found = Service::ALL.into_iter().find(|service| service.word() == text);
    found.ok_or_else(|| format!("there are {}", words.join(", ")))
}

fn policy(text: &str) -> Result<Policy, String> {
    let words = Policy::ALL.map(Policy::word);
    let found = Policy::ALL.into_iter().find(|policy| policy.word() == text);
    found.ok_or_else(|| format!("there are {}", words.join(", ")))
}

fn mean(text: &str) -> Result<Millis, String> {
    config::duration(text).and_then(|time| match time.0 {
        0 => Err("a request takes some time".into()),
        _ => Ok(time),
    })
}

/// Simulates.
pub(super) fn simulate(args: &SimulateArgs) -> Result<ExitCode> {
    let pool = pool(args)?;
    let (machines, requests, what) = match &args.log {
        Some(path) => recorded(&pool, path)?,
        None => made_up(args, &pool)?,
    };
    let model = Model { machines, workers: args.workers, seed: args.seed };
    let outcomes: Vec<_> = balances(args, &pool)
        .into_iter()
        .map(|balance| {
            let moved = Moved::of(&balance, &model.machines);
            (run(&model, &requests, &balance), moved)
        })
        .collect();
    if let Some(path) = &args.plot {
        let drawn: Vec<_> = outcomes.iter().map(|(outcome, _)| outcome).collect();
        let chart = plot::chart(&what, &drawn);
        fs::write(path, chart).map_err(|error| {
            let cause = format!("{} cannot be written: {error}", path.display());
            Told::new(cause, "name another place with `--plot`")
        })?;
    }
    if args.json {
        let policies: Vec<_> = outcomes.iter().map(|outcome| told(&model, outcome)).collect();
        output::json(&json!({ "policies": policies, "workload": what, "seed": args.seed }))?;
    } else {
        output::text(&format!("{what}\n\n{}", table(&model, &outcomes)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn pool(args: &SimulateArgs) -> Result<Arc<Pool>> {
    let loaded = config::load(args.config.path()?);
    let compiled = loaded.and_then(|loaded| config::compile(loaded, 1, &mut Registry::new(1)));
    let snapshot = match compiled {
        Ok(compiled) => compiled.snapshot,
        Err(refusal) => bail!(refusal.render(terminal::style())),
    };
    let found = match &args.pool {
        Some(name) => snapshot.pool(name).map(|(_, pool)| pool),
        None => snapshot.pools.first(),
    };
    found.cloned().ok_or_else(|| {
        let told = match args.pool.as_deref().filter(|_| !snapshot.pools.is_empty()) {
            None => Told::new("the configuration has no pool", "add one, or choose another file with `-c`"),
            Some(name) => Told::new(
                format!("there is no pool `{}`", name.escape_debug()),
                instead(name, snapshot.pools.iter().map(|pool| &*pool.name)),
            ),
        };
        told.into()
    })
}

/// Each policy as the pool would have it. Without `max_connections`, `first` gives everything to the first.
fn balances(args: &SimulateArgs, pool: &Pool) -> Vec<Balance> {
    let limited = pool.backends.iter().any(|backend| backend.max_connections != u32::MAX);
    let asked = |policy: &Policy| match &args.policies[..] {
        [] => *policy != Policy::First || limited,
        policies => policies.contains(policy),
    };
    let balance = |policy: Policy| Balance {
        bounded_load: pool.balance.bounded_load.filter(|_| policy.hashes()),
        ..policy.into()
    };
    Policy::ALL.into_iter().filter(asked).map(balance).collect()
}

/// The backends of the pool that take traffic, each with nothing wrong.
fn machines(pool: &Pool, concurrency: usize) -> Result<Vec<Machine>> {
    let machine = |backend: &weir_model::pool::Backend| Machine {
        name: backend.name.clone(),
        weight: backend.weight,
        concurrency,
        max_connections: backend.max_connections,
        slowness: 1.0,
        trouble: Trouble::None,
    };
    let taking = pool.backends.iter().filter(|backend| backend.weight > 0 && !backend.backup);
    let machines: Vec<_> = taking.map(machine).collect();
    if machines.is_empty() {
        let cause = format!("no backend of the pool `{}` takes traffic", pool.name);
        bail!(Told::new(cause, "give one a weight, or choose another pool with `--pool`"));
    }
    Ok(machines)
}

type Subject = (Vec<Machine>, Vec<Request>, String);

/// A workload that is made up, with the scenario that was asked for.
fn made_up(args: &SimulateArgs, pool: &Pool) -> Result<Subject> {
    let concurrency = args.concurrency;
    let mut machines = machines(pool, concurrency)?;
    if !(args.slowness.is_finite() && args.slowness > 0.0) {
        bail!(Told::new(
            format!("--slowness {} is no factor", args.slowness),
            "choose one above 0, such as 5"
        ));
    }
    let mean = args.mean.0 as f64 * 1000.0;
    let count = machines.len();
    let Some(last) = machines.last_mut() else { bail!("there is no backend to model") };
    if args.scenario == Scenario::Slow {
        last.slowness = args.slowness;
    }
    let name = last.name.to_string();
    // What the others can do is what there is, where one comes late or fails.
    let capacity: f64 = machines.iter().map(|machine| concurrency as f64 / (mean * machine.slowness)).sum();
    let workload = Workload {
        requests: args.requests,
        rate: capacity * 1e6 * args.load,
        service: args.service,
        mean,
        keys: args.keys as u64,
    };
    let requests = workload.requests(args.seed);
    let third = requests.get(requests.len() / 3).map_or(0, |request| request.at);
    let Some(last) = machines.last_mut() else { bail!("there is no backend to model") };
    let trouble = match args.scenario {
        Scenario::Even => "all alike".to_owned(),
        Scenario::Slow => format!("{name} {} times slower", args.slowness),
        Scenario::Failing => {
            last.trouble = Trouble::FailsFrom(third);
            format!("{name} failing fast after a third of the time")
        }
        Scenario::Cold => {
            last.trouble = Trouble::StartsAt(third);
            format!("{name} coming after a third of the time, cold")
        }
    };
    let what = format!(
        "pool {}: {count} backends, {trouble}; {} requests, {:.0} a second ({:.0} % of what the backends can do), {} \
         work of {} ms on average, {concurrency} at once at a backend",
        pool.name,
        requests.len(),
        workload.rate,
        args.load * 100.0,
        args.service.word(),
        args.mean.0
    );
    Ok((machines, requests, what))
}

/// What an access log recorded: arrivals and times as they were, on backends that are as fast as they were.
fn recorded(pool: &Pool, path: &Path) -> Result<Subject> {
    let text = fs::read_to_string(path).map_err(|error| {
        Told::new(format!("{} cannot be read: {error}", path.display()), "check the path given with `--log`")
    })?;
    let log = recorded::read(&text, &pool.name);
    if log.entries.is_empty() {
        let cause = format!("{} holds no answered request of the pool `{}`", path.display(), pool.name);
        bail!(Told::new(cause, "weir writes such lines with `access_log: { format: json }`"));
    }
    // The log's times hold what waited at a backend already.
    let mut machines = machines(pool, usize::MAX)?;
    for machine in &mut machines {
        machine.slowness = log.slowness(&machine.name);
    }
    let what = format!(
        "pool {}: {} backends, as fast as in the log; {} requests of {}, {} lines left out",
        pool.name,
        machines.len(),
        log.entries.len(),
        path.display(),
        log.skipped
    );
    Ok((machines, log.requests(), what))
}

fn told(model: &Model, (outcome, moved): &(Outcome, Option<Moved>)) -> Value {
    let shares = model.machines.iter().zip(&outcome.requests);
    let shares: serde_json::Map<_, _> =
        shares.map(|(machine, count)| (machine.name.to_string(), json!(count))).collect();
    json!({
        "policy": outcome.policy.word(),
        "p50_ms": outcome.quantile_ms(0.5),
        "p95_ms": outcome.quantile_ms(0.95),
        "p99_ms": outcome.quantile_ms(0.99),
        "errors": outcome.errors,
        "spread": outcome.spread(),
        "requests": shares,
        "moved": moved.map(|moved| json!({ "due": moved.due, "removed": moved.removed })),
    })
}

/// For people.
fn table(model: &Model, outcomes: &[(Outcome, Option<Moved>)]) -> String {
    let last = model.machines.last().map_or("", |machine| &machine.name);
    let mut out = format!(
        "{:<12} {:>10} {:>10} {:>10} {:>8} {:>7} {:>9} {:>7}\n",
        "POLICY", "P50 MS", "P95 MS", "P99 MS", "ERRORS", "SPREAD", "LAST", "MOVED"
    );
    for (outcome, moved) in outcomes {
        let count: u64 = outcome.requests.iter().sum();
        let share = outcome.requests.last().copied().unwrap_or(0) as f64 * 100.0 / count.max(1) as f64;
        let moved = moved.map_or_else(|| "-".to_owned(), |moved| format!("{:.1} %", moved.removed * 100.0));
        out += &format!(
            "{:<12} {:>10.1} {:>10.1} {:>10.1} {:>8} {:>7.3} {:>7.1} % {:>7}\n",
            outcome.policy.word(),
            outcome.quantile_ms(0.5),
            outcome.quantile_ms(0.95),
            outcome.quantile_ms(0.99),
            outcome.errors,
            outcome.spread(),
            share,
            moved
        );
    }
    out += &format!(
        "\nSPREAD: how unevenly requests are spread, 0 is fair. LAST: the share of {last}. MOVED: keys that move when {last} is \
         removed.\n"
    );
    out
}
