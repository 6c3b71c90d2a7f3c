//! What a pick costs by policy and size of the pool, and what a change of health does to a worker. The bench itself is
//! `crates/weir/benches/pick.rs`.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::report::{Row, print_table};

/// Runs it, and prints tables.
pub(crate) fn run() -> Result<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["bench", "-q", "-p", "weir", "--bench", "pick"]).current_dir(crate::repository());
    let output = command.output().context("cargo cannot be run")?;
    if !output.status.success() {
        bail!("the bench failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let figures: Value = serde_json::from_slice(&output.stdout).context("the bench printed no JSON")?;
    let rows = figures["rows"].as_array().context("the bench printed no rows")?;
    let tables = [
        ("nanoseconds per pick", "pick_ns"),
        ("microseconds of a worker after a change of health", "rebuild_us"),
        ("microseconds of control to publish a change of health", "publish_us"),
        ("milliseconds to compile the pool", "compile_ms"),
    ];
    for (title, key) in tables {
        let policies =
            rows.chunk_by(|a, b| ["policy", "weighted", "full"].iter().all(|key| a[*key] == b[*key]));
        let shown = policies.map(|row| {
            let figures = row.iter().map(|each| format!("{:.1}", each[key].as_f64().unwrap_or(f64::NAN)));
            let first = row.first().unwrap_or(&Value::Null);
            let weighted = if first["weighted"] == true { ", weights 1 to 4" } else { "" };
            let full = match first["full"].as_str() {
                Some(full) if full != "none" => format!(", {full} full"),
                _ => String::new(),
            };
            let name = format!("{}{weighted}{full}", first["policy"].as_str().unwrap_or_default());
            Row(std::iter::once(name).chain(figures).collect())
        });
        print_table(title, &["backends", "10", "1,000", "10,000"], shown);
    }
    Ok(figures)
}
