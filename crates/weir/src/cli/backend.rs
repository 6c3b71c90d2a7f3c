//! `weir drain`, `weir enable`, `weir disable`: whether a backend of the running process is given work.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Args;
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use weir_control::trouble::Trouble;
use weir_model::status::State;

use super::{
    output,
    remote::{Remote, RemoteArgs, Reply},
};

pub(super) const DRAIN: &str = "Examples:
  weir drain app 10.0.0.21:8080
  weir drain app shop-2 --wait && ssh shop-2 systemctl stop shop

It is given nothing new; what it has may finish for the `drain` of its pool (30s unless given) and is closed then. `weir
enable` takes it back. A reload keeps the state until the file's own state for the backend changes.

Where the pool is `sticky`, clients that are bound to it still come until `drain` is over, and --wait waits for that; with `drain:
none` it never is. `weir disable` sends them elsewhere at once.

With --wait the exit code is 0 once it may be stopped, whether or not something had to be cut (the last line says), and 1 if
it cannot be drained or somebody enables it meanwhile.";
pub(super) const ENABLE: &str = "Example:\n  weir enable app 10.0.0.21:8080";
pub(super) const DISABLE: &str = "Examples:
  weir disable app 10.0.0.21:8080
  weir disable app shop-2 --wait && ssh shop-2 systemctl stop shop

It is like `weir drain`, but clients that are bound to it go elsewhere at once.";

/// How long the process may be silent before that counts as a failure.
const PATIENCE: Duration = Duration::from_secs(10);
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
pub(super) struct LeaveArgs {
    #[command(flatten)]
    backend: BackendArgs,
    /// Wait until it has nothing left and may be stopped
    #[arg(long)]
    wait: bool,
}

/// Has it take nothing new, in this way, and waits if asked to.
pub(super) fn leave(args: &LeaveArgs, state: State) -> Result<ExitCode> {
    let remote = args.backend.remote.remote()?;
    let view = put(&remote, &args.backend, state)?;
    if args.wait {
        return wait(&remote, &args.backend, view);
    }
    let BackendArgs { backend, pool, .. } = &args.backend;
    output::line(&format!("{backend} of {pool} is {}; {}", state.word(), progress(&view)))?;
    Ok(ExitCode::SUCCESS)
}

/// Waits until it may be stopped, and says how far it is.
fn wait(remote: &Remote, args: &BackendArgs, mut view: Value) -> Result<ExitCode> {
    let BackendArgs { backend, pool, .. } = args;
    let mut line = Line::default();
    let mut silent_since: Option<Instant> = None;
    while view["safe_to_stop"] != true {
        line.show(&format!("{backend} of {pool}: {}", progress(&view)));
        thread::sleep(LOOK);
        // While weir is upgraded in place, another process takes over the answering.
        view = match remote.get(&path(args)).and_then(Reply::well) {
            Ok(reply) => reply.json()?,
            Err(_) if silent_since.get_or_insert_with(Instant::now).elapsed() < PATIENCE => continue,
            Err(error) => return Err(error),
        };
        silent_since = None;
        if !matches!(word(&view["state"]), "draining" | "disabled") {
            line.end();
            bail!(Trouble::new(
                format!("{backend} of {pool} is {} now: somebody has enabled it", word(&view["state"])),
                "drain it again",
            ));
        }
    }
    line.end();
    let cut = match view["drain"]["cut"].as_u64().unwrap_or_default() {
        0 => "nothing was cut".to_owned(),
        cut => format!("{cut} in flight were cut when its drain was over"),
    };
    output::line(&format!("{backend} of {pool} may be stopped; {cut}"))?;
    Ok(ExitCode::SUCCESS)
}

/// What is left, and for how long.
fn progress(view: &Value) -> String {
    let left = match view["drain"]["left_ms"].as_u64() {
        Some(left) => format!("{} s left", left.div_ceil(1000)),
        None => "without a limit".to_owned(),
    };
    let bound = if view["drain"]["bound"] == true { ", who is bound to it still comes" } else { "" };
    format!("{} in flight, {left}{bound}", view["active"])
}

/// One line of progress, rewritten in place; nothing where nobody watches.
#[derive(Default)]
struct Line {
    shown: usize,
}

impl Line {
    fn show(&mut self, text: &str) {
        if io::stderr().is_terminal() {
            output::aside(&format!("\r{text:<width$}", width = self.shown));
            self.shown = text.chars().count();
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.shown) > 0 {
            output::aside("\n");
        }
    }
}

/// Takes it back.
pub(super) fn enable(args: &BackendArgs) -> Result<ExitCode> {
    let view = put(&args.remote.remote()?, args, State::Active)?;
    let BackendArgs { backend, pool, .. } = args;
    output::line(&format!("{backend} of {pool} is active and {}", word(&view["health"])))?;
    Ok(ExitCode::SUCCESS)
}

fn put(remote: &Remote, args: &BackendArgs, state: State) -> Result<Value> {
    let begun = Instant::now();
    loop {
        let reply = remote.ask(Method::PUT, &path(args), Some(&json!({ "state": state.word() })))?;
        // While another process takes over, nobody takes orders for a moment.
        if reply.status != 503 || begun.elapsed() > PATIENCE {
            return reply.well()?.json();
        }
        thread::sleep(LOOK);
    }
}

fn path(args: &BackendArgs) -> String {
    let encoded = |name: &str| utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
    format!("/api/pools/{}/backends/{}", encoded(&args.pool), encoded(&args.backend))
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}
