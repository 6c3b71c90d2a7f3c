//! Logs: `access_log`, `log`, `debug_headers`.

use weir_model::{
    draft::{AccessLogDraft, LogsDraft, Text},
    log::{LogLevel, ProcessLogFormat},
    problem::{Located, Problem},
};

use super::{Reader, fields::Fields, keys, process::once};
use crate::config::yaml::{Node, Value};

/// Reads them. Another file may have set them before.
pub(super) fn logs(reader: &mut Reader, top: &Fields<'_>, draft: &mut LogsDraft) {
    if let Some(entry) = top.entry("access_log") {
        let (log, broken) = reader.watched(|reader| access_log(reader, &entry.value));
        let log = AccessLogDraft { broken, ..log };
        once(reader, &mut draft.access, Some(Located::new(log, entry.key.span)), "access_log");
    }
    if let Some(log) = top.node("log").and_then(|node| reader.fields(node, &keys::LOG)) {
        let levels = [("info", LogLevel::Info), ("warn", LogLevel::Warn)];
        let level = log.setting(reader, "level", |reader, node| level(reader, node, &levels));
        once(reader, &mut draft.level, level, "log.level");
        let formats = [("text", ProcessLogFormat::Text), ("json", ProcessLogFormat::Json)];
        let format = log.setting(reader, "format", |reader, node| reader.word(node, &formats, &[]));
        once(reader, &mut draft.format, format, "log.format");
    }
    let debug_headers = top.setting(reader, "debug_headers", Reader::flag);
    once(reader, &mut draft.debug_headers, debug_headers, "debug_headers");
}

/// Failures are always said, so that there is nothing above `warn`.
fn level(reader: &mut Reader, node: &Node, levels: &[(&str, LogLevel)]) -> Option<LogLevel> {
    if let Value::Scalar { text, .. } = &node.value
        && matches!(text.as_str(), "error" | "none" | "off")
    {
        let cause = format!("`log` cannot be silenced to `{text}`: failures are always logged");
        reader.problems.push(Problem::error(node.span, cause, "write `warn`, or send the log elsewhere"));
        return None;
    }
    reader.word(node, levels, &["debug", "trace"])
}

/// A path is relative to the file that names it. Words that speak of no log are no names of files.
fn placed(reader: &mut Reader, path: Text) -> Option<Text> {
    if path.value == "-" || path.value.is_empty() || path.value.starts_with("syslog:") {
        return Some(path);
    }
    if matches!(path.value.as_str(), "none" | "off" | "false" | "no" | "true" | "on" | "yes") {
        let cause = format!("`{}` is not a path for the access log", path.value);
        let remedy = format!(
            "write `-` for standard output, `access_log: none` for no log, or `./{}` for a file of that name",
            path.value
        );
        reader.error(path.span, cause, remedy);
        return None;
    }
    let placed = reader.path(&path.value);
    reader.written(&placed, path.span);
    Some(Text { value: placed.to_str().map_or(path.value, str::to_owned), ..path })
}

/// A map, or just its path.
fn access_log(reader: &mut Reader, node: &Node) -> AccessLogDraft {
    if let Value::Scalar { .. } = node.value {
        let path = reader.text(node);
        if path.as_ref().is_some_and(|path| path.value == "none") {
            return AccessLogDraft { off: true, ..AccessLogDraft::default() };
        }
        let path = path.and_then(|path| placed(reader, path));
        return AccessLogDraft { path, ..AccessLogDraft::default() };
    }
    let Some(fields) = reader.fields(node, &keys::ACCESS_LOG) else {
        return AccessLogDraft::default();
    };
    AccessLogDraft {
        broken: false,
        off: false,
        path: fields.text(reader, "path").and_then(|path| placed(reader, path)),
        format: fields.node("format").and_then(|node| reader.template(node)),
        sample: fields.setting(reader, "sample", Reader::share),
    }
}
