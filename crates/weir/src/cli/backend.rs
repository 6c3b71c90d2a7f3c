//! `weir drain`, `weir enable`, `weir disable`: whether a backend of the running process is given work.

use std::{process::ExitCode, thread, time::Duration};

use anyhow::Result;
use clap::Args;
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use weir_model::status::State;

use super::remote::{Remote, RemoteArgs};

pub(super) const DRAIN: &str = "Examples:
  weir drain app 10.0.0.21:8080
  weir drain app shop-2 --wait && ssh shop-2 systemctl stop shop

It is given nothing new; what it has may finish. `weir enable` takes it back. A reload keeps the state until the file's own
state for the backend changes.";
pub(super) const ENABLE: &str = "Example:\n  weir enable app 10.0.0.21:8080";
pub(super) const DISABLE: &str = "Example:\n  weir disable app 10.0.0.21:8080";

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(super) struct BackendArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// The pool
    #[arg(value_name = "POOL")]
    pool: String,
    /// The backend, by its name; that is its address unless the file gives another one
    #[arg(value_name = "BACKEND")]
    backend: String,
}

#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    backend: BackendArgs,
    /// Wait until it has nothing left and may be stopped
    #[arg(long)]
    wait: bool,
}

/// Drains, and waits if asked to.
pub(super) fn drain(args: &DrainArgs) -> Result<ExitCode> {
    let remote = args.backend.remote.remote()?;
    let mut view = put(&remote, &args.backend, State::Draining)?;
    if args.wait {
        while view["safe_to_stop"] != true {
            thread::sleep(LOOK);
            view = remote.get(&path(&args.backend))?.well()?.json()?;
            if view["state"] != "draining" {
                println!("{} of {} is {} now", args.backend.backend, args.backend.pool, view["state"]);
                return Ok(ExitCode::FAILURE);
            }
        }
        println!("{} of {} may be stopped", args.backend.backend, args.backend.pool);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} of {} is draining; {} in flight", args.backend.backend, args.backend.pool, view["active"]);
    Ok(ExitCode::SUCCESS)
}

/// Sets a state.
pub(super) fn set(args: &BackendArgs, state: State) -> Result<ExitCode> {
    let view = put(&args.remote.remote()?, args, state)?;
    println!("{} of {} is {} and {}", args.backend, args.pool, state.word(), word(&view["health"]));
    Ok(ExitCode::SUCCESS)
}

fn put(remote: &Remote, args: &BackendArgs, state: State) -> Result<Value> {
    remote.ask(Method::PUT, &path(args), Some(&json!({ "state": state.word() })))?.well()?.json()
}

fn path(args: &BackendArgs) -> String {
    let encoded = |name: &str| utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
    format!("/api/pools/{}/backends/{}", encoded(&args.pool), encoded(&args.backend))
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}
