//! The page, checked with a small strict reader; the official parsers read it in `cargo xtask peers`.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::{status::Registry, time::Moment};

use super::*;
use crate::config;

const FILE: &str = r#"
listeners:
  web:
    bind: 127.0.0.1:8080
    protocol: http
    routes:
      - { name: "odd \"name\" \\ here", match: { path: /odd }, respond: { status: 204 } }
      - { name: halves, match: { path: /h }, split: [{ pool: app }, { pool: two }, { pool: app, weight: 3 }] }
    pool: app
  sql: { bind: "127.0.0.1:5432", protocol: tcp, pool: two }
pools:
  app: { backends: ["10.0.0.1:80", "10.0.0.2:80"], health: { http: / } }
  two: { backends: ["10.0.0.3:80"] }
"#;

const CAUSES: [&str; 3] = ["no_route", "backend_reset", "client_aborted"];

fn snapshot() -> Snapshot {
    config::compile(config::from_text("weir.yaml", FILE), 4, &mut Registry::new(2)).unwrap().snapshot
}

fn page(snapshot: &Snapshot, format: Format) -> String {
    let reloads = crate::reload::Ledger::new(4, "now".into(), "weir.yaml".into()).record();
    render(snapshot, &Beside { version: "1.2.3", causes: &CAUSES, reloads: &reloads }, format)
}

/// Every series with its value; panics on anything that a strict reader refuses.
fn read(page: &str, format: Format) -> BTreeMap<String, f64> {
    let (mut samples, mut families, mut current) = (BTreeMap::new(), BTreeSet::new(), String::new());
    let lines: Vec<_> = page.strip_suffix('\n').unwrap().split('\n').collect();
    for (number, line) in lines.iter().enumerate() {
        if *line == "# EOF" {
            assert!(number + 1 == lines.len() && format == Format::OpenMetrics);
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            current = rest.split(' ').next().unwrap().to_owned();
            assert!(families.insert(current.clone()), "{current} twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(rest.starts_with(&format!("{current} ")), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(series.starts_with(&current), "{series} stands in {current}");
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} twice");
        }
    }
    samples
}

#[test]
fn every_promised_name_is_there_in_both_formats() {
    let snapshot = snapshot();
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let text = page(&snapshot, format);
        read(&text, format);
        assert_eq!(text.ends_with("# EOF\n"), format == Format::OpenMetrics);
        let total = if format == Format::Prometheus { "_total" } else { "" };
        for (name, kind) in [
            ("weir_requests", "counter"),
            ("weir_failures", "counter"),
            ("weir_request_duration_seconds", "histogram"),
            ("weir_overhead_seconds", "histogram"),
            ("weir_backend_up", "gauge"),
            ("weir_backend_connections_active", "gauge"),
            ("weir_backend_requests", "counter"),
            ("weir_connections_active", "gauge"),
            ("weir_connections", "counter"),
            ("weir_bytes", "counter"),
            ("weir_http2_connections", "counter"),
            ("weir_http2_connections_active", "gauge"),
            ("weir_grpc_responses", "counter"),
            ("weir_retries", "counter"),
            ("weir_retries_refused", "counter"),
            ("weir_rejected", "counter"),
            ("weir_health_checks", "counter"),
            ("weir_config_generation", "gauge"),
            ("weir_config_last_reload_success", "gauge"),
            ("weir_build_info", "gauge"),
            ("weir_access_log_written", "counter"),
            ("weir_access_log_dropped", "counter"),
            ("weir_tls_cert_not_after_seconds", "gauge"),
            ("weir_pool_tls_cert_not_after_seconds", "gauge"),
            ("weir_tls_renewals", "counter"),
            ("process_cpu_seconds", "counter"),
            ("process_resident_memory_bytes", "gauge"),
            ("process_open_fds", "gauge"),
        ] {
            let total = if kind == "counter" { total } else { "" };
            assert!(text.contains(&format!("# TYPE {name}{total} {kind}\n")), "{name} in {format:?}");
        }
    }
}

#[test]
fn counters_of_all_workers_are_summed_under_the_right_labels() {
    let snapshot = snapshot();
    let web = snapshot.listeners.iter().find(|listener| &*listener.name == "web").unwrap();
    let routes = web.routes.routes();
    for worker in [0, 1] {
        routes[0].status[0].shards.of(worker).codes.count(204);
        // Both arms with the pool `app` have one status.
        routes[1].status[0].shards.of(worker).codes.count(200);
        routes[1].status[2].shards.of(worker).codes.count(200);
        routes[1].status[1].shards.of(worker).failures.count(1);
        web.status.shards.of(worker).rejected.count(0);
        web.status.shards.of(worker).codes.count(404);
        routes[1].status[1].shards.of(worker).grpc.count(14);
        routes[1].status[1].shards.of(worker).grpc.count(99);
        web.status.shards.of(worker).http2_begun.add(3);
        web.status.shards.of(worker).http2_ended.add(1);
        web.status.shards.of(worker).accepted.add(5);
        web.status.shards.of(worker).closed.add(2);
        snapshot.pools[0].status.retries.of(worker).causes.count(1);
        snapshot.pools[0].status.retries.of(worker).stale.add(3);
        snapshot.pools[0].backends[1].status.shards.of(worker).codes.count(503);
    }
    snapshot.pools[0].backends[0].status.set_health(Health::Up, "", Moment(1));
    snapshot.pools[0].backends[0].status.count_check(true);
    snapshot.logging.status.dropped.store(7, std::sync::atomic::Ordering::Relaxed);
    let samples = read(&page(&snapshot, Format::OpenMetrics), Format::OpenMetrics);
    for (series, value) in [
        (r#"weir_requests_total{listener="web",route="odd \"name\" \\ here",pool="",code="204"}"#, 2.0),
        (r#"weir_requests_total{listener="web",route="halves",pool="app",code="200"}"#, 4.0),
        (r#"weir_requests_total{listener="web",route="",pool="",code="404"}"#, 2.0),
        (r#"weir_failures_total{listener="web",route="halves",pool="two",cause="backend_reset"}"#, 2.0),
        (r#"weir_rejected_total{listener="web",reason="no_route"}"#, 2.0),
        (r#"weir_connections_active{listener="web"}"#, 6.0),
        (r#"weir_connections_total{listener="web"}"#, 10.0),
        (r#"weir_grpc_responses_total{listener="web",route="halves",pool="two",status="14"}"#, 2.0),
        (r#"weir_grpc_responses_total{listener="web",route="halves",pool="two",status="other"}"#, 2.0),
        (r#"weir_http2_connections_total{listener="web"}"#, 6.0),
        (r#"weir_http2_connections_active{listener="web"}"#, 4.0),
        (r#"weir_retries_total{pool="app",reason="backend_reset"}"#, 2.0),
        (r#"weir_retries_total{pool="app",reason="stale"}"#, 6.0),
        (r#"weir_backend_requests_total{pool="app",backend="10.0.0.2:80",code="503"}"#, 2.0),
        (r#"weir_backend_up{pool="app",backend="10.0.0.1:80"}"#, 1.0),
        (r#"weir_backend_up{pool="app",backend="10.0.0.2:80"}"#, 0.0),
        (r#"weir_backend_up{pool="two",backend="10.0.0.3:80"}"#, 1.0),
        (r#"weir_health_checks_total{pool="app",backend="10.0.0.1:80",result="passed"}"#, 1.0),
        ("weir_access_log_dropped_total", 7.0),
        ("weir_access_log_written_total", 0.0),
        ("weir_config_generation", 4.0),
        ("weir_config_last_reload_success", 1.0),
        (r#"weir_build_info{version="1.2.3"}"#, 1.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
}

#[test]
fn the_end_of_what_pools_show_is_there() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/reference");
    let tls = format!("tls: {{ cert: '{folder}/me.pem', key: '{folder}/me.key' }}");
    let text = FILE.replace("health: { http: / }", &tls);
    let compiled = config::compile(config::from_text("weir.yaml", &text), 1, &mut Registry::new(1));
    let snapshot = compiled.unwrap().snapshot;
    let samples = read(&page(&snapshot, Format::OpenMetrics), Format::OpenMetrics);
    let shown = snapshot.pools[0].tls.as_ref().unwrap().identity.as_ref().unwrap();
    let of_pools: Vec<_> = samples.iter().filter(|(series, _)| series.starts_with("weir_pool_tls")).collect();
    let series = format!(r#"weir_pool_tls_cert_not_after_seconds{{pool="app",name="{folder}/me.pem"}}"#);
    assert_eq!(of_pools, [(&series, &(shown.not_after as f64))]);
    assert!(shown.not_after > 1_700_000_000);
}

#[test]
fn histograms_count_up_to_each_bound() {
    let snapshot = snapshot();
    let route =
        &snapshot.listeners.iter().find(|listener| &*listener.name == "web").unwrap().routes.routes()[0];
    for micros in [100, 127, 128, 900, 3_000_000] {
        route.status[0].shards.of(1).duration.record(micros);
    }
    let samples = read(&page(&snapshot, Format::Prometheus), Format::Prometheus);
    let labels = r#"listener="web",route="odd \"name\" \\ here",pool="""#;
    let bucket = |le: &str| samples[&format!("weir_request_duration_seconds_bucket{{{labels},le=\"{le}\"}}")];
    let counts: Vec<_> =
        ["0.000128", "0.000256", "0.001024", "2.097152", "4.194304", "+Inf"].map(bucket).to_vec();
    assert_eq!(counts, [2.0, 3.0, 4.0, 4.0, 5.0, 5.0]);
    assert_eq!(samples[&format!("weir_request_duration_seconds_count{{{labels}}}")], 5.0);
    assert_eq!(samples[&format!("weir_request_duration_seconds_sum{{{labels}}}")], 3.001_255);
}

#[test]
fn the_client_chooses_the_format() {
    let of = |accept: &[&str]| Format::of(accept.iter().copied());
    // What Prometheus 2.42 and 3 send.
    let modern = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_eq!(of(&[modern]), Format::OpenMetrics);
    for accept in [&[][..], &["*/*"], &["text/plain"], &["text/html", "application/openmetrics-text;q=0"]] {
        assert_eq!(of(accept), Format::Prometheus, "{accept:?}");
    }
    assert_eq!(of(&["text/plain;q=0.9, application/openmetrics-text; q=0.5"]), Format::Prometheus);
}

#[test]
fn the_manual_lists_every_name() {
    let manual = include_str!("../../../../docs/operating.md");
    let text = page(&snapshot(), Format::Prometheus);
    let names: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    for name in &names {
        assert!(manual.contains(&format!("`{name}`")), "{name} is not in docs/operating.md");
    }
    let (_, table) = manual.split_once("## Metrics").unwrap();
    for name in table.split('`').filter(|word| word.starts_with("weir_") || word.starts_with("process_")) {
        assert!(names.contains(name), "{name} is not on the page");
    }
}
