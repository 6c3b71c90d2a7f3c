//! Benches: weir beside Debian's nginx and HAProxy on the same work, in one run.
//!
//! The figure that survives a noisy machine is CPU time of the balancer's processes per request, and the claim is the
//! median of the ratios per round. The balancer has CPU 0 for itself; clients and backends share CPU 1.

mod contestant;
mod h2;
mod h2load;
mod idle;
mod instructions;
mod interval;
mod machine;
mod open_loop;
mod papers;
mod pick;
pub(crate) mod probe;
pub(crate) mod relay;
mod report;
mod same_rate;
mod saturation;
mod tls;
mod turns;
pub(crate) mod wrk;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process;
use contestant::{Contestant, Work};

const HELP: &str = "\
cargo xtask bench NAME... [OPTIONS]

  http           HTTP/1.1 keep-alive through weir, nginx and HAProxy, and through nginx stream and HAProxy tcp
  tcp            the same requests through weir's tcp listener, nginx stream and HAProxy tcp
  tls            HTTP/1.1 over TLS 1.3 through weir, nginx and HAProxy: requests on kept connections, full and resumed
                 handshakes, memory per idle connection; TLS that is passed on
  h2             HTTP/2 and gRPC through weir, nginx and HAProxy: 10 connections with 32 requests at a time and 64 with one,
                 in clear text and over TLS, to backends with HTTP/1.1 and with HTTP/2
  idle           memory per idle keep-alive connection, 9,000 of them
  instructions   instructions of weir per request (valgrind)
  pick           the balancer alone: what a pick costs, by policy and size of the pool

  --rounds N              rounds in which the contestants alternate (5)
  --seconds S             seconds per contestant and round (4)
  --turns N               rounds of http and tcp in which the contestants take turns of a tenth of a second; the CPU time is
                          judged by them (100; 0 for none)
  --connections A,B       connections of the clients (64,512)
  --idle N                idle connections (9000)
  --weir PATH             a binary of weir; without it weir is built for release first
  --quick                 2 rounds of 1 second, 10 of turns: to try the harness, not to claim anything
";

pub(crate) use idle::GOAL as IDLE_GOAL;

/// What was asked for.
struct Options {
    names: Vec<String>,
    rounds: usize,
    turns: usize,
    seconds: u64,
    connections: Vec<usize>,
    idle: usize,
    weir: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            rounds: 5,
            turns: 100,
            seconds: 4,
            connections: vec![64, 512],
            idle: 9000,
            weir: PathBuf::new(),
        }
    }
}

/// Runs the benches that the arguments name.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if arguments.is_empty() || arguments.iter().any(|argument| argument == "--help") {
        print!("{HELP}");
        return Ok(());
    }
    let options = parse(arguments)?;
    let folder = crate::repository().join("bench/results");
    std::fs::create_dir_all(&folder)?;
    let asked = |name: &str| options.names.iter().any(|asked| asked == name);
    let work: Vec<Work> = [("http", Work::Http), ("tcp", Work::Tcp)]
        .into_iter()
        .filter_map(|(name, work)| asked(name).then_some(work))
        .collect();
    if !work.is_empty() {
        traffic(&work, &options, &folder.join("traffic.json"))?;
    }
    if asked("tls") {
        report::save(&tls::run(&options)?, &folder.join("tls.json"))?;
    }
    if asked("h2") {
        report::save(&h2::run(&options)?, &folder.join("h2.json"))?;
    }
    if asked("idle") {
        report::save(&idle::run(&options)?, &folder.join("idle.json"))?;
    }
    if asked("pick") {
        report::save(&pick::run()?, &folder.join("pick.json"))?;
    }
    if asked("instructions") {
        report::save(&instructions::run(&options)?, &folder.join("instructions.json"))?;
    }
    Ok(())
}

/// Memory per idle connection of this weir and its peers.
pub(crate) fn idle_memory(weir: &Path) -> Result<Value> {
    idle::run(&Options { weir: weir.to_path_buf(), ..Options::default() })
}

/// Everything that carries requests: at saturation for each number of connections, then at one rate for all.
fn traffic(work: &[Work], options: &Options, file: &Path) -> Result<()> {
    let backend = contestant::backend()?;
    let mut contestants = Vec::new();
    for spec in contestant::specs(work) {
        match Contestant::start(spec, &options.weir) {
            Ok(contestant) => contestants.push(contestant),
            Err(error) => println!("{} is MISSING from this run: {error:#}", spec.name),
        }
    }
    if contestants.is_empty() {
        bail!("no contestant started");
    }
    let mut parts = Vec::new();
    let mut weakest = f64::INFINITY;
    for connections in &options.connections {
        let mut outcome = saturation::run(&contestants, *connections, options)?;
        outcome.turns = turns::run(&contestants, &backend, *connections, options.turns)?;
        weakest = weakest.min(outcome.weakest_rate());
        outcome.print();
        parts.push(outcome.json());
    }
    let rate = weakest / 2.0;
    let level = same_rate::run(&contestants, &backend, rate, options)?;
    level.print();
    let versions: Vec<_> = contestants.iter().map(|contestant| contestant.version.clone()).collect();
    report::save(
        &serde_json::json!({ "versions": versions, "saturation": parts, "same_rate": level.json() }),
        file,
    )
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--rounds" => options.rounds = value()?.parse().context("--rounds takes a number")?,
            "--turns" => options.turns = value()?.parse().context("--turns takes a number")?,
            "--seconds" => options.seconds = value()?.parse().context("--seconds takes a number")?,
            "--idle" => options.idle = value()?.parse().context("--idle takes a number")?,
            "--connections" => {
                let list = value()?.split(',').map(str::parse).collect::<Result<_, _>>();
                options.connections = list.context("--connections takes numbers, as in 64,512")?;
            }
            "--weir" => options.weir = std::path::absolute(value()?)?,
            "--quick" => (options.rounds, options.turns, options.seconds) = (2, 10, 1),
            "http" | "tcp" | "tls" | "h2" | "idle" | "instructions" | "pick" => {
                options.names.push(argument.clone());
            }
            other => bail!("there is no bench or option `{other}`; `cargo xtask bench --help` lists them"),
        }
    }
    if (1..interval::LEAST).contains(&options.turns) {
        bail!("--turns takes 0, or {} and more: fewer say nothing with certainty", interval::LEAST);
    }
    let alone = options.names.iter().all(|name| name == "pick");
    if options.weir.as_os_str().is_empty() && !alone {
        let (weir, built) = process::build_weir()?;
        if !built {
            println!("weir was not built; the peers run without it");
        }
        options.weir = weir;
    }
    Ok(options)
}
