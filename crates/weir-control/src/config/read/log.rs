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

/// A path is relative to the file that names it.
fn placed(reader: &Reader, path: Text) -> Text {
    if path.value == "-" || path.value.is_empty() || path.value.starts_with("syslog:") {
        return path;
    }
    let placed = reader.path(&path.value).to_str().map(str::to_owned);
    Text { value: placed.unwrap_or(path.value), ..path }
}

/// A map, or just its path.
fn access_log(reader: &mut Reader, node: &Node) -> AccessLogDraft {
    if let Value::Scalar { .. } = node.value {
        let path = reader.text(node).map(|path| placed(reader, path));
        return AccessLogDraft { path, ..AccessLogDraft::default() };
    }
    let Some(fields) = reader.fields(node, &keys::ACCESS_LOG) else {
        return AccessLogDraft::default();
    };
    AccessLogDraft {
        broken: false,
        path: fields.text(reader, "path").map(|path| placed(reader, path)),
        format: fields.node("format").and_then(|node| reader.template(node)),
        sample: fields.setting(reader, "sample", Reader::share),
    }
}
