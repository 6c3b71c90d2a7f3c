//! Runs h2load: as many requests of HTTP/2 as fit, or at a rate, on connections that each carry several at a time.

use std::{fmt, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use super::machine;

/// How requests come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Connections.
    pub(super) connections: usize,
    /// Requests at a time on each of them.
    pub(super) streams: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} × {}", self.connections, self.streams)
    }
}

/// What is asked for again and again.
pub(super) struct Question<'q> {
    pub(super) url: String,
    /// A file to send; the question is then a gRPC call.
    pub(super) message: Option<&'q Path>,
    /// Bytes of content that each answer has.
    pub(super) content: u64,
}

/// What h2load counted; durations in microseconds.
pub(super) struct Outcome {
    pub(super) requests: u64,
    pub(super) rate: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    void: Option<String>,
}

impl Outcome {
    /// Why the figures must not be used, if there is a reason.
    pub(super) fn void(&self) -> Option<&str> {
        self.void.as_deref()
    }
}

/// Loads a balancer for some seconds from the clients' CPU; `rate` is in requests per second over all connections.
pub(super) fn run(
    question: &Question<'_>,
    shape: Shape,
    seconds: u64,
    rate: Option<f64>,
    folder: &Path,
) -> Result<Outcome> {
    let log = folder.join("h2load.log");
    // It adds to a file that is there.
    _ = fs::remove_file(&log);
    let mut command = Command::new("taskset");
    command.args(["-c", &machine::CLIENTS.to_string(), "h2load", "-t1"]);
    command.arg(format!("-c{}", shape.connections)).arg(format!("-m{}", shape.streams));
    command.arg(format!("-D{seconds}")).arg(format!("--log-file={}", log.display()));
    if let Some(rate) = rate {
        command.arg(format!("--rps={}", rate / shape.connections as f64));
    }
    if let Some(message) = question.message {
        command.arg("-d").arg(message).args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
    }
    let output = command
        .arg(&question.url)
        .output()
        .context("h2load cannot be started; on Debian: apt-get install nghttp2-client")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(counts) = Counts::read(&text) else {
        bail!("h2load reported nothing: {text}{}", String::from_utf8_lossy(&output.stderr));
    };
    let (p50, p99) = latencies(&fs::read_to_string(&log).context("h2load has logged nothing")?);
    let in_flight = (shape.connections * shape.streams) as u64;
    let rate = counts.requests as f64 / seconds as f64;
    Ok(Outcome { requests: counts.requests, rate, p50, p99, void: counts.void(question.content, in_flight) })
}

/// The figures in what it prints.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    requests: u64,
    succeeded: u64,
    wrong: u64,
    content: u64,
}

impl Counts {
    fn read(text: &str) -> Option<Self> {
        let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
        let number = |line: &str, name: &str| {
            let part = line.split(", ").find(|part| part.ends_with(name))?;
            part.split([' ', '(', ')']).find_map(|word| word.parse::<u64>().ok())
        };
        let requests = line("requests: ")?;
        let codes = line("status codes: ")?;
        let mut wrong = 0;
        for name in ["failed", "errored", "timeout"] {
            wrong += number(requests, name)?;
        }
        for name in ["3xx", "4xx", "5xx"] {
            wrong += number(codes, name)?;
        }
        // "traffic: 9.35MB (9800490) total, …, 1.76MB (1850000) data"
        let content = line("traffic: ")?.split(", ").find(|part| part.ends_with(" data"))?;
        let content = content.split_once('(')?.1.split_once(')')?.0.parse().ok()?;
        let succeeded = number(requests, "succeeded")?;
        Some(Self { requests: number(requests, "done")?, succeeded, wrong, content })
    }

    fn void(&self, each: u64, in_flight: u64) -> Option<String> {
        if self.wrong > 0 || self.succeeded != self.requests {
            return Some(format!("{} of {} requests failed", self.wrong, self.requests));
        }
        // Answers that were under way when the time was up have content that belongs to no request.
        let expected = self.requests * each;
        if self.requests == 0 || self.content.abs_diff(expected) > in_flight * each {
            return Some(format!("{} bytes for {} requests, not {expected}", self.content, self.requests));
        }
        None
    }
}

/// Median and 99th percentile of the lines "START CODE MICROSECONDS".
fn latencies(log: &str) -> (f64, f64) {
    let mut all: Vec<u32> = log.lines().filter_map(|line| line.rsplit('\t').next()?.parse().ok()).collect();
    all.sort_unstable();
    let at = |percent: usize| {
        let index = (all.len() * percent / 100).min(all.len().saturating_sub(1));
        all.get(index).map_or(f64::NAN, |micros| f64::from(*micros))
    };
    (at(50), at(99))
}

#[cfg(test)]
mod tests {
    use super::{Counts, latencies};

    const SAID: &str = "finished in 2.95s, 16922.15 req/s, 3.16MB/s\n\
        requests: 500 total, 520 started, 500 done, 499 succeeded, 1 failed, 2 errored, 3 timeout\n\
        status codes: 499 2xx, 0 3xx, 4 4xx, 1 5xx\n\
        traffic: 9.35MB (9800490) total, 5.72MB (6000000) headers (space savings 34.07%), 18.06KB (18500) data\n";

    #[test]
    fn what_it_prints_is_read() {
        let counts = Counts::read(SAID).unwrap();
        assert_eq!(counts, Counts { requests: 500, succeeded: 499, wrong: 11, content: 18500 });
        assert!(counts.void(37, 32).is_some());
        let good = Counts { requests: 500, succeeded: 500, wrong: 0, content: 18500 };
        assert_eq!(good.void(37, 32), None);
        assert!(good.void(1024, 32).is_some());
        assert_eq!(Counts::read("finished in"), None);
    }

    #[test]
    fn percentiles_are_of_the_last_column() {
        let log: String = (1..=200).map(|at| format!("1795265411841858\t200\t{at}\n")).collect();
        assert_eq!(latencies(&log), (101.0, 199.0));
        assert!(latencies("").0.is_nan());
    }
}
