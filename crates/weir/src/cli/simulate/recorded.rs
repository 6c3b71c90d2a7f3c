//! Requests of a recorded access log in weir's own format `json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use weir_model::{balance::Key, simulate::Request};

/// What is used of a line.
#[derive(Deserialize)]
struct Line {
    time: String,
    pool: Option<String>,
    client_address: Option<String>,
    #[serde(default)]
    attempts: Vec<Attempt>,
}

#[derive(Deserialize)]
struct Attempt {
    backend: String,
    response_time: Option<f64>,
}

/// An answered request.
pub(super) struct Entry {
    /// Microseconds since some day long ago.
    at: u64,
    /// Microseconds until its answer's head.
    took: f64,
    backend: String,
    key: u64,
}

/// What was read.
pub(super) struct Log {
    /// In the order of their times.
    pub(super) entries: Vec<Entry>,
    /// Lines of other pools, without an answer, or that are none of this format.
    pub(super) skipped: usize,
    /// Median times of backends in microseconds.
    medians: BTreeMap<String, f64>,
    median: f64,
}

/// Reads the answered requests of a pool.
pub(super) fn read(text: &str, pool: &str) -> Log {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let (mut entries, mut skipped) = (Vec::new(), 0);
    for line in lines {
        match entry(line, pool) {
            Some(entry) => entries.push(entry),
            None => skipped += 1,
        }
    }
    entries.sort_by_key(|entry| entry.at);
    let mut by_backend: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for entry in &entries {
        by_backend.entry(entry.backend.clone()).or_default().push(entry.took);
    }
    let medians = by_backend.into_iter().map(|(name, times)| (name, median(times))).collect();
    let median = median(entries.iter().map(|entry| entry.took).collect());
    Log { entries, skipped, medians, median }
}

fn entry(line: &str, pool: &str) -> Option<Entry> {
    let line: Line =
        serde_json::from_str(line).ok().filter(|line: &Line| line.pool.as_deref() == Some(pool))?;
    let attempt = line.attempts.into_iter().rev().find(|attempt| attempt.response_time.is_some())?;
    let took = attempt.response_time.filter(|time| (0.0..=86_400.0).contains(time))? * 1e6;
    let source = line.client_address.as_deref().and_then(|text| text.parse().ok());
    let key = source.map_or(0, Key::of_address);
    Some(Entry { at: micros(&line.time)?, took, backend: attempt.backend, key })
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(1.0).max(1.0)
}

impl Log {
    /// How many times as long as all of them together this backend took; 1 if the log does not know it.
    pub(super) fn slowness(&self, backend: &str) -> f64 {
        self.medians.get(backend).map_or(1.0, |median| median / self.median)
    }

    /// The requests, from the first one on. What each of them cost is what it took, for a backend of usual speed.
    pub(super) fn requests(&self) -> Vec<Request> {
        let start = self.entries.first().map_or(0, |entry| entry.at);
        let request = |entry: &Entry| Request {
            at: entry.at - start,
            work: entry.took / self.slowness(&entry.backend),
            key: entry.key,
        };
        self.entries.iter().map(request).collect()
    }
}

/// `2026-11-21T02:35:33.042Z` in microseconds; days are counted from the first of March of the year 0.
fn micros(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let fixed = |at: usize, byte: u8| text.as_bytes().get(at) == Some(&byte);
    let form = fixed(4, b'-') && fixed(7, b'-') && fixed(10, b'T') && fixed(13, b':') && fixed(16, b':');
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !form || !text.ends_with('Z') || !(1..=12).contains(&month) || year < 1 {
        return None;
    }
    let fraction = text.get(19..text.len() - 1).unwrap_or("").trim_start_matches('.');
    let fraction = format!("{fraction:0<6}").get(..6)?.parse::<u64>().ok()?;
    // Years that begin in March have their odd day last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    Some(((days * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_over_the_ends_of_months_and_years() {
        let between = |from: &str, to: &str| micros(to).unwrap() - micros(from).unwrap();
        assert_eq!(between("2026-11-21T02:35:33.042Z", "2026-11-21T02:35:34.043Z"), 1_001_000);
        assert_eq!(between("2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00.000Z"), 1000);
        assert_eq!(between("2028-02-28T00:00:00Z", "2028-03-01T00:00:00Z"), 2 * 86_400_000_000);
        assert_eq!(between("2027-02-28T00:00:00Z", "2027-03-01T00:00:00Z"), 86_400_000_000);
        for text in ["", "2026-11-21", "2026-13-21T02:35:33Z", "2026-11-21T02:35:33", "é026-11-21T02:35:33Z"]
        {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    #[test]
    fn answered_requests_of_the_pool_are_read_and_the_others_counted() {
        let line = |pool: &str, time: &str, backend: &str, took: &str| {
            format!(
                "{{\"time\":\"2026-11-21T02:35:{time}Z\",\"client_address\":\"192.0.2.7\",\"pool\":\"{pool}\",\
                 \"attempts\":[{{\"backend\":\"dead\",\"cause\":\"backend_connect_refused\"}},\
                 {{\"backend\":\"{backend}\",\"response_time\":{took}}}]}}\n"
            )
        };
        let text = line("app", "02.000", "a", "0.010")
            + &line("app", "01.500", "b", "0.100")
            + &line("app", "01.000", "a", "0.010")
            + &line("other", "01.000", "a", "0.010")
            + "no JSON\n\n{\"time\":\"2026-11-21T02:35:33Z\",\"pool\":\"app\"}\n";
        let log = read(&text, "app");
        assert_eq!((log.entries.len(), log.skipped), (3, 3));
        assert_eq!((log.slowness("a"), log.slowness("b"), log.slowness("c")), (1.0, 10.0, 1.0));
        let requests = log.requests();
        let times: Vec<_> = requests.iter().map(|request| (request.at, request.work.round())).collect();
        assert_eq!(times, [(0, 10_000.0), (500_000, 10_000.0), (1_000_000, 10_000.0)]);
    }
}
