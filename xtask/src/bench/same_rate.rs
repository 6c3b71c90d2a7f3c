//! All contestants at one offered rate, half of what the weakest can do: CPU time per request, and the latency that
//! each adds to the direct path. Both pinnings: the balancer on a CPU of its own, and on the clients' CPU.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Options,
    contestant::{Backend, Contestant},
    machine, open_loop,
    report::{Row, Spread, print_table},
};

/// Connections of the generator.
const CONNECTIONS: usize = 64;
/// Rounds per pinning.
const ROUNDS: usize = 3;

/// One contestant, or the direct path, at one pinning; all in microseconds.
struct Line {
    name: &'static str,
    /// None for the direct path, where there is no balancer.
    cpu: Option<f64>,
    p50: f64,
    p99: f64,
}

/// The lines of one pinning.
struct Part {
    pinning: &'static str,
    rate: f64,
    lines: Vec<Line>,
}

/// The outcome for both pinnings.
pub(crate) struct Level(Vec<Part>);

/// Runs direct and all contestants in turn. Where all share one CPU the rate is halved again.
pub(crate) fn run(
    contestants: &[Contestant],
    backend: &Backend,
    rate: f64,
    options: &Options,
) -> Result<Level> {
    let seconds = Duration::from_secs(options.seconds.min(3));
    let _pinned = machine::Pinned::to(machine::CLIENTS)?;
    let mut parts = Vec::new();
    for (pinning, cpu, rate) in [
        ("balancer on its own CPU", machine::BALANCER, rate),
        ("balancer on the clients' CPU", machine::CLIENTS, rate / 2.0),
    ] {
        for contestant in contestants {
            machine::pin_process(contestant.pid(), cpu)?;
        }
        parts.push(part(pinning, contestants, backend, rate, seconds)?);
    }
    Ok(Level(parts))
}

fn part(
    pinning: &'static str,
    contestants: &[Contestant],
    backend: &Backend,
    rate: f64,
    length: Duration,
) -> Result<Part> {
    let mut runs: Vec<(&'static str, Option<u32>, SocketAddr)> = vec![("direct", None, backend.address)];
    runs.extend(
        contestants
            .iter()
            .map(|contestant| (contestant.spec.name, Some(contestant.pid()), contestant.spec.address())),
    );
    let mut samples: Vec<Vec<Line>> = runs.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (index, (name, pid, address)) in runs.iter().enumerate() {
            let before = pid.map(machine::cpu_time).transpose()?;
            let latencies = open_loop::run(*address, CONNECTIONS, rate, length)?;
            let after = pid.map(machine::cpu_time).transpose()?;
            let cpu = before
                .zip(after)
                .map(|(before, after)| (after - before).as_secs_f64() * 1e6 / latencies.count() as f64);
            let (p50, p99) = (latencies.quantile(0.5), latencies.quantile(0.99));
            samples[index].push(Line { name, cpu, p50, p99 });
        }
    }
    let lines = runs.iter().zip(&samples).map(|((name, pid, _), samples)| {
        let median = |of: fn(&Line) -> f64| Spread::of(samples.iter().map(of)).median;
        Line {
            name,
            cpu: pid.map(|_| median(|line| line.cpu.unwrap_or(f64::NAN))),
            p50: median(|line| line.p50),
            p99: median(|line| line.p99),
        }
    });
    Ok(Part { pinning, rate, lines: lines.collect() })
}

impl Level {
    pub(crate) fn print(&self) {
        for part in &self.0 {
            let title = format!("at the same rate, {:.0} requests/s, {}", part.rate, part.pinning);
            let direct = &part.lines[0];
            let rows = part.lines.iter().map(|line| {
                Row(vec![
                    line.name.to_owned(),
                    line.cpu.map_or_else(|| "–".to_owned(), |cpu| format!("{cpu:.2}")),
                    format!("{:.0}", line.p50),
                    format!("{:.0}", line.p99),
                    format!("{:+.0}", line.p50 - direct.p50),
                    format!("{:+.0}", line.p99 - direct.p99),
                ])
            });
            print_table(&title, &["", "CPU µs/request", "p50 µs", "p99 µs", "added p50", "added p99"], rows);
        }
    }

    pub(crate) fn json(&self) -> Value {
        let parts = self.0.iter().map(|part| {
            let lines = part.lines.iter().map(|line| {
                json!({ "name": line.name, "cpu_us_per_request": line.cpu, "p50_us": line.p50, "p99_us": line.p99 })
            });
            json!({
                "pinning": part.pinning,
                "requests_per_second": part.rate,
                "connections": CONNECTIONS,
                "contestants": lines.collect::<Vec<_>>(),
            })
        });
        Value::Array(parts.collect())
    }
}
