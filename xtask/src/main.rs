//! Automation of this repository: checks, dependence edges, benches. `cargo xtask help` lists the commands.

mod bench;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  bench http tcp idle instructions   weir beside Debian's nginx and HAProxy; `cargo xtask bench --help`
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else {
        eprint!("{HELP}");
        return ExitCode::FAILURE;
    };
    let outcome = match command.as_str() {
        "bench" => bench::run(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(anyhow::anyhow!("there is no command `{other}`; `cargo xtask help` lists them")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
