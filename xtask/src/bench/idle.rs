//! Memory per idle keep-alive connection: each has made one request and waits.
//!
//! Peers set memory aside for as many connections as they may ever have, so the zero is a start of the same program
//! with room for few.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{
    Options,
    contestant::{self, Contestant, Spec, Work},
    machine, probe,
    report::{Row, print_table},
};

/// Bytes that an idle connection to weir may cost.
pub(crate) const GOAL: f64 = 2048.0;

/// How long connections are left alone before they count as idle.
const QUIET: Duration = Duration::from_secs(3);

struct Line {
    name: &'static str,
    version: String,
    bytes: f64,
    goal: Option<f64>,
}

/// Measures every HTTP contestant that starts.
pub(crate) fn run(options: &Options) -> Result<Value> {
    run_with(Work::Http, options)
}

/// The same for contestants that do this kind of work.
pub(super) fn run_with(work: Work, options: &Options) -> Result<Value> {
    let limit = machine::raise_file_limit();
    if limit < options.idle as u64 + 100 {
        bail!("{} connections need a higher limit of open files than {limit}", options.idle);
    }
    let _backend = contestant::backend()?;
    let mut lines = Vec::new();
    for spec in contestant::specs(&[work]).into_iter().filter(|spec| work == Work::Tls || spec.is_http()) {
        match measure(spec, options) {
            Ok(line) => lines.push(line),
            Err(error) => println!("{} is MISSING from this run: {error:#}", spec.name),
        }
    }
    let rows = lines.iter().map(|line| {
        let goal = line.goal.map_or_else(String::new, |goal| format!("≤ {goal}"));
        let verdict = line.goal.map_or("", |goal| if line.bytes <= goal { "pass" } else { "MISS" });
        Row(vec![line.name.to_owned(), format!("{:.0}", line.bytes), goal, verdict.to_owned()])
    });
    let title = format!("memory per idle connection, {} of them", options.idle);
    print_table(&title, &["", "bytes", "goal", ""], rows);
    let lines = lines.iter().map(|line| {
        json!({ "name": line.name, "version": line.version, "bytes_per_connection": line.bytes, "goal": line.goal })
    });
    Ok(json!({ "connections": options.idle, "contestants": lines.collect::<Vec<_>>() }))
}

fn measure(spec: Spec, options: &Options) -> Result<Line> {
    let before = {
        let small = Contestant::start_sized(spec, &options.weir, true)?;
        one_client(&spec, 10).with_context(|| format!("it said last: {}", small.last_words()))?;
        machine::resident(small.pid())?
    };
    let full = Contestant::start(spec, &options.weir)?;
    let mut clients = Vec::with_capacity(options.idle);
    for index in 0..options.idle {
        let one_request = || one_client(&spec, 1);
        clients.push(
            one_request()
                .with_context(|| format!("connection {index}; it said last: {}", full.last_words()))?,
        );
    }
    // Idle is who has been quiet for a while.
    thread::sleep(QUIET);
    let after = machine::resident(full.pid())?;
    // Those that were closed meanwhile would make the rest look cheap.
    for (index, client) in clients.iter_mut().enumerate() {
        client.send().and_then(|()| client.receive()).with_context(|| format!("idle connection {index}"))?;
    }
    let bytes = after.saturating_sub(before) as f64 / options.idle as f64;
    let goal = (spec.is_weir() && spec.is_http()).then_some(GOAL);
    Ok(Line { name: spec.name, version: full.version, bytes, goal })
}

/// A connection that has made so many requests.
fn one_client(spec: &Spec, requests: usize) -> Result<probe::Client> {
    let mut client = spec.connect()?;
    for _ in 0..requests {
        client.send()?;
        client.receive()?;
    }
    Ok(client)
}
