//! `weir simulate` as a process of its own: the same seed gives the same bytes, and the figures are those that the paper
//! claims.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail where a test would")]

use std::{
    env, fs,
    path::PathBuf,
    process::{self, Command},
};

use serde_json::Value;
use weir::app::App;
use weir_testkit::{FakeBackend, RawClient};

/// A folder with a pool of ten backends, for one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("weir-simulate-{name}-{}", process::id()));
        fs::create_dir_all(&path).unwrap();
        let backends: Vec<_> = (1..=10).map(|index| format!("10.0.0.{index}:80")).collect();
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:8080, protocol: http, pool: app }} }}\n\
             pools: {{ app: {{ backends: [{}] }} }}\n",
            backends.join(", ")
        );
        fs::write(path.join("weir.yaml"), text).unwrap();
        Self(path)
    }

    /// What the command says: its exit code, standard output and standard error.
    fn simulate(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        let output = command.arg("simulate").args(arguments).current_dir(&self.0).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (code, out, error) = self.simulate(&[&["--json"], arguments].concat());
        assert_eq!(code, 0, "{error}");
        serde_json::from_str(&out).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn figure(told: &Value, policy: &str, key: &str) -> f64 {
    let policies = told["policies"].as_array().unwrap();
    let found = policies.iter().find(|each| each["policy"] == policy);
    found.unwrap_or_else(|| panic!("no {policy}: {told}"))[key].as_f64().unwrap()
}

#[test]
fn what_is_out_of_range_is_refused_with_the_range() {
    let folder = Folder::new("ranges");
    for (option, value, said) in [
        ("--requests", "0", "0 is not in 1..=10000000"),
        ("--requests", "10000001", "10000001 is not in 1..=10000000"),
        ("--workers", "0", "0 is not in 1..=1024"),
        ("--workers", "1025", "1025 is not in 1..=1024"),
        ("--concurrency", "0", "0 is not in 1..=1000000"),
        ("--keys", "0", "0 is not in 1..=1000000000"),
        ("--load", "1001%", "write a percentage above 0% and up to 1000%"),
    ] {
        let (code, out, error) = folder.simulate(&[option, value]);
        assert!(code == 2 && out.is_empty() && error.contains(said), "{option} {value}: {error}");
    }
    let (code, _, error) = folder.simulate(&["--pool", "nope"]);
    assert_eq!((code, &*error), (1, "error: there is no pool `nope`\n  help: there are: `app`\n"));
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let folder = Folder::new("seed");
    let told = |seed: &str, plot: &str| {
        let arguments = ["--requests", "5000", "--seed", seed, "--json", "--plot", plot];
        (folder.simulate(&arguments), fs::read(folder.0.join(plot)).unwrap())
    };
    let (one, same, other) = (told("3", "a.svg"), told("3", "b.svg"), told("4", "c.svg"));
    assert_eq!(one, same);
    assert!(one.0.1 != other.0.1 && one.1 != other.1);
    let chart = String::from_utf8(one.1).unwrap();
    assert!(chart.starts_with("<svg") && chart.ends_with("</svg>\n"));
    assert_eq!(chart.matches("<polyline").count(), 8);
}

#[test]
fn one_slow_of_ten_is_ten_times_worse_for_those_who_do_not_look() {
    let folder = Folder::new("slow");
    let told = folder.json(&["--requests", "60000"]);
    let turns = figure(&told, "round_robin", "p99_ms");
    for policy in ["least_conn", "ewma", "two_choices"] {
        assert!(turns > 10.0 * figure(&told, policy, "p99_ms"), "{policy}: {told:#}");
    }
    // By latency and load is better at the tail than by load alone, of two drawn ones.
    assert!(figure(&told, "ewma", "p99_ms") < 0.95 * figure(&told, "two_choices", "p99_ms"), "{told:#}");
    for policy in told["policies"].as_array().unwrap() {
        for key in ["p50_ms", "p95_ms", "p99_ms", "errors", "spread"] {
            assert!(policy[key].is_number(), "{key} in {policy}");
        }
    }
}

#[test]
fn one_that_fails_fast_gets_the_most_of_least_conn_and_the_least_of_ewma() {
    let folder = Folder::new("failing");
    let told = folder.json(&["--requests", "30000", "--scenario", "failing"]);
    let errors = |policy| figure(&told, policy, "errors");
    assert!(errors("least_conn") > 2.0 * errors("round_robin"), "{told:#}");
    assert!(errors("ewma") < errors("round_robin") / 2.0, "{told:#}");
}

#[test]
fn keys_move_as_little_as_they_must() {
    let folder = Folder::new("keys");
    let told =
        folder.json(&["--requests", "1000", "--scenario", "even", "--policies", "ring_hash,maglev,random"]);
    let policies = told["policies"].as_array().unwrap();
    let names: Vec<_> = policies.iter().map(|policy| policy["policy"].as_str().unwrap()).collect();
    assert_eq!(names, ["random", "ring_hash", "maglev"]);
    let moved = |index: usize, key: &str| policies[index]["moved"][key].as_f64().unwrap();
    assert!(policies[0]["moved"].is_null());
    assert_eq!(moved(1, "removed"), moved(1, "due"));
    assert!(moved(2, "removed") < moved(2, "due") + 0.02 && moved(2, "removed") < 0.13);
}

#[test]
fn a_log_that_weir_wrote_is_replayed() {
    let folder = Folder::new("log");
    let backend = FakeBackend::echo();
    let text = format!(
        "workers: 1\naccess_log: '{}'\nlisteners: {{ web: {{ bind: 127.0.0.1:0, protocol: http, pool: app }} }}\n\
         pools: {{ app: {{ backends: [{{ address: '{}', name: '10.0.0.3:80' }}] }} }}\n",
        folder.0.join("access.json").display(),
        backend.address()
    );
    let app = App::from_text(&text).unwrap();
    let mut client = RawClient::connect(app.address("web"));
    for _ in 0..20 {
        assert_eq!(client.get("/").status(), 200);
    }
    drop(client);
    app.shutdown(&|| false);
    let told = folder.json(&["--log", "access.json", "--policies", "round_robin"]);
    let requests = &told["policies"][0]["requests"];
    assert_eq!(requests["10.0.0.1:80"], 2, "{told:#}");
    assert_eq!(figure(&told, "round_robin", "errors"), 0.0);
    assert!(figure(&told, "round_robin", "p99_ms") > 0.0);
}

#[test]
fn what_cannot_be_simulated_is_said() {
    let folder = Folder::new("errors");
    fs::write(folder.0.join("other.log"), "no line of ours\n").unwrap();
    let cases: [(&[&str], &str); 9] = [
        (&["--pool", "shop"], "there is no pool `shop`\n  help: there are: `app`"),
        (&["-c", "nowhere.yaml"], "nowhere.yaml"),
        (&["--policies", "fastest"], "there are round_robin, least_conn"),
        (&["--service", "normal"], "there are exponential"),
        (&["--load", "0%"], "write a percentage above 0%"),
        (&["--mean", "0ms"], "a request takes some time"),
        (&["--slowness", "0"], "choose one above 0"),
        (&["--log", "other.log"], "holds no answered request of the pool `app`"),
        (&["--log", "missing.log"], "missing.log cannot be read"),
    ];
    for (arguments, expected) in cases {
        let (code, out, error) = folder.simulate(arguments);
        assert!(code != 0 && out.is_empty() && error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn people_read_a_table() {
    let folder = Folder::new("table");
    let (code, out, error) = folder.simulate(&["--requests", "2000"]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.starts_with("pool app: 10 backends, 10.0.0.10:80 5 times slower"), "{out}");
    for policy in ["round_robin", "least_conn", "ewma", "source_hash", "ring_hash", "maglev"] {
        assert!(out.lines().any(|line| line.starts_with(policy)), "{policy} in {out}");
    }
}
