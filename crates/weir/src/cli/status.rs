//! `weir status`: what the running process is doing.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::Value;
use weir_control::config::visible;

use super::{output, remote::RemoteArgs};

pub(super) const EXAMPLES: &str = "Examples:
  weir status
  weir status -c /etc/weir/weir.yaml --json
  weir status --admin http://127.0.0.1:9900";

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub(super) fn run(args: &StatusArgs) -> Result<ExitCode> {
    let status: Value = args.remote.remote()?.get("/api/status")?.well()?.json()?;
    if args.json {
        output::json(&status)?;
    } else {
        output::text(&text(&status))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The status for people.
fn text(status: &Value) -> String {
    let config = &status["config"];
    let mut out = format!(
        "weir {}, generation {}, loaded {} from {}\n",
        shown(&status["version"]),
        config["generation"],
        shown(&config["loaded_at"]),
        shown(&config["source"])
    );
    if config["last_reload_success"] == false {
        out.push_str(&format!("the last reload was refused: {}\n", shown(&config["last_error"])));
    }
    out.push('\n');
    let head =
        ["LISTENER", "PROTOCOL", "BIND", "OPEN", "ACCEPTED", "REQUESTS", "FAILED", "REJECTED", "IN", "OUT"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(list(&status["listeners"]).map(listener));
    out.push_str(&table(&rows, &[3, 4, 5, 6, 7, 8, 9]));
    out.push('\n');
    let head = [
        "POOL", "BACKEND", "STATE", "HEALTH", "WEIGHT", "ACTIVE", "REQUESTS", "ERRORS", "P50", "P99",
        "REASON",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for pool in list(&status["pools"]) {
        rows.extend(list(&pool["backends"]).map(|backend| row(pool, backend)));
    }
    out.push_str(&table(&rows, &[4, 5, 6, 7, 8, 9]));
    let secured: String = list(&status["listeners"]).filter_map(certificates).collect();
    if !secured.is_empty() {
        out.push('\n');
        out.push_str(&secured);
    }
    let discovered: String = list(&status["pools"]).filter_map(discovery).collect();
    if !discovered.is_empty() {
        out.push('\n');
        out.push_str(&discovered);
    }
    out
}

fn listener(listener: &Value) -> Vec<String> {
    let binds: Vec<_> = list(&listener["binds"]).map(shown).collect();
    let sum = |key: &str| {
        list(&listener["routes"]).filter_map(|route| route[key].as_u64()).sum::<u64>().to_string()
    };
    vec![
        shown(&listener["name"]),
        shown(&listener["protocol"]),
        binds.join(" "),
        shown(&listener["connections"]),
        shown(&listener["connections_total"]),
        sum("requests"),
        sum("failures"),
        shown(&listener["rejected"]),
        bytes(&listener["bytes_in"]),
        bytes(&listener["bytes_out"]),
    ]
}

/// What a listener shows of itself, and why it does not show what its files hold now.
fn certificates(listener: &Value) -> Option<String> {
    let told = listener["tls"].as_object()?;
    let mut out = String::new();
    for certificate in list(&told["certificates"]) {
        let names: Vec<_> = list(&certificate["names"]).map(shown).collect();
        out.push_str(&format!(
            "listener {} shows {} for {} until {}\n",
            shown(&listener["name"]),
            shown(&certificate["name"]),
            if names.is_empty() { "no name".to_owned() } else { names.join(", ") },
            shown(&certificate["not_after"]),
        ));
    }
    for sentence in list(&told["problems"]) {
        out.push_str(&format!("  not as it is now: {}\n", shown(sentence)));
    }
    Some(out)
}

/// Where the backends of a pool come from, if not from the file.
fn discovery(pool: &Value) -> Option<String> {
    let told = pool["discovery"].as_object()?;
    let mut out = format!(
        "pool {} discovers by {}: {} backends, last answer {}\n",
        shown(&pool["name"]),
        shown(&told["source"]),
        told["backends"],
        told["last_success"].as_str().unwrap_or("never"),
    );
    if told["last_error"].is_string() {
        out.push_str(&format!("  failing: {}\n", shown(&told["last_error"])));
    }
    for sentence in list(&told["left_out"]) {
        out.push_str(&format!("  leaves out {}\n", shown(sentence)));
    }
    Some(out)
}

fn row(pool: &Value, backend: &Value) -> Vec<String> {
    let millis =
        |key: &str| backend["latency_ms"][key].as_f64().map_or("-".into(), |time| format!("{time:.1} ms"));
    // Why it is not up, or what went wrong last.
    let reason = if backend["health"] == "up" { &backend["last_error"] } else { &backend["reason"] };
    vec![
        shown(&pool["name"]),
        shown(&backend["name"]),
        state(backend),
        shown(&backend["health"]),
        shown(&backend["weight"]),
        shown(&backend["active"]),
        shown(&backend["requests"]),
        shown(&backend["errors"]),
        millis("p50"),
        millis("p99"),
        match &backend["ejected_until"] {
            Value::Null => shown(reason),
            until => format!("{} (out until {})", shown(reason), shown(until)),
        },
    ]
}

/// What it may be given, and how long what it has may still take if that is nothing.
fn state(backend: &Value) -> String {
    let state = shown(&backend["state"]);
    match backend["drain"]["left_ms"].as_u64() {
        Some(left) if backend["active"] != 0 || backend["drain"]["bound"] == true => {
            format!("{state} {} s", left.div_ceil(1000))
        }
        _ => state,
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => visible(text),
        other => other.to_string(),
    }
}

fn bytes(value: &Value) -> String {
    let bytes = value.as_u64().unwrap_or_default() as f64;
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit =
        (0..units.len() - 1).find(|unit| bytes < 1024f64.powi(*unit as i32 + 1)).unwrap_or(units.len() - 1);
    let amount = bytes / 1024f64.powi(unit as i32);
    if unit == 0 { format!("{amount:.0} B") } else { format!("{amount:.1} {}", units[unit]) }
}

/// Columns as wide as their widest cell, numbers to the right.
fn table(rows: &[Vec<String>], numbers: &[usize]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            if numbers.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_read_a_table() {
        let backend = |name: &str, health: &str| {
            json!({
                "name": name, "state": "active", "health": health, "reason": "connection refused", "weight": 1,
                "active": 2, "requests": 1000, "errors": 3, "latency_ms": { "p50": 1.25, "p99": null },
                "last_error": "reset \u{1b}[2J",
            })
        };
        let mut ejected = backend("six", "ejected");
        ejected["reason"] = "5 errors in a row, last: answered 500".into();
        ejected["ejected_until"] = "2026-01-02T03:04:05Z".into();
        let status = json!({
            "version": "0.1.0",
            "config": { "generation": 3, "loaded_at": "now", "source": "weir.yaml", "last_reload_success": false, "last_error": "bad" },
            "listeners": [{
                "name": "web", "protocol": "http", "binds": ["127.0.0.1:8080"], "connections": 1, "connections_total": 10,
                "rejected": 2, "bytes_in": 100, "bytes_out": 1_572_864, "routes": [{ "requests": 7, "failures": 1 }, { "requests": 3, "failures": 0 }],
            }],
            "pools": [{ "name": "app", "backends": [backend("10.0.0.1:80", "up"), backend("ten", "down"), ejected] }],
        });
        let text = text(&status);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "weir 0.1.0, generation 3, loaded now from weir.yaml");
        assert_eq!(lines[1], "the last reload was refused: bad");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(words(lines[4]), "web http 127.0.0.1:8080 1 10 10 1 2 100 B 1.5 MiB");
        assert_eq!(words(lines[7]), "app 10.0.0.1:80 active up 1 2 1000 3 1.2 ms - reset ␛[2J");
        assert_eq!(words(lines[8]), "app ten active down 1 2 1000 3 1.2 ms - connection refused");
        assert!(
            lines[9].ends_with("5 errors in a row, last: answered 500 (out until 2026-01-02T03:04:05Z)"),
            "{text}"
        );
        assert_eq!(lines[6].find("STATE"), lines[7].find("active"));

        let mut leaving = backend("ten", "up");
        leaving["state"] = json!("draining");
        leaving["drain"] = json!({ "since_ms": 1, "left_ms": 11_001, "cut": 0 });
        assert_eq!(state(&leaving), "draining 12 s");
        leaving["active"] = json!(0);
        assert_eq!(state(&leaving), "draining");
        leaving["drain"]["bound"] = json!(true);
        assert_eq!(state(&leaving), "draining 12 s", "who is bound to it may still come");
    }
}
