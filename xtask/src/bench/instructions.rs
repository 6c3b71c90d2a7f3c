//! Instructions of weir per request, by valgrind: exact whatever else the machine does, so two versions of weir can
//! be told apart by less than a percent. Two runs that differ in requests only; start and end cancel out.

use std::{
    fs::{self, File},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{
    Options, contestant, machine, probe,
    report::{Row, print_table},
};

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
    let folder = std::env::temp_dir().join("weir-bench/instructions");
    fs::create_dir_all(&folder)?;
    let output = folder.join("output.txt");
    let file = File::create(&output)?;
    let mut child = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(&options.weir)
        .args(["run", "-c"])
        .arg(crate::repository().join("bench/weir-instructions.yaml"))
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .context("valgrind cannot be started; on Debian: apt-get install valgrind")?;
    let served = serve(requests);
    machine::stop(&mut child)?;
    let said = fs::read_to_string(&output)?;
    served.with_context(|| format!("weir under valgrind said: {}", said.trim()))?;
    let line = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, figure) = line.with_context(|| format!("valgrind counted nothing: {}", said.trim()))?;
    figure.trim().parse().context("valgrind's figure is no number")
}

fn serve(requests: usize) -> Result<()> {
    let address = contestant::instructions_address();
    let deadline = Instant::now() + Duration::from_secs(60);
    while probe::exchange(address, 1).is_err() {
        if Instant::now() > deadline {
            bail!("no answer at {address}");
        }
        thread::sleep(Duration::from_millis(200));
    }
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
