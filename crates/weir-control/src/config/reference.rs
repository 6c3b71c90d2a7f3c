//! The reference of the language, in Markdown. Made from the tables that the reader reads by.

use std::fmt::Write as _;

use super::read::keys::{Default, Form, Keys, reachable};

/// A section for each kind of map, with a table of its keys.
pub fn reference() -> String {
    let mut out = String::new();
    for keys in reachable().into_iter().filter(|keys| keys.keys().next().is_some()) {
        section(&mut out, keys);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn section(out: &mut String, keys: &Keys) {
    let _ = writeln!(out, "## {}\n\n| key | value | default | meaning |\n|---|---|---|---|", keys.title());
    for key in keys.keys() {
        let default = match key.default {
            Default::Required => "required".into(),
            Default::Nothing => String::new(),
            Default::Is(text) => format!("`{}`", text.replace('"', "")),
        };
        let about = key.about.replace('|', "\\|");
        let _ = writeln!(out, "| `{}` | {} | {default} | {about} |", key.name, form(&key.form));
    }
    if !keys.one_of.is_empty() {
        let _ = writeln!(out, "\nExactly one of {} is given.", listed(keys.one_of));
    }
    if !keys.later.is_empty() {
        let _ = writeln!(out, "\nNot in this version, and refused by name: {}.", listed(keys.later));
    }
    out.push('\n');
}

/// Where the section of a map is found.
fn link(keys: &Keys) -> String {
    if keys.ready.is_empty() {
        return "`{}`".into();
    }
    format!("[map](#{})", keys.title().to_lowercase().replace(' ', "-").replace('`', ""))
}

fn form(form: &Form) -> String {
    match form {
        Form::Text => "text".into(),
        Form::Flag => "`true` or `false`".into(),
        Form::Number(least, most) => format!("{least} to {most}"),
        Form::NumberOr(words) => format!("number or {}", listed(words)),
        Form::CountOr(words) => format!("number, 0 or {}", listed(words)),
        Form::Period => "duration".into(),
        Form::Timeout => "duration or `none`".into(),
        Form::Delay => "duration or 0".into(),
        Form::DelayOrNone => "duration, 0 or `none`".into(),
        Form::Size => "size or `none`".into(),
        Form::SizeWithin(least, most) => format!("size from {least} to {most}"),
        Form::ByteRate => "size per second or `none`".into(),
        Form::Share => "percentage".into(),
        Form::Percent(least, most) => format!("{least}% to {most}%"),
        Form::ShareOrNone => "percentage or `none`".into(),
        Form::Words(words) => listed(words),
        Form::Empty => "nothing".into(),
        Form::Map(keys) => link(keys),
        Form::Named(value) => format!("by name: {}", self::form(value)),
        Form::List(item) => format!("list: {}", self::form(item)),
        Form::OneOrMore(item) | Form::Some(item) => format!("{}, or a list", self::form(item)),
        Form::AnyOf(forms) => forms.iter().map(self::form).collect::<Vec<_>>().join(" or "),
    }
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
