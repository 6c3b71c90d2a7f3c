//! What is to be logged: targets, formats, shares.

use std::{path::PathBuf, sync::Arc};

use super::{kept, value};
use crate::{
    draft::{AccessLogDraft, LogsDraft, Text},
    log::{AccessLog, LogFormat, LogTarget, ProcessLog, Sample},
    problem::{Located, Problem, nearest},
    snapshot::Logging,
    status::Registry,
    template::{Place, Template},
};

/// Where the C library's `syslog` writes to.
const SYSLOG_SOCKET: &str = "/dev/log";
/// RFC 5426 section 3.3.
const SYSLOG_PORT: u16 = 514;
/// The formats that have a name.
const FORMATS: [(&str, LogFormat); 4] = [
    ("json", LogFormat::Json),
    ("common", LogFormat::Common),
    ("combined", LogFormat::Combined),
    ("httplog", LogFormat::Httplog),
];

/// Everything about logs.
pub(super) fn logging(draft: &LogsDraft, registry: &mut Registry, problems: &mut Vec<Problem>) -> Logging {
    let defaults = ProcessLog::default();
    Logging {
        access: draft.access.as_ref().and_then(|draft| access(draft, problems)).map(Arc::new),
        process: ProcessLog {
            level: value(&draft.level, defaults.level),
            format: value(&draft.format, defaults.format),
        },
        debug_headers: value(&draft.debug_headers, false),
        status: registry.access_log(),
    }
}

fn access(draft: &Located<AccessLogDraft>, problems: &mut Vec<Problem>) -> Option<AccessLog> {
    let Located { value: log, span } = draft;
    if log.off {
        return None;
    }
    let path = log.path.as_ref();
    if path.is_none() && !log.broken {
        let remedy = "add `path`: a file, `-` for standard output, or `syslog:`";
        problems.push(Problem::error(*span, "the access log has no `path`", remedy));
    }
    let target = path.and_then(|path| kept(target(path), problems));
    let format = log.format.as_ref().map_or(Some(LogFormat::Json), |text| kept(format(text), problems));
    let sample = log.sample.as_ref().map_or(Sample::ALL, |share| Sample::per_million(share.value));
    let (target, format) = (target?, format?);
    let (response_fields, shows_request_id) = (format.response_fields(), format.shows_request_id());
    Some(AccessLog { target, format, sample, response_fields, shows_request_id })
}

/// `-`, `syslog:`, `syslog:/run/log`, `syslog:udp://host:514`, or a path.
fn target(text: &Text) -> Result<LogTarget, Problem> {
    let refuse = |cause: String, remedy: &str| Err(Problem::error(text.span, cause, remedy));
    let path = text.value.as_str();
    match path {
        "" => refuse("the path of the access log is empty".into(), "write a path, `-` or `syslog:`"),
        "-" => Ok(LogTarget::Stdout),
        _ if path.contains('\0') => refuse("the path holds a NUL".into(), "write another path"),
        _ => match path.strip_prefix("syslog:") {
            None => Ok(LogTarget::File(PathBuf::from(path))),
            Some("") => Ok(LogTarget::SyslogLocal(SYSLOG_SOCKET.into())),
            Some(socket) if socket.starts_with('/') && !socket.starts_with("//") => {
                Ok(LogTarget::SyslogLocal(socket.into()))
            }
            Some(server) => match server.strip_prefix("udp://").and_then(host_and_port) {
                Some((host, port)) => Ok(LogTarget::SyslogUdp(host.into(), port)),
                None => refuse(
                    format!("`{path}` names no syslog"),
                    "write `syslog:`, `syslog:/dev/log` or `syslog:udp://10.0.0.9:514`",
                ),
            },
        },
    }
}

/// `host`, `host:port`, `[::1]:port`.
fn host_and_port(server: &str) -> Option<(&str, u16)> {
    let (host, port) = match server.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(SYSLOG_PORT), |port| port.parse().ok().filter(|port| *port > 0))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_' | '%');
    (!host.is_empty() && host.chars().all(plain)).then_some((host, port))
}

/// A word, or a text with variables.
fn format(text: &Text) -> Result<LogFormat, Problem> {
    if let Some((_, format)) = FORMATS.iter().find(|(word, _)| *word == text.value) {
        return Ok(format.clone());
    }
    if !text.value.contains('$') {
        let cause = format!("`{}` is not a format of the access log", text.value);
        let remedy = match nearest(&text.value, FORMATS.iter().map(|(word, _)| *word)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write `json`, `common`, `combined`, `httplog`, or a text with variables such as \
                     `$client_address $status`"
                .to_owned(),
        };
        return Err(Problem::error(text.span, cause, remedy));
    }
    if text.value.chars().any(char::is_control) {
        let cause = "the format of the access log holds a line break or another control character";
        return Err(Problem::error(text.span, cause, "write it on one line"));
    }
    Template::parse(text, Place::Log).map(LogFormat::Template)
}
