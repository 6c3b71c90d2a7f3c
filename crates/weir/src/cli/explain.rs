//! `weir explain`: which route takes a request, which backend gets it, and why.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use weir_control::{
    config,
    explain::{Circumstances, Explanation, Particulars, Question, explain},
};
use weir_model::{
    snapshot::Snapshot,
    status::{Health, Registry},
    time::Moment,
};
use weir_proxy::clock;

use super::{ConfigArgs, output, remote::RemoteArgs};
use crate::{rehearse::Path, terminal};

pub(super) const EXAMPLES: &str = "Examples:
  weir explain -c weir.yaml http://shop.example.com/cart
  weir explain -c weir.yaml http://shop.example.com/api -X POST -H 'X-Canary: true' --source 192.0.2.7
  weir explain --live http://shop.example.com/cart
  weir explain -c weir.yaml https://192.0.2.1/cart --sni shop.example.com
  weir explain -c weir.yaml tcp://10.0.0.1:5432 --source 192.0.2.7:5555

Nothing is sent. Requests are judged, routed and balanced by the code that does it for traffic.";

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// Ask the running process, which knows the health of its backends
    #[arg(long)]
    live: bool,
    /// http://HOST[:PORT]/PATH, or tcp://ADDRESS:PORT for a connection
    #[arg(value_name = "URL")]
    url: String,
    /// The method of the request [default: GET]
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<String>,
    /// A header field; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The address of the client, with or without a port [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    source: Option<String>,
    /// The server name that a TLS client asks for
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// The listener that it comes to, where the URL does not say it
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Explains.
pub(super) fn run(args: ExplainArgs) -> Result<ExitCode> {
    let particulars = Particulars {
        method: args.method,
        headers: args.headers,
        source: args.source,
        sni: args.sni,
        listener: args.listener,
    };
    let question = Question::new(&args.url, particulars)?;
    // Whoever says where the running process is means that one.
    let explanation: Explanation = if args.live || args.remote.names_a_process() {
        let path = format!("/api/explain?{}", question.to_query());
        args.remote.remote()?.get(&path)?.well()?.json()?
    } else {
        from_file(&args.remote.config, &question)?
    };
    if args.json {
        output::json(&explanation)?;
    } else {
        output::text(&explanation.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Works it out from a file. Without a process nothing is known of health: every backend is taken to be up.
fn from_file(config: &ConfigArgs, question: &Question) -> Result<Explanation> {
    let snapshot = snapshot(config)?;
    for backend in snapshot.pools.iter().flat_map(|pool| &pool.backends) {
        backend.status.set_health(Health::Up, "taken to be healthy", Moment(0));
    }
    let draw = u64::from(clock::wall().1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Ok(explain(&snapshot, question, &Path, Circumstances { live: false, draw, now: clock::read() })?)
}

fn snapshot(config: &ConfigArgs) -> Result<Snapshot> {
    let compiled =
        config::load(config.path()?).and_then(|loaded| config::compile(loaded, 1, &mut Registry::new(1)));
    match compiled {
        Ok(compiled) => Ok(compiled.snapshot),
        Err(refusal) => anyhow::bail!(refusal.render(terminal::style())),
    }
}
