//! What to say of a command line that cannot be understood: one line of cause and one of remedy, like everything else.

use std::{env, error::Error as _, path::Path, process::ExitCode};

use clap::{
    CommandFactory as _,
    error::{ContextKind, ContextValue, ErrorKind},
};
use weir_control::trouble::Trouble;

use super::{Cli, output};

/// For a command line that is wrong, as everywhere.
const WRONG_USAGE: u8 = 2;

/// Says what is wrong.
pub(super) fn wrong(error: &clap::Error) -> ExitCode {
    // Whoever says nothing at all is shown what there is.
    let text = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.render().to_string(),
        _ => format!("error: {}\n", trouble(error, &command())),
    };
    output::aside(&text);
    ExitCode::from(WRONG_USAGE)
}

/// The command that was meant, as far as it is one.
fn command() -> String {
    let given = env::args_os().nth(1);
    let given = given.as_ref().and_then(|given| given.to_str());
    given
        .filter(|given| Cli::command().find_subcommand(given).is_some())
        .map_or_else(|| "weir".to_owned(), |given| format!("weir {given}"))
}

fn trouble(error: &clap::Error, command: &str) -> Trouble {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    let cause = first.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    if let Some(why) = error.source() {
        // What checks a value says what to write instead.
        let why = why.to_string();
        let cause = cause.strip_suffix(&format!(": {why}")).unwrap_or(&cause).to_owned();
        return Trouble::new(cause, why);
    }
    let given = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(&**text),
        Some(ContextValue::Strings(texts)) => texts.first().map(|text| &**text),
        _ => None,
    };
    let near = given(ContextKind::SuggestedArg).or_else(|| given(ContextKind::SuggestedSubcommand));
    let file = given(ContextKind::InvalidArg).filter(|given| is_file(given));
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: "));
    let remedy = match (near, file, usage) {
        (Some(near), ..) => format!("did you mean `{near}`?"),
        (None, Some(file), _) => format!("name a configuration with `-c {file}`"),
        (None, None, Some(usage)) => format!("write `{}`; `{command} --help` says more", usage.trim()),
        (None, None, None) => format!("`{command} --help` shows what to write"),
    };
    Trouble::new(cause, remedy)
}

/// True if it looks like a configuration.
fn is_file(given: &str) -> bool {
    !given.starts_with('-')
        && (given.ends_with(".yaml") || given.ends_with(".yml") || Path::new(given).is_file())
}
