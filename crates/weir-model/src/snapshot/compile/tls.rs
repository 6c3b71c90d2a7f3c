//! TLS that ends at a listener: where it has to be, where it cannot be, and what it offers.

use std::collections::BTreeMap;

use super::value;
use crate::{
    draft::{
        CertificateDraft, ClientAuthDraft, ConditionDraft, ListenerDraft, Setting, TerminationDraft, Text,
    },
    listener::Protocol,
    problem::{Located, Problem, Span},
    tls::{ClientAuth, Slot, Termination, Version},
};

/// The protocols of HTTP as ALPN names them (RFC 7301 section 6, RFC 9113 section 3.2), the preferred one first.
const HTTP: [&str; 2] = ["h2", "http/1.1"];

/// The TLS of a listener, if it has any. `written` is what the file says of it, `draft` the same with defaults.
pub(super) fn termination(
    draft: &ListenerDraft,
    written: &ListenerDraft,
    problems: &mut Vec<Problem>,
) -> Option<Termination> {
    let protocol = draft.protocol.as_ref()?.value;
    if let Some(problem) = written.tls.as_ref().and_then(|tls| misplaced(protocol, tls.span)) {
        problems.push(problem);
        return None;
    }
    let Some(tls) = &draft.tls else {
        if protocol == Protocol::Https && !draft.broken {
            let cause = format!("the listener `{}` has no `tls`", draft.name.value);
            let remedy =
                "add `tls: { certificates: [{ cert: site.pem, key: site.key }] }`, or use `protocol: http`";
            problems.push(Problem::error(draft.name.span, cause, remedy));
        }
        return None;
    };
    let TerminationDraft { certificates, min_version, alpn, client_auth, acme } = &tls.value;
    Some(Termination {
        certificates: self::certificates(certificates, (tls.span, draft.broken || acme.is_some()), problems),
        min_version: value(min_version, Version::Tls12),
        alpn: self::alpn(alpn, protocol, problems),
        client_auth: client_auth.as_ref().and_then(|auth| self::client_auth(auth, draft.broken, problems)),
        prepared: Slot::default(),
    })
}

/// Why TLS cannot end at a listener of this protocol.
fn misplaced(protocol: Protocol, span: Span) -> Option<Problem> {
    let (why, remedy) = match protocol {
        Protocol::Https | Protocol::Tcp => return None,
        Protocol::Http => ("which is clear text", "use `protocol: https`, or remove it"),
        Protocol::Tls => (
            "which passes TLS through and never decrypts",
            "use `protocol: https`, or `tcp` for other services, or remove it",
        ),
    };
    let cause = format!("`tls` has no meaning for `protocol: {}`, {why}", protocol.word());
    Some(Problem::error(span, cause, remedy))
}

fn certificates(
    setting: &Setting<Vec<CertificateDraft>>,
    (tls, broken): (Span, bool),
    problems: &mut Vec<Problem>,
) -> Vec<std::sync::Arc<crate::tls::Certificate>> {
    let drafts = setting.as_ref().map_or(&[][..], |setting| &setting.value);
    if drafts.is_empty() && !broken {
        let span = setting.as_ref().map_or(tls, |setting| setting.span);
        let remedy = "add `certificates: [{ cert: site.pem, key: site.key }]`";
        problems.push(Problem::error(span, "`tls` names no certificate", remedy));
    }
    let mut taken: BTreeMap<&str, Span> = BTreeMap::new();
    for (number, draft) in drafts.iter().enumerate() {
        let names = &draft.read.names;
        let free: Vec<_> = names.iter().filter(|name| !taken.contains_key(&***name)).collect();
        // The first one is for those that no other fits.
        if let ([], Some(name), 1..) = (&free[..], names.first(), number) {
            let cause =
                format!("the certificate `{}` is never chosen: another one is for `{name}`", draft.read.name);
            let problem = Problem::warning(draft.span, cause, "remove it, or put it before that one");
            problems.push(match taken.get(&**name) {
                Some(first) => problem.with_related(*first, "this one is chosen"),
                None => problem,
            });
        }
        taken.extend(free.into_iter().map(|name| (&**name, draft.span)));
    }
    drafts.iter().map(|draft| draft.read.clone()).collect()
}

/// What is offered. HTTP speaks what weir speaks; a byte stream is whatever its service says it is.
fn alpn(setting: &Setting<Vec<Text>>, protocol: Protocol, problems: &mut Vec<Problem>) -> Vec<Box<[u8]>> {
    let Some(Located { value: names, span }) = setting else {
        return if protocol == Protocol::Https {
            HTTP.map(|name| name.as_bytes().into()).to_vec()
        } else {
            Vec::new()
        };
    };
    if names.is_empty() && protocol == Protocol::Https {
        problems.push(Problem::error(
            *span,
            "`alpn` names no protocol",
            format!("write `[{}]`", HTTP.join(", ")),
        ));
    }
    let mut offered: Vec<Box<[u8]>> = Vec::new();
    for name in names {
        match self::name(name, protocol) {
            Ok(name) if offered.iter().any(|offered| offered.as_ref() == name) => {
                let cause = "`alpn` names a protocol twice";
                problems.push(Problem::error(span_of(names, name), cause, "keep one of them"));
            }
            Ok(name) => offered.push(name.into()),
            Err(problem) => problems.push(problem),
        }
    }
    offered
}

/// The place of the second one of this name.
fn span_of(names: &[Text], name: &[u8]) -> Span {
    let mut same = names.iter().filter(|text| text.value.as_bytes() == name);
    same.nth(1).map_or_else(Span::default, |text| text.span)
}

fn name(text: &Text, protocol: Protocol) -> Result<&[u8], Problem> {
    let name = &text.value;
    if name.is_empty() || name.len() > 255 {
        let cause = "the name of a protocol has 1 to 255 bytes";
        return Err(Problem::error(text.span, cause, "write for example `h2` or `http/1.1`"));
    }
    match (protocol, name.as_str()) {
        (Protocol::Https, other) if !HTTP.contains(&other) => {
            let cause = format!("`{other}` is not a protocol of `protocol: https`");
            let remedy = "use `h2` and `http/1.1`, or `protocol: tcp` for other services";
            Err(Problem::error(text.span, cause, remedy))
        }
        _ => Ok(name.as_bytes()),
    }
}

fn client_auth(
    setting: &Located<ClientAuthDraft>,
    broken: bool,
    problems: &mut Vec<Problem>,
) -> Option<ClientAuth> {
    let Some(ca) = &setting.value.ca else {
        if !broken {
            let cause = "`client_auth` does not say whose certificates count";
            problems.push(Problem::error(setting.span, cause, "add `ca: clients.pem`"));
        }
        return None;
    };
    Some(ClientAuth { authorities: ca.read.clone(), required: value(&setting.value.required, true) })
}

/// What only TLS knows cannot be asked where none is spoken, and of a client certificate only where one is asked for.
pub(super) fn matches(
    condition: &ConditionDraft,
    listener: &ListenerDraft,
    protocol: Protocol,
    problems: &mut Vec<Problem>,
) {
    if listener.broken {
        return;
    }
    let asked = [
        ("sni", condition.sni.first().map(|text| text.span)),
        ("alpn", condition.alpn.first().map(|text| text.span)),
        ("client_cert", condition.client_cert.as_ref().map(|draft| draft.span)),
    ];
    let ends_here = listener.tls.as_ref().map(|tls| &tls.value);
    for (key, span) in asked {
        let Some(span) = span else { continue };
        if let Some((why, remedy)) = unknown(key, ends_here, protocol) {
            let word = protocol.word();
            let cause = format!("a match on `{key}` has no meaning for `protocol: {word}`{why}");
            problems.push(Problem::error(span, cause, remedy));
        }
    }
    if let Some(tls) = ends_here {
        condition.alpn.iter().for_each(|name| problems.extend(never_agreed_on(name, tls, protocol)));
    }
    condition.not.iter().for_each(|not| matches(not, listener, protocol, problems));
}

/// Why this cannot be asked, and what to do about it.
fn unknown(
    key: &str,
    ends_here: Option<&TerminationDraft>,
    protocol: Protocol,
) -> Option<(&'static str, &'static str)> {
    match (protocol, ends_here) {
        (Protocol::Http, _) => Some((", which speaks no TLS", "remove it, or use `protocol: https`")),
        (Protocol::Tcp, None) => Some((" without `tls`", "remove it, or use `protocol: tls`, or add `tls`")),
        (Protocol::Tls, _) if key == "client_cert" => {
            Some((", which passes certificates through unseen", "remove it, or let TLS end here"))
        }
        (Protocol::Https | Protocol::Tcp, Some(tls)) if key == "client_cert" && tls.client_auth.is_none() => {
            Some((
                " unless clients are asked for certificates",
                "add `client_auth: { ca: clients.pem }` to `tls`",
            ))
        }
        _ => None,
    }
}

/// A protocol that the listener does not offer is agreed on with nobody.
fn never_agreed_on(name: &Text, tls: &TerminationDraft, protocol: Protocol) -> Option<Problem> {
    let offers = |offered: &Setting<Vec<Text>>| match offered {
        Some(offered) => offered.value.iter().any(|offered| offered.value == name.value),
        None => protocol == Protocol::Https && HTTP.contains(&name.value.as_str()),
    };
    (!offers(&tls.alpn)).then(|| {
        let cause = format!("`{}` is agreed on with nobody: the listener does not offer it", name.value);
        Problem::error(name.span, cause, "add it to `alpn` of the listener's `tls`, or remove it here")
    })
}
