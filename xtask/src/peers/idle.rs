//! Memory of idle connections, by the bench that compares it with peers.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::bench;

pub(super) fn memory(program: &Path) -> Result<String> {
    let result = bench::idle_memory(program)?;
    let contestants = result["contestants"].as_array().context("no contestants")?;
    let weir =
        contestants.iter().find(|line| line["name"] == "weir http").context("weir did not take part")?;
    let bytes = weir["bytes_per_connection"].as_f64().context("no figure")?;
    ensure!(bytes <= bench::IDLE_GOAL, "an idle connection costs {bytes:.0} bytes");
    Ok(format!("{bytes:.0} bytes for each of {} idle connections", result["connections"]))
}
