//! Instructions of weir per request, by valgrind: exact whatever else the machine does, so two versions of weir can
//! be told apart by less than a percent. Two runs that differ in requests only; start and end cancel out.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    Options, contestant, probe,
    report::{Row, print_table},
};
use crate::process::{self, Running};

const CONNECTIONS: usize = 64;
const FEW: usize = 64 * 20;
const MANY: usize = 64 * 120;

/// Counts them.
pub(crate) fn run(options: &Options) -> Result<Value> {
    let _backend = contestant::backend()?;
    let (few, many) = (count(options, FEW)?, count(options, MANY)?);
    let each = many.saturating_sub(few) as f64 / (MANY - FEW) as f64;
    let row = Row(vec!["weir http".to_owned(), format!("{each:.0}")]);
    let title = format!("instructions in user space per request, {CONNECTIONS} connections");
    print_table(&title, &["", "instructions"], std::iter::once(row));
    Ok(json!({
        "connections": CONNECTIONS,
        "instructions_per_request": each,
        "runs": [{ "requests": FEW, "instructions": few }, { "requests": MANY, "instructions": many }],
    }))
}

/// Instructions of a whole run of weir that serves so many requests.
fn count(options: &Options, requests: usize) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(&options.weir)
        .args(["run", "-c"])
        .arg(crate::repository().join("bench/weir-instructions.yaml"));
    let folder = process::folder("instructions")?;
    let running = Running::start(&mut command, &folder).context("on Debian: apt-get install valgrind")?;
    let served = running
        .ready(|| probe::exchange(contestant::instructions_address(), 1))
        .and_then(|_| serve(requests));
    running.finish()?;
    let said = std::fs::read_to_string(folder.join("output.txt"))?;
    served.with_context(|| format!("weir under valgrind said: {}", said.trim()))?;
    let line = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, figure) = line.with_context(|| format!("valgrind counted nothing: {}", said.trim()))?;
    figure.trim().parse().context("valgrind's figure is no number")
}

fn serve(requests: usize) -> Result<()> {
    let address = contestant::instructions_address();
    let mut clients =
        (0..CONNECTIONS).map(|_| probe::Client::connect(address)).collect::<Result<Vec<_>>>()?;
    for _ in 0..requests / CONNECTIONS {
        clients.iter_mut().try_for_each(probe::Client::send)?;
        for client in &mut clients {
            client.receive()?;
        }
    }
    Ok(())
}
