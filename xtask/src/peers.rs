//! Tests against real peers: nginx and Python as backends, curl and wrk as clients, PostgreSQL and Redis through TCP,
//! all of them with TLS as well, HAProxy as a reader of PROXY headers, Prometheus as an observer, NSD and Podman as those
//! who know where backends are, Pebble as an authority that issues certificates; h2spec, gRPC in Go and Python, Node, nghttp2
//! and hypercorn for HTTP/2, tinyproxy for CONNECT.
//!
//! They need programs that `cargo test` must not need; `.ci/run` installs them. Each test starts its own weir and its own
//! peers on free ports of the loopback interface, and says how many requests it made and how many of them failed.

mod acme;
mod clients;
mod crowd;
mod databases;
mod demo;
mod discovery;
mod encrypted;
mod idle;
mod kill;
mod multiplexed;
mod outlier;
mod prometheus;
mod reload;
mod rolling;
mod scanners;
mod shutdown;
mod site;
mod termination;
mod upgrade;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::{
    process::{self, Running},
    tally::Tally,
};

/// A test: a sentence of what was counted, or what was wrong.
type Test = fn(&Path) -> Result<String>;

const TESTS: [(&str, Test); 45] = [
    ("curl_nginx", clients::curl_nginx),
    ("curl_python", clients::curl_python),
    ("curl_tls", termination::curl_tls),
    ("testssl", scanners::testssl),
    ("chromium_tls", scanners::chromium),
    ("wrk_nginx", clients::wrk_nginx),
    ("postgresql", databases::postgresql),
    ("redis", databases::redis),
    ("nginx_tls", encrypted::nginx_tls),
    ("postgresql_tls", encrypted::postgresql_tls),
    ("redis_tls", encrypted::redis_tls),
    ("haproxy_reads_headers", encrypted::haproxy_reads),
    ("haproxy_writes_headers", encrypted::haproxy_writes),
    ("backend_killed", kill::http),
    ("backend_killed_tcp", kill::tcp),
    ("backend_bad_from_the_start", outlier::from_the_start),
    ("backend_turns_bad_checked", outlier::checked),
    ("backend_turns_bad_ejected", outlier::ejected),
    ("shutdown_drains", shutdown::drains),
    ("fifty_reloads", reload::fifty),
    ("rolling_restart", rolling::restarts),
    ("ten_upgrades", upgrade::ten),
    ("metrics_parsers", prometheus::parsers),
    ("prometheus_scrapes", prometheus::scrapes),
    ("discovery_addresses", discovery::names::addresses),
    ("discovery_services", discovery::names::services),
    ("discovery_containers", discovery::containers::come_and_go),
    ("acme_http", acme::http),
    ("acme_tls_alpn", acme::tls_alpn),
    ("acme_failures", acme::failures),
    ("acme_two", acme::two),
    ("h2spec", multiplexed::h2spec::conformance),
    ("grpc_kinds", multiplexed::grpc::kinds),
    ("grpc_spread", multiplexed::grpc::spread),
    ("grpc_rolling", multiplexed::grpc::rolling),
    ("grpc_ages", multiplexed::grpc::ages),
    ("http2_clients", multiplexed::web::clients),
    ("http2_reloads", multiplexed::web::reloads),
    ("http2_browser", multiplexed::browser::chromium),
    ("http2_backends", multiplexed::backends::servers),
    ("http2_end_to_end", multiplexed::backends::end_to_end),
    ("http2_backends_reloaded", multiplexed::backends::reloaded),
    ("http2_tunnels", multiplexed::tunnels::connect),
    ("demo", demo::zombie),
    ("idle_connections", idle::memory),
];

/// Runs the tests with these names, or all of them.
pub(crate) fn run(names: &[String], tally: &mut Tally) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| !TESTS.iter().any(|(known, _)| known == name)) {
        let known: Vec<_> = TESTS.iter().map(|(name, _)| *name).collect();
        bail!("there is no test `{unknown}` among {}", known.join(", "));
    }
    let mut weir = None;
    tally.step("build", || match process::build_weir()? {
        (program, true) => {
            weir = Some(program);
            Ok(1)
        }
        _ => bail!("weir cannot be built"),
    });
    let Some(weir) = weir else { return Ok(()) };
    for (name, test) in TESTS.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name)) {
        tally.step(&format!("peer {name}"), || {
            let sentence = test(&weir)?;
            println!("{name}: {sentence}");
            Ok(1)
        });
    }
    Ok(())
}

/// Writes a configuration and starts weir with it.
fn weir(program: &Path, name: &str, configuration: &str) -> Result<Running> {
    let folder = folder(name)?;
    let file = folder.join("weir.yaml");
    std::fs::write(&file, configuration)?;
    let mut command = std::process::Command::new(program);
    command.args(["run", "-c"]).arg(file);
    Running::start(&mut command, &folder)
}

fn folder(name: &str) -> Result<PathBuf> {
    process::folder(&format!("peer-{name}"))
}
