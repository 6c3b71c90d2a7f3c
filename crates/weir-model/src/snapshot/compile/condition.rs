//! Conditions: patterns as written become matchers.

mod certificate;
mod grpc;
mod never;

use std::{net::IpAddr, sync::Arc};

use regex::bytes::{Regex, RegexBuilder};

use super::{address, header, kept};

use crate::{
    draft::{ConditionDraft, NamedTexts, Text, TextDraft},
    listener::Normalize,
    problem::{Located, Problem, Span},
    route::{Condition, HostMatch, Matcher, PathMatch, TextMatch},
};

/// Compiled expressions larger than this are refused: no single route may fill the memory.
const EXPRESSION_BYTES: usize = 1 << 20;

/// One condition. Matchers stand in the order in which they are cheap to ask. `normalize` is how paths are tidied before.
pub(super) fn condition(
    draft: &ConditionDraft,
    normalize: Normalize,
    problems: &mut Vec<Problem>,
) -> Condition {
    let mut matchers = Vec::new();
    if !draft.host.is_empty() {
        matchers.push(Matcher::Host(each(&draft.host, host, problems)));
    }
    if !draft.path.is_empty() {
        matchers.push(Matcher::Path(each(&draft.path, |text| path(text, normalize), problems)));
    }
    if !draft.method.is_empty() {
        matchers.push(Matcher::Method(each(&draft.method, asked_method, problems)));
    }
    if !draft.source.is_empty() {
        matchers.push(Matcher::Source(address::networks(&draft.source, problems)));
    }
    if !draft.sni.is_empty() {
        matchers.push(Matcher::ServerName(each(&draft.sni, host, problems)));
    }
    if !draft.alpn.is_empty() {
        matchers
            .push(Matcher::Protocol(draft.alpn.iter().map(|name| Arc::from(name.value.as_str())).collect()));
    }
    if let Some(draft) = &draft.client_cert {
        matchers.push(Matcher::Certificate(certificate::wanted(draft, problems)));
    }
    if let Some(draft) = &draft.grpc {
        matchers.push(Matcher::Grpc(grpc::calls(draft, problems)));
    }
    never::headers(&draft.headers, problems);
    never::cookies(&draft.cookies, problems);
    named(&draft.headers, header::name, Matcher::Header, &mut matchers, problems);
    named(&draft.cookies, cookie_name, Matcher::Cookie, &mut matchers, problems);
    named(&draft.query, parameter_name, Matcher::Query, &mut matchers, problems);
    if !draft.not.is_empty() {
        matchers
            .push(Matcher::Not(draft.not.iter().map(|not| condition(not, normalize, problems)).collect()));
    }
    Condition { matchers }
}

fn each<T>(
    texts: &[Text],
    read: impl Fn(&Text) -> Result<T, Problem>,
    problems: &mut Vec<Problem>,
) -> Vec<T> {
    texts.iter().filter_map(|text| kept(read(text), problems)).collect()
}

fn named(
    drafts: &[NamedTexts],
    read_name: impl Fn(&Text) -> Result<Arc<str>, Problem>,
    matcher: impl Fn(Arc<str>, Vec<TextMatch>) -> Matcher,
    matchers: &mut Vec<Matcher>,
    problems: &mut Vec<Problem>,
) {
    for (name, texts) in drafts {
        let texts = texts.iter().filter_map(|draft| kept(text(draft), problems)).collect();
        if let Some(name) = kept(read_name(name), problems) {
            matchers.push(matcher(name, texts));
        }
    }
}

pub(super) fn text(draft: &Located<TextDraft>) -> Result<TextMatch, Problem> {
    Ok(match &draft.value {
        TextDraft::Exact(text) => TextMatch::Exact(text.as_bytes().into()),
        TextDraft::Prefix(text) => TextMatch::Prefix(text.as_bytes().into()),
        TextDraft::Regex(text) => TextMatch::Regex(expression(text, draft.span)?),
        TextDraft::Present(wanted) => TextMatch::Present(*wanted),
    })
}

/// A host pattern.
pub(super) fn host(text: &Text) -> Result<HostMatch, Problem> {
    let refuse = |remedy: &str| {
        Err(Problem::error(text.span, format!("`{}` is not a host to match", text.value), remedy))
    };
    let name = text.value.strip_suffix('.').unwrap_or(&text.value).to_ascii_lowercase();
    if name.starts_with('~') {
        return refuse("hosts are names or `*.example.com`, not expressions");
    }
    if name == "*" {
        return refuse("leave `host` out to match every host");
    }
    if let Some(parent) = name.strip_prefix("*.") {
        return match address::is_name(parent) {
            true => Ok(HostMatch::Under(parent.into())),
            false => refuse("`*.` stands in front of a name, as in `*.example.com`"),
        };
    }
    if name.contains('*') {
        return refuse("`*` stands only in front, as a whole label: `*.example.com`");
    }
    if address::is_host(&name) {
        return Ok(HostMatch::Exact(name.into()));
    }
    if !name.is_ascii() {
        return refuse("write the name as it is sent, in its `xn--` form");
    }
    match name.rsplit_once(':') {
        Some((host, port)) if address::is_name(host) && port.parse::<u16>().is_ok() => {
            refuse("leave the port out: hosts are compared without it")
        }
        _ => refuse("write a name such as `api.example.com` or `*.example.com`"),
    }
}

/// A pattern for the name that a client asks for when it begins TLS: that of a host, and never an address (RFC 6066 section 3).
pub(super) fn server_name(text: &Text) -> Result<HostMatch, Problem> {
    if text.value == "*" {
        let remedy = "leave `sni` out for every name, and for none";
        return Err(Problem::error(text.span, "`*` is not a name that clients ask for", remedy));
    }
    match host(text)? {
        HostMatch::Exact(name) if !address::is_name(&name) || name.parse::<IpAddr>().is_ok() => {
            let cause = format!("`{}` is an address, and clients never ask for one in TLS", text.value);
            Err(Problem::error(text.span, cause, "write a name such as `api.example.com` or `*.example.com`"))
        }
        name => Ok(name),
    }
}

/// A path pattern.
fn path(text: &Text, normalize: Normalize) -> Result<PathMatch, Problem> {
    let refuse = |remedy: &str| {
        Err(Problem::error(text.span, format!("`{}` is not a path to match", text.value), remedy))
    };
    if let Some(expression_text) = text.value.strip_prefix('~') {
        return expression(expression_text, text.span).map(PathMatch::Regex);
    }
    if !text.value.starts_with('/') {
        return refuse("a path begins with `/`; an expression with `~`");
    }
    if let Some(problem) = never::path(&text.value, normalize) {
        return refuse(problem);
    }
    match text.value.strip_suffix("/*") {
        Some(prefix) if !prefix.contains('*') => Ok(PathMatch::Prefix(prefix.into())),
        None if !text.value.contains('*') => Ok(PathMatch::Exact(text.value.as_str().into())),
        _ => refuse(
            "`*` stands only at the end, after a slash: `/v1/*`; for more use an expression, `~^/v[0-9]+/`",
        ),
    }
}

/// A method that a request can have where routes are asked: TRACE is refused before that.
fn asked_method(text: &Text) -> Result<Arc<str>, Problem> {
    if text.value == "TRACE" {
        let cause = "no route ever sees TRACE: it is answered with 405 before";
        return Err(Problem::error(text.span, cause, "remove it"));
    }
    method(text)
}

/// A method.
pub(super) fn method(text: &Text) -> Result<Arc<str>, Problem> {
    let refuse =
        |remedy: String| Err(Problem::error(text.span, format!("`{}` is not a method", text.value), remedy));
    if text.value == "*" {
        return refuse("leave `method` out to match every method".into());
    }
    if text.value.is_empty() || !text.value.bytes().all(header::is_token) {
        return refuse("write for example `GET` or `[GET, POST]`".into());
    }
    if text.value.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return refuse(format!(
            "methods are compared with their case: `{}`",
            text.value.to_ascii_uppercase()
        ));
    }
    Ok(text.value.as_str().into())
}

pub(super) fn cookie_name(text: &Text) -> Result<Arc<str>, Problem> {
    if !text.value.is_empty() && text.value.bytes().all(header::is_token) {
        return Ok(text.value.as_str().into());
    }
    let cause = format!("`{}` is not the name of a cookie", text.value);
    Err(Problem::error(text.span, cause, "names have no spaces, separators or control characters"))
}

fn parameter_name(text: &Text) -> Result<Arc<str>, Problem> {
    if !text.value.is_empty() {
        return Ok(text.value.as_str().into());
    }
    Err(Problem::error(text.span, "the name of a query parameter is empty", "write its name"))
}

/// A regular expression.
pub(super) fn expression(text: &str, span: Span) -> Result<Regex, Problem> {
    RegexBuilder::new(text)
        .size_limit(EXPRESSION_BYTES)
        .build()
        .map_err(|error| not_an_expression(text, span, &error))
}

/// Says what is wrong with an expression on one line.
pub(super) fn not_an_expression(text: &str, span: Span, error: &regex::Error) -> Problem {
    let why = match error {
        regex::Error::Syntax(message) => {
            let last = message.lines().last().unwrap_or(message);
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
        regex::Error::CompiledTooBig(limit) => format!("it needs more than {limit} bytes compiled"),
        other => other.to_string(),
    };
    let remedy =
        "the syntax is that of https://docs.rs/regex/#syntax, without look-around and back-references";
    Problem::error(span, format!("the expression `{text}` is not valid: {why}"), remedy)
}
