//! Instructions of weir per request, by valgrind: exact whatever else the machine does, so two versions of weir can
//! be told apart by less than a percent; and what outlier detection and each format of the access log add. Two runs that
//! differ in requests only; start and end cancel out.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

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

/// What is added to the configuration; the first row is without anything.
const ROWS: [(&str, Added); 7] = [
    ("weir http", Added::Nothing),
    ("with outlier", Added::Line("defaults: { pool: { outlier: {} } }")),
    ("with json", Added::Log("json")),
    ("with common", Added::Log("common")),
    ("with combined", Added::Log("combined")),
    ("with httplog", Added::Log("httplog")),
    (
        "with a template",
        Added::Log("$client_address [$time_clf] \"$request\" $status $bytes_out $duration $backend"),
    ),
];

/// What is added to the configuration.
#[derive(Clone, Copy)]
enum Added {
    Nothing,
    /// An access log in this format.
    Log(&'static str),
    /// A line of the file.
    Line(&'static str),
}

/// Counts them.
pub(crate) fn run(options: &Options) -> Result<Value> {
    let _backend = contestant::backend()?;
    let folder = process::folder("instructions")?;
    let mut rows = Vec::new();
    for (name, added) in ROWS {
        let file = configuration(&folder, added)?;
        let (few, many) = (count(options, &folder, &file, FEW)?, count(options, &folder, &file, MANY)?);
        rows.push((name, few, many));
    }
    let each = |few: u64, many: u64| many.saturating_sub(few) as f64 / (MANY - FEW) as f64;
    let plain = rows.first().map_or(0.0, |(_, few, many)| each(*few, *many));
    let shown = rows.iter().map(|(name, few, many)| {
        let instructions = each(*few, *many);
        let more = format!("{:+.1} %", (instructions / plain - 1.0) * 100.0);
        Row(vec![(*name).to_owned(), format!("{instructions:.0}"), more])
    });
    let title = format!("instructions in user space per request, {CONNECTIONS} connections, all threads");
    print_table(&title, &["", "instructions", ""], shown);
    let runs = rows.iter().map(|(name, few, many)| {
        json!({
            "name": name,
            "instructions_per_request": each(*few, *many),
            "runs": [{ "requests": FEW, "instructions": few }, { "requests": MANY, "instructions": many }],
        })
    });
    Ok(json!({ "connections": CONNECTIONS, "contestants": runs.collect::<Vec<_>>() }))
}

/// The file that weir runs with.
fn configuration(folder: &Path, added: Added) -> Result<PathBuf> {
    let mut text = fs::read_to_string(crate::repository().join("bench/weir-instructions.yaml"))?;
    match added {
        Added::Nothing => {}
        Added::Log(format) => text += &format!("access_log: {{ path: access.log, format: '{format}' }}\n"),
        Added::Line(line) => text += &format!("{line}\n"),
    }
    let file = folder.join("weir.yaml");
    fs::write(&file, text)?;
    Ok(file)
}

/// Instructions of a whole run of weir that serves so many requests.
fn count(options: &Options, folder: &Path, file: &Path, requests: usize) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(&options.weir)
        .args(["run", "-c"])
        .arg(file);
    let running = Running::start(&mut command, folder).context("on Debian: apt-get install valgrind")?;
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
