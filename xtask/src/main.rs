//! Automation of this repository: checks, dependence edges, benches. `cargo xtask help` lists the commands.

mod bench;
mod check;
mod peers;
mod process;
mod profile;
mod tally;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

const HELP: &str = "\
cargo xtask COMMAND

  check                              formatting, lints, tests, and the rules of the house
  peers [NAME...]                    tests against real peers: nginx, curl, PostgreSQL, gRPC, …
  ci                                 both of these: what CI runs
  edges                              the direction of dependence between the crates
  sizes                              sizes of files, module docs
  docs                               paths and symbols that the papers cite
  profile                            record anew what release builds are optimised by (profile/README.md)
  bench http tcp tls h2 idle …        weir beside Debian's nginx and HAProxy; `cargo xtask bench --help`
";

use tally::Tally;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else {
        eprint!("{HELP}");
        return ExitCode::FAILURE;
    };
    let outcome = match command.as_str() {
        "check" => {
            let mut tally = Tally::default();
            check::run(&mut tally);
            tally.finish()
        }
        "peers" => {
            let mut tally = Tally::default();
            peers::run(rest, &mut tally).and_then(|()| tally.finish())
        }
        "ci" => {
            let mut tally = Tally::default();
            check::run(&mut tally);
            peers::run(&[], &mut tally).and_then(|()| tally.finish())
        }
        "edges" => check::edges::run(),
        "sizes" => check::sizes::run(),
        "docs" => check::docs::run(),
        "profile" => profile::run(),
        "bench" => bench::run(rest),
        bench::relay::COMMAND => bench::relay::run(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(anyhow::anyhow!("there is no command `{other}`; `cargo xtask help` lists them")),
    };
    process::remove_folders();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Where the repository stands.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
