//! As many requests as fit: CPU time of the balancer per request, contestants in turn, ratios per round.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{
    Options,
    contestant::Contestant,
    machine,
    report::{Row, Spread, Verdict, print_table, print_verdicts},
    turns::Turns,
    wrk,
};

/// Void rounds of one contestant that are run again before it is given up.
pub(super) const VOID_ROUNDS: usize = 5;

/// One contestant in one round.
struct Sample {
    /// CPU time of the balancer per request.
    micros: f64,
    rate: f64,
    p50: f64,
    p99: f64,
}

/// All rounds at one number of connections.
pub(crate) struct Outcome {
    connections: usize,
    rounds: usize,
    names: Vec<&'static str>,
    /// By contestant, then round.
    samples: Vec<Vec<Sample>>,
    void: Vec<String>,
    /// If there were any, the CPU time is judged by them.
    pub(crate) turns: Option<Turns>,
}

/// Runs the rounds.
pub(crate) fn run(contestants: &[Contestant], connections: usize, options: &Options) -> Result<Outcome> {
    for contestant in contestants {
        // Connections to the backends are opened, caches filled.
        wrk::run_at(&contestant.spec.url(), connections, 1)?;
    }
    let mut outcome = Outcome {
        connections,
        rounds: options.rounds,
        names: contestants.iter().map(|contestant| contestant.spec.name).collect(),
        samples: contestants.iter().map(|_| Vec::new()).collect(),
        void: Vec::new(),
        turns: None,
    };
    for round in 0..options.rounds {
        for (index, contestant) in contestants.iter().enumerate() {
            let sample = outcome.sample(contestant, options.seconds)?;
            eprintln!(
                "{connections} connections, round {}: {:<13} {:6.2} µs/request",
                round + 1,
                contestant.spec.name,
                sample.micros
            );
            outcome.samples[index].push(sample);
        }
    }
    Ok(outcome)
}

impl Outcome {
    fn sample(&mut self, contestant: &Contestant, seconds: u64) -> Result<Sample> {
        for _ in 0..VOID_ROUNDS {
            let before = machine::cpu_time(contestant.pid())?;
            let load = wrk::run_at(&contestant.spec.url(), self.connections, seconds)?;
            let used = machine::cpu_time(contestant.pid())? - before;
            if let Some(reason) = load.void(self.connections, contestant.response_bytes) {
                println!("void round of {}: {reason}", contestant.spec.name);
                self.void.push(format!("{}: {reason}", contestant.spec.name));
                continue;
            }
            return Ok(Sample {
                micros: used.as_secs_f64() * 1e6 / load.requests as f64,
                rate: load.requests as f64 * 1e6 / load.microseconds as f64,
                p50: load.p50 as f64,
                p99: load.p99 as f64,
            });
        }
        bail!("{} had {VOID_ROUNDS} void rounds in a row", contestant.spec.name)
    }

    /// Requests per second of the weakest contestant.
    pub(crate) fn weakest_rate(&self) -> f64 {
        let rates = self.samples.iter().map(|samples| median(samples, |sample| sample.rate));
        rates.fold(f64::INFINITY, f64::min)
    }

    fn of(&self, name: &str) -> Option<&[Sample]> {
        let index = self.names.iter().position(|candidate| *candidate == name)?;
        Some(&self.samples[index])
    }

    /// weir's CPU time as a share of each peer's, unless turns tell it better, and its p99 beside the better peer's.
    fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for (weir, peer, goal) in goals(self.connections).into_iter().filter(|_| self.turns.is_none()) {
            if let (Some(ours), Some(theirs)) = (self.of(weir), self.of(peer)) {
                let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours.micros / theirs.micros);
                verdicts.push(Verdict::new(format!("{weir} / {peer}: CPU"), Spread::of(ratios), goal));
            }
        }
        for (weir, peers) in [
            ("weir http", ["nginx http", "HAProxy http"]),
            ("weir tcp", ["nginx stream", "HAProxy tcp"]),
            ("weir tls", ["nginx tls", "HAProxy tls"]),
            ("weir pass", ["nginx pass", "HAProxy pass"]),
        ] {
            let (Some(ours), Some(first), Some(second)) =
                (self.of(weir), self.of(peers[0]), self.of(peers[1]))
            else {
                continue;
            };
            let better = first.iter().zip(second).map(|(first, second)| first.p99.min(second.p99));
            let ratios = ours.iter().zip(better).map(|(ours, better)| ours.p99 / better);
            verdicts.push(Verdict::new(format!("{weir} / better peer: p99"), Spread::of(ratios), 1.0));
        }
        verdicts
    }

    pub(crate) fn print(&self) {
        let title = format!("at saturation, {} connections, {} rounds", self.connections, self.rounds);
        let rows = self.names.iter().zip(&self.samples).map(|(name, samples)| {
            let spread = Spread::of(samples.iter().map(|sample| sample.micros));
            Row(vec![
                (*name).to_owned(),
                format!("{:.2}", spread.median),
                format!("{:.2}–{:.2}", spread.least, spread.most),
                format!("{:.0}", median(samples, |sample| sample.rate)),
                format!("{:.0}", median(samples, |sample| sample.p50)),
                format!("{:.0}", median(samples, |sample| sample.p99)),
            ])
        });
        let head = ["", "CPU µs/request", "min–max", "requests/s", "p50 µs", "p99 µs"];
        print_table(&title, &head, rows);
        print_verdicts(&self.verdicts());
        if let Some(turns) = &self.turns {
            turns.print();
        }
    }

    pub(crate) fn json(&self) -> Value {
        let contestants = self.names.iter().zip(&self.samples).map(|(name, samples)| {
            json!({
                "name": name,
                "cpu_us_per_request": samples.iter().map(|sample| sample.micros).collect::<Vec<_>>(),
                "requests_per_second": samples.iter().map(|sample| sample.rate).collect::<Vec<_>>(),
                "p50_us": samples.iter().map(|sample| sample.p50).collect::<Vec<_>>(),
                "p99_us": samples.iter().map(|sample| sample.p99).collect::<Vec<_>>(),
            })
        });
        json!({
            "connections": self.connections,
            "contestants": contestants.collect::<Vec<_>>(),
            "ratios": self.verdicts().iter().map(Verdict::json).collect::<Vec<_>>(),
            "void_rounds": self.void,
            "turns": self.turns.as_ref().map(Turns::json),
        })
    }
}

/// Who is compared with whom, and the goal for weir's share of the peer's CPU time.
pub(super) fn goals(connections: usize) -> [(&'static str, &'static str, f64); 10] {
    let (nginx, haproxy) = if connections >= 512 { (0.75, 0.60) } else { (0.85, 0.70) };
    [
        ("weir http", "nginx http", nginx),
        ("weir http", "HAProxy http", haproxy),
        ("weir http", "nginx stream", 1.1),
        ("weir http", "HAProxy tcp", 1.0),
        ("weir tcp", "nginx stream", 1.1),
        ("weir tcp", "HAProxy tcp", 1.0),
        ("weir tls", "nginx tls", 0.85),
        ("weir tls", "HAProxy tls", 0.85),
        ("weir pass", "nginx pass", 1.1),
        ("weir pass", "HAProxy pass", 1.0),
    ]
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    Spread::of(samples.iter().map(of)).median
}
