//! Why a route did or did not take a request, in words. Evaluates nothing itself: it only puts into a sentence
//! what [`Condition::failing`] found.

use std::fmt::{Display, Write as _};

use super::{Condition, GrpcMatch, Matcher, RequestFacts, Route, condition, grpc};
use crate::secret;

/// What became of one route when a request was routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it took the request.
    pub matched: bool,
    /// Why, in one sentence without a full stop.
    pub why: String,
}

impl Route {
    /// True if the route takes the request.
    pub fn takes(&self, request: &impl RequestFacts) -> bool {
        self.conditions.is_empty() || self.conditions.iter().any(|condition| condition.holds(request))
    }

    /// Whether the route takes the request, and why.
    pub fn verdict(&self, request: &impl RequestFacts) -> Verdict {
        if self.conditions.is_empty() {
            return Verdict { matched: true, why: "takes everything".into() };
        }
        let mut failures = Vec::new();
        for condition in &self.conditions {
            match condition.failing(request) {
                None => return Verdict { matched: true, why: taken(condition) },
                Some(matcher) => failures.push(matcher.why_not(request)),
            }
        }
        Verdict { matched: false, why: failures.join("; ") }
    }
}

fn taken(condition: &Condition) -> String {
    let asked: Vec<_> = condition.matchers.iter().map(Matcher::subject).collect();
    match asked.split_last() {
        None => "takes everything".into(),
        Some((last, [])) => format!("{last} matches"),
        Some((last, others)) => format!("{} and {last} match", others.join(", ")),
    }
}

impl Matcher {
    /// What is asked about: `path`, `header x-canary`.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Host(_) => "host".into(),
            Self::Path(_) => "path".into(),
            Self::Method(_) => "method".into(),
            Self::Header(name, _) => format!("header {name}"),
            Self::Query(name, _) => format!("query parameter {name}"),
            Self::Cookie(name, _) => format!("cookie {name}"),
            Self::Source(_) => "source".into(),
            Self::ServerName(_) => "sni".into(),
            Self::Protocol(_) => "alpn".into(),
            Self::Certificate(_) => "client certificate".into(),
            Self::Grpc(_) => "gRPC call".into(),
            Self::Not(_) => "not".into(),
        }
    }

    /// Why it does not hold for a request for which [`Matcher::holds`] said no.
    pub fn why_not(&self, request: &impl RequestFacts) -> String {
        let subject = self.subject();
        let differs = |found: String, wanted: String| format!("{subject} is {found}, not {wanted}");
        match self {
            Self::Host(hosts) if request.host().is_empty() => {
                format!("the request names no host, {} is asked for", any_of(hosts))
            }
            Self::Host(hosts) => differs(quoted(request.host()), any_of(hosts)),
            Self::Path(paths) => differs(quoted(request.path()), any_of(paths)),
            Self::Method(methods) => differs(request.method().escape_ascii().to_string(), any_of(methods)),
            Self::Header(name, texts) => {
                why_text(&subject, secret::shown(name, &any_of(texts)), |each| request.any_header(name, each))
            }
            Self::Query(name, texts) => why_text(&subject, secret::shown(name, &any_of(texts)), |each| {
                condition::any_parameter(request, name, each)
            }),
            Self::Cookie(name, texts) => why_text(&subject, secret::shown(name, &any_of(texts)), |each| {
                condition::any_cookie(request, name, each)
            }),
            Self::Source(networks) => differs(request.source().to_string(), any_of(networks.as_slice())),
            Self::ServerName(hosts) => match request.server_name() {
                None => format!(
                    "the client asked for no name when it began TLS, sni {} is asked for",
                    any_of(hosts)
                ),
                Some(name) => differs(format!("`{name}`"), any_of(hosts)),
            },
            Self::Protocol(names) => {
                let mut found = Vec::new();
                request.any_protocol(&mut |name| {
                    found.push(quoted(name));
                    false
                });
                match found.is_empty() {
                    true => format!("no protocol was named by alpn, {} is asked for", any_of(names)),
                    false => differs(any_of(&found), any_of(names)),
                }
            }
            Self::Certificate(wanted) => match request.identity() {
                None => format!("the client has shown no certificate, one with {wanted} is asked for"),
                Some(client) => differs(format!("that of `{}`", client.subject), wanted.to_string()),
            },
            Self::Grpc(calls) => why_no_call(calls, request),
            Self::Not(conditions) => {
                let hit = conditions.iter().find(|condition| condition.holds(request));
                format!("excluded by `not`: {}", hit.map(taken).unwrap_or_default())
            }
        }
    }
}

fn why_no_call(calls: &GrpcMatch, request: &impl RequestFacts) -> String {
    if !calls.takes_path(request.path()) {
        return format!("the path {} is not that of the gRPC call {calls}", quoted(request.path()));
    }
    // The path is right: then it is the Content-Type that is not.
    debug_assert!(!grpc::is_call(request));
    why_text("header content-type", "that of gRPC", |each| request.any_header("content-type", each))
}

fn why_text(subject: &str, wanted: &str, values: impl Fn(&mut dyn FnMut(&[u8]) -> bool) -> bool) -> String {
    let mut found: Option<String> = None;
    values(&mut |value| {
        found = Some(quoted(value));
        true
    });
    match found {
        Some(found) => format!("{subject} is {found}, not {wanted}"),
        None => format!("{subject} is absent, not {wanted}"),
    }
}

/// `a`, `a or b`, `a, b or c`; long lists are cut.
fn any_of<T: Display>(items: &[T]) -> String {
    const SHOWN: usize = 4;
    let mut text = String::new();
    for (index, item) in items.iter().take(SHOWN).enumerate() {
        let last = index + 1 == items.len();
        let before = match index {
            0 => "",
            _ if last => " or ",
            _ => ", ",
        };
        // Writing to a String cannot fail.
        let _ = write!(text, "{before}{item}");
    }
    if items.len() > SHOWN {
        let _ = write!(text, " or {} others", items.len() - SHOWN);
    }
    text
}

fn quoted(bytes: &[u8]) -> String {
    format!("`{}`", bytes.escape_ascii())
}
