//! `weir demo` as a new user meets it: run as a command, and read.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail where a test would")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// Beyond this it has not ended by itself.
const PATIENCE: Duration = Duration::from_secs(120);

fn weir(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Everything it says until it ends.
#[track_caller]
fn ends(child: Child) -> Output {
    let pid = Pid::from_child(&child);
    let (ended, end) = std::sync::mpsc::channel();
    thread::spawn(move || ended.send(child.wait_with_output()));
    match end.recv_timeout(PATIENCE) {
        Ok(output) => output.unwrap(),
        Err(_) => {
            let _ = kill_process(pid, Signal::KILL);
            panic!("it did not end");
        }
    }
}

#[track_caller]
fn succeeds(child: Child) -> String {
    let output = ends(child);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && err.is_empty(), "{:?}\n{err}\n{out}", output.status);
    out
}

/// The words of the row of a backend in the summary.
#[track_caller]
fn row<'t>(summary: &'t str, pool: &str, backend: &str) -> Vec<&'t str> {
    let rows = summary.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut rows = rows.filter(|row| row.starts_with(&[pool, backend]));
    rows.next().unwrap_or_else(|| panic!("no row of {pool} {backend} in\n{summary}"))
}

#[test]
fn it_shows_the_zombie_leaving_and_ends_with_a_summary() {
    let out = succeeds(weir(&["demo", "--for", "10s"]).spawn().unwrap());
    let (before, summary) = out.split_once("\nSummary after 1").unwrap_or_else(|| panic!("{out}"));

    // A table showed it, and so did weir's own log.
    let shown =
        |line: &str| line.starts_with("app ") && line.contains(" app-zombie ") && line.contains(" down ");
    let mut rows = before.lines().filter(|line| shown(line));
    assert!(rows.next().is_some_and(|row| row.contains("answered 500, expected 200-299")), "{out}");
    assert!(before.contains("pool=app backend=app-zombie health=down: answered 500"), "{out}");
    assert!(summary.contains("zombie   broke at 3.") && summary.contains("was taken out"), "{out}");

    for (pool, backend) in [
        ("app", "app-1"),
        ("app", "app-zombie"),
        ("api", "api-1"),
        ("api", "api-slow"),
        ("echo", "echo-1"),
        ("echo", "echo-2"),
    ] {
        let row = row(summary, pool, backend);
        assert!(row[3].parse::<u64>().unwrap() > 0, "{row:?}");
        assert_eq!(row[4] != "0", backend == "app-zombie", "only the zombie fails: {row:?}");
        assert_eq!(row[2] == "down", backend == "app-zombie", "{row:?}");
    }

    // What clients saw is what weir counted, and nothing else.
    let failed: u64 = row(summary, "app", "app-zombie")[4].parse().unwrap();
    let good: u64 = ["app-1", "app-zombie", "api-1", "api-slow"]
        .iter()
        .map(|name| row(summary, &name[..3], name)[3].parse::<u64>().unwrap())
        .sum::<u64>()
        - failed;
    let clients = format!(
        "clients  {} requests: {good} answered 200, {failed} answered 500, 0 without an answer\n",
        good + failed
    );
    assert!(summary.contains(&clients), "expected {clients}{summary}");
    let echoed = summary.lines().find_map(|line| line.trim().strip_suffix(" lines came back")).unwrap();
    let (_, echoed) = echoed.split_once(": ").unwrap();
    let (back, sent) = echoed.split_once(" of ").unwrap();
    assert!(back == sent && back != "0", "{echoed}");
    assert!(summary.contains("had to be cut: 0\n"), "{summary}");
}

#[test]
fn its_configuration_is_printed_as_it_can_be_saved_and_ctrl_c_drains() {
    let mut child = weir(&["demo"]).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "it ended by itself: {lines:?}");
        let traffic_flows = line.contains("clients: ");
        lines.push(line);
        if traffic_flows {
            break;
        }
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert!(ends(child).status.success(), "{rest}");
    let summary = rest.split_once("\nSummary after ").unwrap_or_else(|| panic!("{rest}")).1;
    assert!(summary.contains(" 0 without an answer") && summary.contains("had to be cut: 0\n"), "{summary}");
    assert!(summary.contains("zombie   had no time to break"), "{summary}");

    let config = lines.iter().skip_while(|line| !line.starts_with("# weir.yaml"));
    let config: String = config.take_while(|line| !line.trim().is_empty()).map(String::as_str).collect();
    assert!(config.contains("\nlisteners:\n") && config.contains("\npools:\n"), "{config}");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo.yaml");
    fs::write(&file, config).unwrap();
    let valid = succeeds(weir(&["check", "-c", file.to_str().unwrap()]).spawn().unwrap());
    assert!(valid.contains("2 listeners") && valid.contains("3 pools, 6 backends"), "{valid}");
}

#[test]
fn it_speaks_the_durations_of_the_language() {
    for (length, remedy) in [("20", "`20s`"), ("0s", "above zero"), ("soon", "`250ms`")] {
        let output = ends(weir(&["demo", "--for", length]).spawn().unwrap());
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && err.contains(remedy), "{length}: {err}");
    }
    let help = succeeds(weir(&["demo", "--help"]).spawn().unwrap());
    assert!(help.contains("weir demo --for 20s"), "{help}");
}
