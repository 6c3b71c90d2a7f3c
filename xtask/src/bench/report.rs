//! Tables for people, JSON for programs.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

/// Least, median and most of some figures.
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let half = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.wrapping_sub(1)), at(half)) };
        Self { least: at(0), median, most: at(sorted.len().wrapping_sub(1)) }
    }
}

/// A figure beside its goal, which it must not exceed.
pub(crate) struct Verdict {
    what: String,
    spread: Spread,
    goal: f64,
}

impl Verdict {
    pub(crate) const fn new(what: String, spread: Spread, goal: f64) -> Self {
        Self { what, spread, goal }
    }

    fn pass(&self) -> bool {
        self.spread.median <= self.goal
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "what": self.what,
            "median": self.spread.median,
            "min": self.spread.least,
            "max": self.spread.most,
            "goal": self.goal,
            "pass": self.pass(),
        })
    }
}

/// One row of a table.
pub(crate) struct Row(pub(crate) Vec<String>);

/// Prints a table: the first column to the left, all others to the right.
pub(crate) fn print_table(title: &str, head: &[&str], rows: impl Iterator<Item = Row>) {
    let mut lines = vec![Row(head.iter().map(|cell| (*cell).to_owned()).collect())];
    lines.extend(rows);
    let width = |column: usize| {
        lines.iter().filter_map(|row| row.0.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    println!("\n{title}");
    for row in &lines {
        let cells = row.0.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("  {cell:<width$}"),
            _ => format!("  {cell:>width$}"),
        });
        println!("{}", cells.collect::<String>().trim_end());
    }
}

/// Prints figures beside their goals.
pub(crate) fn print_verdicts(verdicts: &[Verdict]) {
    if verdicts.is_empty() {
        return;
    }
    let rows = verdicts.iter().map(|verdict| {
        let Spread { least, median, most } = verdict.spread;
        Row(vec![
            verdict.what.clone(),
            format!("{median:.3}"),
            format!("{least:.3}–{most:.3}"),
            format!("≤ {}", verdict.goal),
            if verdict.pass() { "pass" } else { "MISS" }.to_owned(),
        ])
    });
    print_table("median of the ratios per round", &["", "median", "min–max", "goal", ""], rows);
}

/// Writes a result where the next reader finds it.
pub(crate) fn save(result: &Value, file: &Path) -> Result<()> {
    std::fs::write(file, format!("{result:#}\n"))?;
    println!("\nwritten to bench/results/{}", file.file_name().unwrap_or_default().to_string_lossy());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0].into_iter());
        assert_eq!((spread.least, spread.median, spread.most), (1.0, 2.5, 4.0));
        assert_eq!(Spread::of([3.0, 1.0, 9.0].into_iter()).median, 3.0);
        assert!(Spread::of(std::iter::empty()).median.is_nan());
    }
}
