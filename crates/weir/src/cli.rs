//! The command line: parses, calls, prints; every error is a cause and a remedy.

mod backend;
mod check;
mod demo;
mod explain;
mod output;
mod reload;
mod remote;
mod run;
mod schema;
mod simulate;
mod status;
mod upgrade;
mod usage;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use weir_control::trouble::Trouble;
use weir_model::status::State;

use crate::file_limit;

/// A load balancer for packets, connections and requests.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about, disable_help_subcommand = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  weir demo                    watch it balance, with one broken backend
  weir check -c weir.yaml      what is wrong with this file?
  weir explain http://HOST/    which route and backend does a request get, and why?
  weir run -c weir.yaml        serve
  weir status                  what is the running process doing?";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve; SIGHUP reloads, SIGUSR2 upgrades in place, SIGTERM or Ctrl-C drains and stops, a second one stops at once
    #[command(after_help = run::EXAMPLES)]
    Run(run::RunArgs),
    /// Watch weir at work in one process: backends of its own, one of which breaks, traffic, a live table
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::DemoArgs),
    /// Say everything that is wrong with a configuration; exit 1 if there is an error
    #[command(after_help = check::EXAMPLES)]
    Check(check::CheckArgs),
    /// Print the JSON Schema of the configuration, for editors
    #[command(after_help = schema::EXAMPLES)]
    Schema,
    /// Say which route takes a request, which backend gets it, and why; nothing is sent
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::ExplainArgs),
    /// Compare the balancing policies on a workload that is made up or was recorded; nothing is sent
    #[command(after_help = simulate::EXAMPLES)]
    Simulate(simulate::SimulateArgs),
    /// Say what the running process is doing: listeners, pools, backends
    #[command(after_help = status::EXAMPLES)]
    Status(status::StatusArgs),
    /// Have the running process read its files again, and say what came of it
    #[command(after_help = reload::EXAMPLES)]
    Reload(reload::ReloadArgs),
    /// Have the program on disk take over from the running process, without a connection lost
    #[command(after_help = upgrade::EXAMPLES)]
    Upgrade(upgrade::UpgradeArgs),
    /// Give a backend nothing new; what it has may finish
    #[command(after_help = backend::DRAIN)]
    Drain(backend::LeaveArgs),
    /// Give a backend work again
    #[command(after_help = backend::ENABLE)]
    Enable(backend::BackendArgs),
    /// Give a backend nothing new, not even to clients that are bound to it
    #[command(after_help = backend::DISABLE)]
    Disable(backend::LeaveArgs),
    #[command(hide = true, disable_help_flag = true)]
    Top(Later),
    #[command(hide = true, disable_help_flag = true)]
    Import(Later),
    #[command(hide = true, disable_help_flag = true)]
    DsrSetup(Later),
}

/// What is given to a command that this version does not do yet.
#[derive(Debug, Args)]
struct Later {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _ignored: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// A file, or a directory of files merged in name order [default: weir.yaml, then /etc/weir/weir.yaml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    fn path(&self) -> Result<&Path, Trouble> {
        const HERE: &str = "weir.yaml";
        const SYSTEM: &str = "/etc/weir/weir.yaml";
        if let Some(path) = &self.config {
            return Ok(path);
        }
        // One that is there and cannot be read is the one that is meant.
        let found = [HERE, SYSTEM].into_iter().map(Path::new).find(|path| path.symlink_metadata().is_ok());
        found.ok_or_else(|| {
            let cause = format!("there is no configuration: neither ./{HERE} nor {SYSTEM} is there");
            Trouble::new(cause, "name it with `-c FILE`, or write one of the two")
        })
    }
}

/// What to say to a command that will work one day.
fn not_yet(command: &str, remedy: &str) -> Trouble {
    let cause = format!("`weir {command}` is part of the command line but this version does not do it yet");
    Trouble::new(cause, remedy)
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) if !asked.use_stderr() => {
            return output::help(&asked).map_or_else(failed, |()| ExitCode::SUCCESS);
        }
        Err(wrong) => return usage::wrong(&wrong),
    };
    file_limit::raise();
    let done: Result<ExitCode> = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Demo(args) => demo::demo(&args),
        Command::Check(args) => check::check(&args),
        Command::Schema => schema::schema(),
        Command::Explain(args) => explain::run(args),
        Command::Simulate(args) => simulate::simulate(&args),
        Command::Status(args) => status::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Upgrade(args) => upgrade::run(&args),
        Command::Drain(args) => backend::leave(&args, State::Draining),
        Command::Enable(args) => backend::enable(&args),
        Command::Disable(args) => backend::leave(&args, State::Disabled),
        Command::Top(_) => Err(not_yet("top", "use `weir status`").into()),
        Command::Import(_) => Err(not_yet("import", "write the file by hand: docs/configuration.md").into()),
        Command::DsrSetup(_) => Err(not_yet("dsr-setup", "do without `forwarding: dsr`").into()),
    };
    done.unwrap_or_else(failed)
}

/// Says what went wrong.
fn failed(error: anyhow::Error) -> ExitCode {
    // A rendered report says "error" itself.
    let text = format!("{error:#}");
    if text.starts_with("error") || text.starts_with('\u{1b}') {
        output::aside(&format!("{}\n", text.trim_end()));
    } else {
        output::aside(&format!("error: {text}\n"));
    }
    ExitCode::FAILURE
}
