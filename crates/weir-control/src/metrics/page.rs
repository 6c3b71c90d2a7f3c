//! Writing a page of metrics: OpenMetrics 1.0, or the older text format of Prometheus (0.0.4). They differ in where a
//! counter's `_total` is named, and in the last line.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write as _},
};

use weir_model::status::HistogramView;

/// A format of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The text format of Prometheus.
    Prometheus,
    /// OpenMetrics.
    OpenMetrics,
}

impl Format {
    /// The format that a client prefers; `accept` are the values of its Accept fields.
    pub fn of<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let (mut open, mut text) = (0.0, 0.0);
        for member in accept.flat_map(|field| field.split(',')) {
            let mut parts = member.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
            let weight = weight.unwrap_or(0.0);
            match media {
                "application/openmetrics-text" if weight > open => open = weight,
                "text/plain" | "text/*" | "*/*" if weight > text => text = weight,
                _ => {}
            }
        }
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The value of Content-Type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What the samples of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows; its samples end in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

/// Upper bounds as written, in microseconds: powers of two, where the histograms of the workers have bounds as well,
/// so that the counts are exact.
type Bounds = &'static [(u64, &'static str)];

const BOUNDS: [(u64, &str); 24] = [
    (1 << 3, "8e-06"),
    (1 << 4, "1.6e-05"),
    (1 << 5, "3.2e-05"),
    (1 << 6, "6.4e-05"),
    (1 << 7, "0.000128"),
    (1 << 8, "0.000256"),
    (1 << 9, "0.000512"),
    (1 << 10, "0.001024"),
    (1 << 11, "0.002048"),
    (1 << 12, "0.004096"),
    (1 << 13, "0.008192"),
    (1 << 14, "0.016384"),
    (1 << 15, "0.032768"),
    (1 << 16, "0.065536"),
    (1 << 17, "0.131072"),
    (1 << 18, "0.262144"),
    (1 << 19, "0.524288"),
    (1 << 20, "1.048576"),
    (1 << 21, "2.097152"),
    (1 << 22, "4.194304"),
    (1 << 23, "8.388608"),
    (1 << 24, "16.777216"),
    (1 << 25, "33.554432"),
    (1 << 26, "67.108864"),
];

/// Bounds for what takes microseconds.
pub(super) static SHORT: Bounds = BOUNDS.split_at(16).0;
/// Bounds for what others take.
pub(super) static LONG: Bounds = BOUNDS.split_at(4).1;

/// A page being written.
#[derive(Debug)]
pub struct Page {
    out: String,
    format: Format,
    family: &'static str,
}

impl Page {
    pub(super) fn new(format: Format) -> Self {
        Self { out: String::with_capacity(16 * 1024), format, family: "" }
    }

    /// Begins a family; the name of a counter is given without `_total`.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.family = name;
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let total = if kind == Kind::Counter && self.format == Format::Prometheus { "_total" } else { "" };
        self.put(format_args!("# HELP {name}{total} {help}\n# TYPE {name}{total} {word}\n"));
    }

    /// A sample of the family that was begun last.
    pub(super) fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(self.family);
        self.out.push_str(suffix);
        if !labels.is_empty() {
            self.out.push('{');
            for (number, (name, text)) in labels.iter().enumerate() {
                if number > 0 {
                    self.out.push(',');
                }
                self.put(format_args!("{name}=\""));
                escape(&mut self.out, text);
                self.out.push('"');
            }
            self.out.push('}');
        }
        self.put(format_args!(" {value}\n"));
    }

    /// The samples of a histogram.
    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], view: &HistogramView, bounds: Bounds) {
        let mut with_bound = labels.to_vec();
        with_bound.push(("le", ""));
        let last = with_bound.len() - 1;
        for (micros, text) in bounds {
            with_bound[last].1 = text;
            self.sample("_bucket", &with_bound, view.count_up_to(*micros));
        }
        with_bound[last].1 = "+Inf";
        self.sample("_bucket", &with_bound, view.count());
        self.sample("_count", labels, view.count());
        self.sample("_sum", labels, view.sum_micros() as f64 / 1e6);
    }

    /// The page.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.out.write_fmt(text);
    }
}

/// Writes the value of a label.
fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

/// Adds up counts with the same label, in the order of the labels.
pub(super) fn summed(counts: impl Iterator<Item = (String, u64)>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (label, count) in counts {
        let sum: &mut u64 = sums.entry(label).or_default();
        *sum = sum.wrapping_add(count);
    }
    sums
}
