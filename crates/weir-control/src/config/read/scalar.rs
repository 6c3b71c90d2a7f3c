//! Scalars: texts with dollars, numbers, durations, sizes, "none".

use std::borrow::Cow;

use weir_model::{
    draft::{ConnectionsDraft, Text},
    problem::{Located, Problem},
    template::is_variable,
    time::Millis,
};

use super::{Reader, Value, environment::is_group, found};
use crate::config::yaml::Node;

/// Longer durations are slips of the hand.
const LONGEST: u64 = 365 * 24 * 3_600_000;

impl Reader {
    /// A text; `$$` in it is a dollar.
    pub(super) fn text(&mut self, node: &Node) -> Option<Text> {
        let raw = self.raw_text(node, |_| false)?;
        Some(Located::new(raw.replace("$$", "$"), node.span))
    }

    /// A text in which `$` names a fact of the exchange: header values, bodies and log lines. Its dollars stay as they
    /// are, for the template to read; `${…}` means the environment unless it holds the name of a variable.
    pub(super) fn template(&mut self, node: &Node) -> Option<Text> {
        let raw = self.raw_text(node, is_variable)?;
        Some(Located::new(raw.into_owned(), node.span))
    }

    /// The replacement of an expression: `$1` and `${1}` name groups, and `$$` stays for the expression to read.
    pub(super) fn replacement(&mut self, node: &Node) -> Option<Text> {
        let raw = self.raw_text(node, is_group)?;
        Some(Located::new(raw.into_owned(), node.span))
    }

    fn raw_text<'n>(&mut self, node: &'n Node, kept: fn(&str) -> bool) -> Option<Cow<'n, str>> {
        match &node.value {
            Value::Scalar { text, .. } => self.expand(text, node.span, kept),
            _ => {
                self.expected("a text", node);
                None
            }
        }
    }

    /// A plain scalar: what numbers, durations and words of the language are.
    fn plain<'n>(&mut self, node: &'n Node, what: &str) -> Option<Cow<'n, str>> {
        match &node.value {
            Value::Scalar { text, plain } if *plain || !text.is_empty() => {
                self.expand(text, node.span, |_| false)
            }
            _ => {
                self.expected(what, node);
                None
            }
        }
    }

    fn refuse<T>(&mut self, node: &Node, what: &str, remedy: &str) -> Option<T> {
        let found = match &node.value {
            Value::Scalar { text, .. } if text.contains("${") => {
                let value = self.expand(text, node.span, |_| false).unwrap_or_default().into_owned();
                format!("`{text}`, which is `{value}`")
            }
            _ => found(node),
        };
        self.error(node.span, format!("expected {what}, found {found}"), remedy);
        None
    }

    /// A whole number.
    pub(super) fn number(&mut self, node: &Node) -> Option<u32> {
        let what = "a whole number";
        let text = self.plain(node, what)?;
        match text.parse() {
            Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => Some(number),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.refuse(node, what, "the number is too large")
            }
            _ => self.refuse(node, what, "write digits only"),
        }
    }

    /// A whole number, or none for a word.
    pub(super) fn number_or(&mut self, node: &Node, word: &str) -> Option<Option<u32>> {
        let what = format!("`{word}` or a whole number");
        let text = self.plain(node, &what)?;
        if text == word {
            return Some(None);
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.number(node).map(Some);
        }
        self.refuse(node, &what, &format!("write digits only, or `{word}`"))
    }

    /// True or false.
    pub(super) fn flag(&mut self, node: &Node) -> Option<bool> {
        match &*self.plain(node, "`true` or `false`")? {
            "true" => Some(true),
            "false" => Some(false),
            _ => self.refuse(node, "`true` or `false`", "write `true` or `false`"),
        }
    }

    /// A number from 1, or none for `none`.
    pub(super) fn limit(&mut self, node: &Node) -> Option<Option<u32>> {
        match self.number_or(node, "none")? {
            None => Some(None),
            Some(0) => self.zero(node, "a number of 1 or more", "`none`"),
            number => Some(number),
        }
    }

    /// A duration above zero, or `none`.
    pub(super) fn timeout(&mut self, node: &Node) -> Option<Millis> {
        if self.plain(node, "a duration or `none`")? == "none" {
            return Some(Millis::NONE);
        }
        match self.delay(node)? {
            Millis(0) => self.zero(node, "a duration above zero", "`none`"),
            length => Some(length),
        }
    }

    /// A duration that may be zero, or `none`.
    pub(super) fn delay_or_none(&mut self, node: &Node) -> Option<Millis> {
        if self.plain(node, "a duration or `none`")? == "none" {
            return Some(Millis::NONE);
        }
        self.delay(node)
    }

    /// A duration above zero.
    pub(super) fn period(&mut self, node: &Node) -> Option<Millis> {
        match self.duration(node, "there has to be one here")? {
            Millis(0) => self.zero(node, "a duration above zero", ""),
            length => Some(length),
        }
    }

    /// A duration that may be zero.
    pub(super) fn delay(&mut self, node: &Node) -> Option<Millis> {
        self.duration(node, "write `0s`; `none` is for what has no limit")
    }

    /// A duration; `instead` is what to do where there is none.
    fn duration(&mut self, node: &Node, instead: &str) -> Option<Millis> {
        const WHAT: &str = "a duration";
        let text = self.plain(node, WHAT)?;
        if text == "none" {
            return self.refuse(node, WHAT, instead);
        }
        match parse_duration(&text) {
            Ok(length) => Some(length),
            Err(remedy) => self.refuse(node, WHAT, &remedy),
        }
    }

    /// A number of bytes from 1, or `u64::MAX` for `none`.
    pub(super) fn size(&mut self, node: &Node) -> Option<u64> {
        let what = "a size or `none`";
        let text = self.plain(node, what)?;
        if text == "none" {
            return Some(u64::MAX);
        }
        match parse_size(&text) {
            Ok(0) => self.zero(node, "a size above zero", "`none`"),
            Ok(size) => Some(size),
            Err(remedy) => self.refuse(node, what, &remedy),
        }
    }

    /// A number of bytes that has to be limited.
    pub(super) fn bounded_size(&mut self, node: &Node) -> Option<u64> {
        let what = "a size";
        let text = self.plain(node, what)?;
        match parse_size(&text) {
            Ok(size) => Some(size),
            Err(_) if text == "none" => {
                self.refuse(node, what, "there has to be a limit here, such as `64KiB`")
            }
            Err(remedy) => self.refuse(node, what, &remedy),
        }
    }

    /// Bytes per second, or 0 for `none`.
    pub(super) fn byte_rate(&mut self, node: &Node) -> Option<u64> {
        let what = "bytes per second or `none`";
        let text = self.plain(node, what)?;
        if text == "none" {
            return Some(0);
        }
        let Some(size) = text.strip_suffix("/s") else {
            return self.refuse(node, what, "write for example `100B/s` or `1KiB/s`");
        };
        match parse_size(size) {
            Ok(0) => self.zero(node, "a rate above zero", "`none`"),
            Ok(size) => Some(size),
            Err(remedy) => self.refuse(node, what, &remedy),
        }
    }

    /// A percentage, or none for `none`.
    pub(super) fn share_or_none(&mut self, node: &Node) -> Option<Option<u32>> {
        if self.plain(node, "a percentage or `none`")? == "none" {
            return Some(None);
        }
        self.share(node).map(Some)
    }

    /// A percentage from 0% to 100%, in millionths of the whole.
    pub(super) fn share(&mut self, node: &Node) -> Option<u32> {
        let what = "a percentage";
        let text = self.plain(node, what)?;
        match parse_share(&text) {
            Ok(share) => Some(share),
            Err(remedy) => self.refuse(node, what, &remedy),
        }
    }

    /// A percentage in whole numbers, which may be above 100%.
    pub(super) fn percent(&mut self, node: &Node) -> Option<u32> {
        let what = "a percentage";
        let text = self.plain(node, what)?;
        let digits = text.strip_suffix('%').unwrap_or_default();
        match digits.parse() {
            Ok(percent) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(percent),
            _ => self.refuse(node, what, "write a whole number with a sign: `125%`"),
        }
    }

    /// `auto`, `none` or a number of connections from 1.
    pub(super) fn connections(&mut self, node: &Node) -> Option<ConnectionsDraft> {
        const WHAT: &str = "`auto`, `none` or a whole number";
        match &*self.plain(node, WHAT)? {
            "auto" => Some(ConnectionsDraft::Auto),
            "none" => Some(ConnectionsDraft::None),
            text if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(self.limit(node)?.map_or(ConnectionsDraft::None, ConnectionsDraft::Count))
            }
            _ => self.refuse(node, WHAT, "write digits only, `auto` or `none`"),
        }
    }

    /// One of the words that the language has here; words that weir does not do yet are refused as such.
    pub(super) fn word<T: Copy>(&mut self, node: &Node, ready: &[(&str, T)], later: &[&str]) -> Option<T> {
        let words: Vec<_> = ready.iter().map(|(word, _)| *word).collect();
        let what = format!("one of `{}`", words.join("`, `"));
        let text = self.plain(node, &what)?;
        if let Some((_, value)) = ready.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        if later.contains(&&*text) {
            let problem = Problem::not_yet(node.span, format!("`{text}`"));
            self.problems.push(Problem { remedy: format!("use {what}"), ..problem });
            return None;
        }
        let near = weir_model::problem::nearest(&text, words.iter().chain(later).copied());
        let remedy = near.map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
        self.refuse(node, &what, &remedy)
    }

    /// Zero never stands for "no limit".
    fn zero<T>(&mut self, node: &Node, what: &str, instead: &str) -> Option<T> {
        let remedy = match instead {
            "" => "write more than that".to_owned(),
            word => format!("write {word} for no limit; 0 never means that"),
        };
        self.refuse(node, what, &remedy)
    }
}

/// `250ms`; or what to write instead.
pub(in crate::config) fn parse_duration(text: &str) -> Result<Millis, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        // Nothing is nothing in any unit; whether that is allowed is the caller's to say.
        "" if count == "0" => 1,
        "" if digits > 0 => return Err(format!("add a unit: `{count}s`, `{count}ms`, `{count}m`")),
        "none" => return Err("there has to be one here".into()),
        _ => return Err("write a whole number with `ms`, `s`, `m` or `h`: `250ms`, `5s`".into()),
    };
    let length = count.parse::<u64>().ok().and_then(|count| count.checked_mul(scale));
    let length = length.filter(|length| *length <= LONGEST);
    length.map(Millis).ok_or_else(|| "the longest is a year, `8760h`; write `none` for no limit".into())
}

/// `64KiB`; or what is wrong with it.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "" if count == "0" => 0,
        "" if digits > 0 => return Err(format!("add a unit: `{count}B`, `{count}KiB`, `{count}MiB`")),
        "K" | "KB" | "kB" | "k" | "kb" => return Err(format!("write `{count}KiB`: sizes count by 1024")),
        "M" | "MB" | "m" | "mb" => return Err(format!("write `{count}MiB`: sizes count by 1024")),
        "G" | "GB" | "g" | "gb" => return Err(format!("write `{count}GiB`: sizes count by 1024")),
        _ => return Err("write a whole number with `B`, `KiB`, `MiB` or `GiB`: `64KiB`".into()),
    };
    let size = count.parse::<u64>().ok().and_then(|count| count.checked_mul(1 << shift));
    size.filter(|size| *size <= 1 << 50).ok_or_else(|| "the size is too large".into())
}

/// `12.5%` in millionths; or what is wrong with it.
fn parse_share(text: &str) -> Result<u32, String> {
    const FORM: &str = "write `0%` to `100%`, with up to four decimals: `5%`, `0.1%`";
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(number) = text.strip_suffix('%') else {
        return Err(if digits(text) { format!("add the sign: `{text}%`") } else { FORM.into() });
    };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if !digits(whole) || !digits(decimals) || whole.len() > 3 || decimals.len() > 4 {
        return Err(FORM.into());
    }
    let share = format!("{whole}{decimals:0<4}").parse().ok().filter(|share| *share <= 1_000_000);
    share.ok_or_else(|| FORM.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted_in_millionths() {
        for (text, expected) in [
            ("0%", 0),
            ("5%", 50_000),
            ("0.5%", 5000),
            ("12.34%", 123_400),
            ("100%", 1_000_000),
            ("0.0001%", 1),
        ] {
            assert_eq!(parse_share(text), Ok(expected), "{text}");
        }
        for text in
            ["", "%", "5", ".5%", "5.%", "1.00001%", "101%", "100.01%", "-1%", "1e1%", "5 %", "9999999%"]
        {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }
}
