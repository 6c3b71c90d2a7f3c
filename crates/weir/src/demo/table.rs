//! The table of backends: what each of them carried, how fast, and whether it takes part.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use weir_control::config::Style;
use weir_model::{
    pool::Backend,
    snapshot::Snapshot,
    status::{Health, HistogramView},
    time::{Millis, Moment},
};

use super::screen::{Paint, paint};

/// Rates and latencies are those of so long ago until now.
const WINDOW: Millis = Millis::secs(3);

const TITLES: &str = "pool  backend    health  requests failed  req/s active p50 ms p99 ms  why";

/// The backends of a running weir, and what they did.
#[derive(Debug)]
pub(super) struct Table {
    snapshot: Arc<Snapshot>,
    first: Sample,
    /// From old to new.
    recent: VecDeque<Sample>,
    /// For each backend its last change of health, and the last error it had then.
    turns: Vec<(u64, Option<Arc<str>>)>,
}

/// The time that rates and latencies are taken over.
#[derive(Debug, Clone, Copy)]
pub(super) enum Over {
    /// The last seconds.
    Lately,
    /// From the start.
    All,
}

/// The counters of all backends at one time.
#[derive(Debug, Clone)]
struct Sample {
    at: Moment,
    figures: Vec<Figures>,
}

/// The counters of one backend.
#[derive(Debug, Clone)]
struct Figures {
    /// Requests, or connections where those are balanced.
    requests: u64,
    server_errors: u64,
    /// Attempts that came to no answer.
    errors: u64,
    latency: HistogramView,
}

impl Figures {
    fn of(backend: &Backend) -> Self {
        let shards = &backend.status.shards;
        Self {
            requests: shards.sum(|shard| shard.codes.total()),
            server_errors: shards.sum(|shard| shard.codes.class(5)),
            errors: shards.sum(|shard| shard.errors.value()),
            latency: shards.iter().map(|shard| &shard.latency).collect(),
        }
    }
}

impl Figures {
    /// Requests that came to nothing good.
    const fn failed(&self) -> u64 {
        self.server_errors + self.errors
    }
}

impl Table {
    /// Begins to observe.
    pub(super) fn new(snapshot: Arc<Snapshot>, now: Moment) -> Self {
        let first = sample(&snapshot, now);
        let turns = vec![(0, None); first.figures.len()];
        let mut table = Self { snapshot, recent: [first.clone()].into(), first, turns };
        table.observe(now);
        table
    }

    /// Reads all counters again.
    pub(super) fn observe(&mut self, now: Moment) {
        self.recent.push_back(sample(&self.snapshot, now));
        while self.recent.len() > 2 && now.since(self.recent[1].at) >= WINDOW {
            self.recent.pop_front();
        }
        for ((_, backend), turn) in backends(&self.snapshot).zip(&mut self.turns) {
            let changed = backend.status.changed_at().0;
            if turn.0 != changed {
                *turn = (changed, backend.status.last_error());
            }
        }
    }

    /// Reads all counters again as if no time had gone by since the last time: what was under way has come to its end.
    pub(super) fn recount(&mut self) {
        if let Some(last) = self.recent.back_mut() {
            *last = sample(&self.snapshot, last.at);
        }
    }

    /// How many answers of this backend were 5xx.
    pub(super) fn server_errors(&self, name: &str) -> u64 {
        let of = |(_, backend): (&str, &Backend)| {
            if *backend.name == *name { Figures::of(backend).server_errors } else { 0 }
        };
        backends(&self.snapshot).map(of).sum()
    }

    /// As text, at most `width` columns wide.
    pub(super) fn lines(&self, over: Over, width: Option<usize>, style: Style) -> Vec<String> {
        let Some(now) = self.recent.back() else { return Vec::new() };
        let then = match over {
            Over::Lately => self.recent.front().unwrap_or(now),
            Over::All => &self.first,
        };
        let seconds = now.at.since(then.at).0.max(1) as f64 / 1000.0;
        let mut lines = vec![paint(style, Paint::Bold, TITLES)];
        let figures = now.figures.iter().zip(&then.figures).zip(&self.turns);
        for ((pool, backend), ((now, then), (_, old_error))) in backends(&self.snapshot).zip(figures) {
            let error = new_error(backend, old_error.as_ref());
            let matters = error.is_some() || backend.status.health() != Health::Up;
            let why = error.unwrap_or_else(|| backend.status.reason());
            let fits = width.is_none_or(|width| TITLES.len() - "why".len() + why.chars().count() <= width);
            let row = row(pool, backend, now, then, seconds, style);
            lines.push(row + if fits { &why } else { "" });
            if !fits && matters {
                lines.push(clip(&format!("{:17}^ {why}", ""), width));
            }
        }
        lines
    }
}

/// One backend, up to the reason of its health.
fn row(pool: &str, backend: &Backend, now: &Figures, then: &Figures, seconds: f64, style: Style) -> String {
    let (health, latency) = (backend.status.health(), now.latency.since(&then.latency));
    let failed = format!("{:>7}", now.failed());
    let fails = now.failed() > then.failed();
    format!(
        "{pool:<6}{:<11}{}{:>8}{}{:>7.1}{:>7}{:>7}{:>7}  ",
        backend.name,
        paint(style, colour(health), &format!("{:<8}", health.word())),
        now.requests,
        if fails { paint(style, Paint::Red, &failed) } else { failed },
        (now.requests - then.requests) as f64 / seconds,
        backend.status.active.load(Ordering::Relaxed),
        millis(latency.quantile(0.5)),
        millis(latency.quantile(0.99)),
    )
}

fn sample(snapshot: &Snapshot, at: Moment) -> Sample {
    Sample { at, figures: backends(snapshot).map(|(_, backend)| Figures::of(backend)).collect() }
}

/// Every backend with the name of its pool.
fn backends(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &Backend)> {
    snapshot.pools.iter().flat_map(|pool| pool.backends.iter().map(|backend| (&*pool.name, backend)))
}

/// What has gone wrong with a backend that is up, since it is.
fn new_error(backend: &Backend, old: Option<&Arc<str>>) -> Option<Arc<str>> {
    let error = backend.status.last_error().filter(|_| backend.status.health() == Health::Up)?;
    (!old.is_some_and(|old| Arc::ptr_eq(old, &error))).then_some(error)
}

const fn colour(health: Health) -> Paint {
    match health {
        Health::Up => Paint::Green,
        Health::Unknown => Paint::Yellow,
        Health::Down | Health::Ejected => Paint::Red,
    }
}

/// Microseconds as milliseconds, with as many digits as matter.
pub(super) fn millis(micros: Option<u64>) -> String {
    match micros.map(|micros| micros as f64 / 1000.0) {
        None => "-".to_owned(),
        Some(millis) if millis < 10.0 => format!("{millis:.1}"),
        Some(millis) => format!("{millis:.0}"),
    }
}

/// As much of a text as fits.
pub(super) fn clip(text: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if text.chars().count() > width => {
            let kept: String = text.chars().take(width.saturating_sub(1)).collect();
            if width == 0 { kept } else { kept + "…" }
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use weir_control::config;
    use weir_model::status::Registry;

    use super::*;

    const TEXT: &str = "
listeners: { web: { bind: \"127.0.0.1:0\", protocol: http, pool: app } }
pools: { app: { backends: [{ name: one, address: \"10.0.0.1:80\" }], health: { http: / } } }
";

    fn table() -> Table {
        let compiled = config::compile(config::from_text("weir.yaml", TEXT), 1, &mut Registry::new(1));
        Table::new(Arc::new(compiled.unwrap().snapshot), Moment(1000))
    }

    #[test]
    fn a_row_says_what_happened_lately_and_why() {
        let mut table = table();
        let snapshot = table.snapshot.clone();
        let status = &snapshot.pools[0].backends[0].status;
        status.set_health(Health::Up, "answered 200", Moment(1500));
        let shard = status.shards.of(0);
        (0..100).for_each(|_| shard.codes.count(200));
        (0..100).for_each(|_| shard.latency.record(4000));
        table.observe(Moment(2000));
        let row = table.lines(Over::Lately, None, Style::Plain).remove(1);
        let words: Vec<_> = row.split_whitespace().collect();
        assert_eq!(words, ["app", "one", "up", "100", "0", "100.0", "0", "4.1", "4.1", "answered", "200"]);

        (0..3).for_each(|_| shard.codes.count(500));
        status.set_last_error("health check: answered 500");
        table.observe(Moment(3000));
        table.observe(Moment(9000));
        let lately = table.lines(Over::Lately, Some(100), Style::Plain).remove(1);
        assert!(lately.contains(" 0.0 ") && lately.ends_with("health check: answered 500"), "{lately}");
        let all = table.lines(Over::All, Some(80), Style::Plain);
        assert!(all[1].contains(" 12.9 ") && !all[1].contains("answered"), "{all:?}");
        assert!(all[2].trim() == "^ health check: answered 500", "{all:?}");

        status.set_health(Health::Down, "answered 500", Moment(9400));
        status.set_health(Health::Up, "answered 200 again", Moment(9500));
        table.observe(Moment(9600));
        let row = table.lines(Over::Lately, None, Style::Colour).remove(1);
        assert!(row.ends_with("answered 200 again") && row.contains("\x1b[32mup      \x1b[0m"), "{row}");
    }
}
