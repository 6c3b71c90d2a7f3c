//! TLS 1.3 that ends at the balancer: requests on kept connections, handshakes, idle connections; and TLS that is passed on.
//!
//! A handshake is counted with one request on its connection: without one, nobody would know that the server is done.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{
    Options,
    contestant::{self, Contestant, Work},
    idle, machine, papers,
    report::{Row, Spread, Verdict, print_table, print_verdicts},
    saturation,
};

/// Clients that shake hands at the same time.
const CLIENTS: usize = 8;
/// weir's share of the better peer's CPU time per handshake, and of its memory per idle connection.
const HANDSHAKES: f64 = 1.0;
const MEMORY: f64 = 0.5;

/// Runs all of it.
pub(super) fn run(options: &Options) -> Result<Value> {
    let mut parts = serde_json::Map::new();
    {
        let _backend = contestant::backend()?;
        let contestants = start(Work::Tls, options)?;
        let versions: Vec<_> = contestants.iter().map(|contestant| contestant.version.clone()).collect();
        parts.insert("versions".to_owned(), json!(versions));
        parts.insert("kept".to_owned(), kept(&contestants, options)?);
        for (what, resuming) in [("full", false), ("resumed", true)] {
            parts.insert(format!("{what}_handshakes"), handshakes(&contestants, (what, resuming), options)?);
        }
        drop(contestants);
        parts.insert("passed_on".to_owned(), kept(&start(Work::Pass, options)?, options)?);
    }
    let idle = idle::run_with(Work::Tls, options)?;
    print_verdicts(&memory(&idle));
    parts.insert("idle".to_owned(), idle);
    Ok(parts.into())
}

/// Starts those that do this kind of work.
fn start(work: Work, options: &Options) -> Result<Vec<Contestant>> {
    let mut contestants = Vec::new();
    for spec in contestant::specs(&[work]) {
        match Contestant::start(spec, &options.weir) {
            Ok(contestant) => contestants.push(contestant),
            Err(error) => println!("{} is MISSING from this run: {error:#}", spec.name),
        }
    }
    if contestants.is_empty() {
        bail!("no contestant started");
    }
    Ok(contestants)
}

/// Requests on kept connections.
fn kept(contestants: &[Contestant], options: &Options) -> Result<Value> {
    let mut parts = Vec::new();
    for connections in &options.connections {
        let outcome = saturation::run(contestants, *connections, options)?;
        outcome.print();
        parts.push(outcome.json());
    }
    Ok(parts.into())
}

/// CPU time per handshake of each contestant in turn, ratios per round.
fn handshakes(
    contestants: &[Contestant],
    (what, resuming): (&str, bool),
    options: &Options,
) -> Result<Value> {
    let mut micros: Vec<Vec<f64>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..options.rounds {
        for (contestant, micros) in contestants.iter().zip(&mut micros) {
            let before = machine::cpu_time(contestant.pid())?;
            let count = load(contestant, resuming, options.seconds)
                .with_context(|| format!("{}: {what} handshakes", contestant.spec.name))?;
            let used = machine::cpu_time(contestant.pid())? - before;
            let one = used.as_secs_f64() * 1e6 / count as f64;
            let name = contestant.spec.name;
            eprintln!("{what} handshakes, round {}: {name:<13} {one:7.2} µs/handshake", round + 1);
            micros.push(one);
        }
    }
    let rows = contestants.iter().zip(&micros).map(|(contestant, micros)| {
        let spread = Spread::of(micros.iter().copied());
        let around = format!("{:.2}–{:.2}", spread.least, spread.most);
        Row(vec![contestant.spec.name.to_owned(), format!("{:.2}", spread.median), around])
    });
    let title = format!("{what} handshakes with one request each, {} rounds", options.rounds);
    print_table(&title, &["", "CPU µs/handshake", "min–max"], rows);
    let of = |name: &str| contestants.iter().position(|contestant| contestant.spec.name == name);
    let mut verdicts = Vec::new();
    for peer in ["nginx tls", "HAProxy tls"] {
        if let (Some(ours), Some(theirs)) = (of("weir tls"), of(peer)) {
            let ratios = micros[ours].iter().zip(&micros[theirs]).map(|(ours, theirs)| ours / theirs);
            let what = format!("weir tls / {peer}: CPU per {what} handshake");
            verdicts.push(Verdict::new(what, Spread::of(ratios), HANDSHAKES));
        }
    }
    print_verdicts(&verdicts);
    let lines = contestants.iter().zip(&micros);
    Ok(json!({
        "contestants": lines
            .map(|(contestant, micros)| json!({ "name": contestant.spec.name, "cpu_us_per_handshake": micros }))
            .collect::<Vec<_>>(),
        "ratios": verdicts.iter().map(Verdict::json).collect::<Vec<_>>(),
    }))
}

/// Shakes hands for some seconds from the clients' CPU; returns how often.
fn load(contestant: &Contestant, resuming: bool, seconds: u64) -> Result<u64> {
    let (spec, length) = (contestant.spec, contestant.response_bytes);
    let client = move || -> Result<u64> {
        machine::pin(None, machine::CLIENTS)?;
        let tls = papers::client(resuming)?;
        let visit = || -> Result<bool> {
            let mut client = super::probe::Client::connect_as(spec.address(), Some(&tls))?;
            client.send()?;
            if client.receive()? != length {
                bail!("an answer of another length");
            }
            Ok(client.is_resumed())
        };
        visit()?;
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut count = 1;
        while Instant::now() < end {
            if visit()? != resuming {
                bail!("a handshake that is {}resumed", if resuming { "not " } else { "" });
            }
            count += 1;
        }
        Ok(count)
    };
    let threads: Vec<_> = (0..CLIENTS).map(|_| thread::spawn(client)).collect();
    let mut sum = 0;
    for thread in threads {
        sum += thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
    }
    Ok(sum)
}

/// weir's memory beside that of its peers.
fn memory(idle: &Value) -> Vec<Verdict> {
    let bytes = |name: &str| {
        let mut lines = idle["contestants"].as_array()?.iter();
        lines.find(|line| line["name"] == name)?["bytes_per_connection"].as_f64()
    };
    let Some(ours) = bytes("weir tls") else { return Vec::new() };
    let peers = ["nginx tls", "HAProxy tls"].into_iter().filter_map(|peer| Some((peer, bytes(peer)?)));
    let verdict = |(peer, theirs): (&str, f64)| {
        let ratio = std::iter::once(ours / theirs);
        Verdict::new(format!("weir tls / {peer}: memory per idle connection"), Spread::of(ratio), MEMORY)
    };
    peers.map(verdict).collect()
}
