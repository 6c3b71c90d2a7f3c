//! HTTP/2: to backends that speak HTTP/1.1 and to those that speak HTTP/2, in clear text and over TLS, and gRPC calls. Ten
//! connections with 32 requests at a time each, and 64 with one; at saturation, then at one rate for all.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{
    Options,
    contestant::{self, Program},
    h2load::{self, Question, Shape},
    machine, papers, probe,
    report::{Row, Spread, Verdict, print_table, print_verdicts},
};
use crate::process::{Running, folder};

/// How requests come, and the goal for weir's share of the better peer's CPU time.
const SHAPES: [(Shape, f64); 2] =
    [(Shape { connections: 10, streams: 32 }, 0.75), (Shape { connections: 64, streams: 1 }, 0.85)];

/// Void rounds of one contestant that are run again before it is given up.
const VOID_ROUNDS: usize = 5;

/// One kind of work: its name, the port after the first one of each balancer, and what is asked for there.
struct Work {
    name: &'static str,
    port: u16,
    secure: bool,
    call: bool,
}

const WORK: [Work; 5] = [
    Work { name: "h2c to HTTP/1.1", port: 0, secure: false, call: false },
    Work { name: "h2 over TLS to HTTP/1.1", port: 1, secure: true, call: false },
    Work { name: "h2c to h2c", port: 2, secure: false, call: false },
    Work { name: "h2 over TLS to h2c", port: 3, secure: true, call: false },
    Work { name: "gRPC calls, h2c to h2c", port: 2, secure: false, call: true },
];

/// A balancer that runs, with the first of its ports.
struct Balancer {
    name: &'static str,
    port: u16,
    version: String,
    process: Running,
}

const BALANCERS: [(&str, Program, &str, u16); 3] = [
    ("weir", Program::Weir, "weir-h2.yaml", 18110),
    ("nginx", Program::Nginx, "nginx-h2.conf", 18120),
    ("HAProxy", Program::Haproxy, "haproxy-h2.cfg", 18130),
];

/// A unary call's message: five bytes of gRPC's own, then content.
const MESSAGE: [u8; 37] = {
    let mut message = [b'x'; 37];
    [message[0], message[1], message[2], message[3], message[4]] = [0, 0, 0, 0, 32];
    message
};

/// One contestant in one round.
struct Sample {
    micros: f64,
    rate: f64,
    p50: f64,
    p99: f64,
}

/// Everything the rounds need.
struct Scene {
    balancers: Vec<Balancer>,
    message: PathBuf,
    folder: PathBuf,
    rounds: usize,
    seconds: u64,
    void: Vec<String>,
}

/// Runs all of it.
pub(super) fn run(options: &Options) -> Result<Value> {
    let message = papers::folder()?.join("message");
    fs::write(&message, MESSAGE)?;
    let _backend = contestant::backend()?;
    let mut balancers = Vec::new();
    for (name, program, file, port) in BALANCERS {
        match start(name, program, file, port, &options.weir) {
            Ok(balancer) => balancers.push(balancer),
            Err(error) => println!("{name} is MISSING from this run: {error:#}"),
        }
    }
    if balancers.is_empty() {
        bail!("no contestant started");
    }
    let versions: Vec<_> = balancers.iter().map(|balancer| balancer.version.clone()).collect();
    let (folder, rounds, seconds) = (folder("h2load")?, options.rounds, options.seconds);
    let mut scene = Scene { balancers, message, folder, rounds, seconds, void: Vec::new() };
    let mut parts = Vec::new();
    for work in &WORK {
        for (shape, goal) in SHAPES {
            let full = scene.level(work, shape, None)?;
            let weakest =
                full.iter().map(|samples| median(samples, |sample| sample.rate)).fold(f64::MAX, f64::min);
            let mut part = scene.show(work, shape, goal, &full);
            let same = scene.level(work, shape, Some(weakest / 2.0))?;
            part["same_rate"] = scene.show(work, shape, goal, &same);
            parts.push(part);
        }
    }
    Ok(json!({ "versions": versions, "work": parts, "void_rounds": scene.void }))
}

fn start(name: &'static str, program: Program, file: &str, port: u16, weir: &Path) -> Result<Balancer> {
    for work in &WORK {
        contestant::unused(SocketAddr::from(([127, 0, 0, 1], port + work.port)))?;
    }
    let folder = folder(file)?;
    let written = folder.join(file);
    let text = fs::read_to_string(crate::repository().join("bench").join(file))?;
    fs::write(&written, text.replace("PAPERS", &papers::folder()?.to_string_lossy()))?;
    let process = contestant::start(&program.command(weir, &written, &folder)?, machine::BALANCER, &folder)?;
    process.listens(SocketAddr::from(([127, 0, 0, 1], port)))?;
    Ok(Balancer { name, port, version: format!("{name}: {}", program.version(weir)), process })
}

impl Work {
    fn question<'q>(&self, balancer: &Balancer, message: &'q Path) -> Question<'q> {
        let scheme = if self.secure { "https" } else { "http" };
        let path = if self.call { "bench.Echo/Call" } else { "" };
        let content = if self.call { MESSAGE.len() } else { probe::BODY };
        Question {
            url: format!("{scheme}://127.0.0.1:{}/{path}", balancer.port + self.port),
            message: self.call.then_some(message),
            content: content as u64,
        }
    }
}

impl Scene {
    /// The rounds of one work in one shape, by balancer.
    fn level(&mut self, work: &Work, shape: Shape, rate: Option<f64>) -> Result<Vec<Vec<Sample>>> {
        let mut samples: Vec<Vec<Sample>> = self.balancers.iter().map(|_| Vec::new()).collect();
        for index in 0..self.balancers.len() {
            // Connections to the backends are opened, caches filled.
            let question = work.question(&self.balancers[index], &self.message);
            h2load::run(&question, shape, 1, rate, &self.folder)?;
        }
        for round in 0..self.rounds {
            for (index, samples) in samples.iter_mut().enumerate() {
                let sample = self.sample(index, work, shape, rate)?;
                let name = self.balancers[index].name;
                eprintln!(
                    "{}, {shape}, round {}: {name:<8} {:6.2} µs/request",
                    work.name,
                    round + 1,
                    sample.micros
                );
                samples.push(sample);
            }
        }
        Ok(samples)
    }

    fn sample(&mut self, index: usize, work: &Work, shape: Shape, rate: Option<f64>) -> Result<Sample> {
        let balancer = &self.balancers[index];
        let question = work.question(balancer, &self.message);
        for _ in 0..VOID_ROUNDS {
            let before = machine::cpu_time(balancer.process.pid())?;
            let load = h2load::run(&question, shape, self.seconds, rate, &self.folder)?;
            let used = machine::cpu_time(balancer.process.pid())? - before;
            if let Some(reason) = load.void() {
                let reason = format!("{}, {}: {reason}", balancer.name, work.name);
                println!("void round of {reason}");
                self.void.push(reason);
                continue;
            }
            let micros = used.as_secs_f64() * 1e6 / load.requests as f64;
            return Ok(Sample { micros, rate: load.rate, p50: load.p50, p99: load.p99 });
        }
        let words = balancer.process.last_words();
        bail!("{} had {VOID_ROUNDS} void rounds in a row; it said last: {words}", balancer.name)
    }

    /// weir beside the better peer, by CPU time and by p99.
    fn verdicts(&self, work: &Work, shape: Shape, goal: f64, samples: &[Vec<Sample>]) -> Vec<Verdict> {
        let of = |name: &str| self.balancers.iter().position(|balancer| balancer.name == name);
        let (Some(weir), Some(nginx), Some(haproxy)) = (of("weir"), of("nginx"), of("HAProxy")) else {
            return Vec::new();
        };
        let ratios = |figure: fn(&Sample) -> f64| {
            let rounds = samples[weir].iter().zip(&samples[nginx]).zip(&samples[haproxy]);
            let ratios = rounds.map(|((ours, one), other)| figure(ours) / figure(one).min(figure(other)));
            Spread::of(ratios)
        };
        let what = |figure: &str| format!("{}, {shape}: weir / better peer, {figure}", work.name);
        vec![
            Verdict::new(what("CPU"), ratios(|sample| sample.micros), goal),
            Verdict::new(what("p99"), ratios(|sample| sample.p99), 1.0),
        ]
    }

    /// Prints one level and returns it.
    fn show(&self, work: &Work, shape: Shape, goal: f64, samples: &[Vec<Sample>]) -> Value {
        let rows = self.balancers.iter().zip(samples).map(|(balancer, samples)| {
            let spread = Spread::of(samples.iter().map(|sample| sample.micros));
            Row(vec![
                balancer.name.to_owned(),
                format!("{:.2}", spread.median),
                format!("{:.2}–{:.2}", spread.least, spread.most),
                format!("{:.0}", median(samples, |sample| sample.rate)),
                format!("{:.0}", median(samples, |sample| sample.p50)),
                format!("{:.0}", median(samples, |sample| sample.p99)),
            ])
        });
        let title = format!("{}, {shape}, {} rounds", work.name, self.rounds);
        print_table(&title, &["", "CPU µs/request", "min–max", "requests/s", "p50 µs", "p99 µs"], rows);
        let verdicts = self.verdicts(work, shape, goal, samples);
        print_verdicts(&verdicts);
        let contestants = self.balancers.iter().zip(samples).map(|(balancer, samples)| {
            let all = |figure: fn(&Sample) -> f64| samples.iter().map(figure).collect::<Vec<_>>();
            json!({
                "name": balancer.name,
                "cpu_us_per_request": all(|sample| sample.micros),
                "requests_per_second": all(|sample| sample.rate),
                "p50_us": all(|sample| sample.p50),
                "p99_us": all(|sample| sample.p99),
            })
        });
        json!({
            "work": work.name,
            "connections": shape.connections,
            "streams": shape.streams,
            "contestants": contestants.collect::<Vec<_>>(),
            "ratios": verdicts.iter().map(Verdict::json).collect::<Vec<_>>(),
        })
    }
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    Spread::of(samples.iter().map(of)).median
}
