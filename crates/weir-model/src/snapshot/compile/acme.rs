//! Certificates that an authority issues: whether they can be had.

use std::{collections::BTreeMap, sync::Arc};

use super::{address, value};
use crate::{
    acme::{Acme, Challenge, label},
    draft::{AcmeDraft, DefaultsDraft, ListenerDraft, Setting, Text},
    listener::{Bind, Listener, Protocol},
    problem::{Located, Problem, Span},
    status::Registry,
};

/// Host names in one certificate; authorities take no more.
const MOST_DOMAINS: usize = 100;

/// Where authorities can ask for proofs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// A listener answers in clear text on port 80.
    clear: bool,
}

impl Reach {
    /// As the listeners say it.
    pub(super) fn of<'d>(drafts: impl Iterator<Item = &'d ListenerDraft>) -> Self {
        let speaks = |draft: &ListenerDraft, wanted| {
            draft.protocol.as_ref().is_some_and(|protocol| protocol.value == wanted)
        };
        let binds = |draft: &'d ListenerDraft| {
            draft.binds.iter().filter_map(|text| address::binds(text).ok()).flatten().collect::<Vec<_>>()
        };
        let mut clear = drafts.filter(|draft| speaks(draft, Protocol::Http));
        Self { clear: clear.any(|draft| is_at(&binds(draft), Challenge::Http01)) }
    }
}

fn is_at(binds: &[Bind], challenge: Challenge) -> bool {
    binds.iter().any(|bind| bind.address.ip().is_some_and(|address| address.port() == challenge.port()))
}

/// What a listener with these addresses says of a certificate to be issued.
pub(super) fn acme(
    draft: &ListenerDraft,
    binds: &[Bind],
    reach: Reach,
    registry: &mut Registry,
    problems: &mut Vec<Problem>,
) -> Option<Acme> {
    let Located { value: acme, span } = draft.tls.as_ref()?.value.acme.as_ref()?;
    if acme.broken {
        return None;
    }
    let missing = [
        ("directory", acme.directory.is_none(), "directory: https://acme.example/directory"),
        (
            "domains",
            acme.domains.as_ref().is_none_or(|domains| domains.value.is_empty()),
            "domains: [example.com]",
        ),
        ("storage", acme.storage.is_none(), "storage: /var/lib/weir/acme"),
    ];
    let missing = missing.into_iter().filter(|(_, missing, _)| *missing);
    let problem = |(key, _, example): (&str, bool, &str)| {
        Problem::error(*span, format!("`acme` names no `{key}`"), format!("add `{example}`"))
    };
    let before = problems.len();
    problems.extend(missing.map(problem));
    let domains = domains(&acme.domains, problems);
    problems.extend(acme.directory.as_ref().and_then(wrong_directory));
    problems.extend(acme.email.as_ref().and_then(wrong_email));
    if problems.len() > before {
        return None;
    }
    let challenge = challenge(acme, binds, (reach, *span), problems);
    let directory: Arc<str> = acme.directory.as_ref()?.value.as_str().into();
    let label: Arc<str> = label(&directory, domains.iter().map(|domain| &**domain))?.into();
    Some(Acme {
        email: acme.email.as_ref().map(|email| email.value.as_str().into()),
        storage: acme.storage.as_ref()?.value.as_path().into(),
        authorities: acme.ca.as_ref().map(|ca| ca.read.clone()),
        status: registry.acme(&label),
        label,
        directory,
        domains,
        challenge,
    })
}

fn domains(setting: &Setting<Vec<Text>>, problems: &mut Vec<Problem>) -> Vec<Arc<str>> {
    let Some(setting) = setting else { return Vec::new() };
    if setting.value.len() > MOST_DOMAINS {
        let cause = format!("{} domains are too many for one certificate", setting.value.len());
        let remedy = format!("name {MOST_DOMAINS} at most, and the others in another listener");
        problems.push(Problem::error(setting.span, cause, remedy));
    }
    let mut kept: Vec<Arc<str>> = Vec::new();
    for text in &setting.value {
        match domain(text) {
            Ok(name) if kept.contains(&name) => {
                let cause = format!("`domains` names `{name}` twice");
                problems.push(Problem::error(text.span, cause, "keep one of them"));
            }
            Ok(name) => kept.push(name),
            Err(problem) => problems.push(problem),
        }
    }
    kept
}

fn domain(text: &Text) -> Result<Arc<str>, Problem> {
    let name = text.value.to_ascii_lowercase();
    if name.starts_with("*.") {
        let cause =
            format!("`{name}` stands for many names, which only records in the DNS can prove to be yours");
        let remedy =
            "name each host, or have the certificate issued elsewhere and name it under `certificates`";
        return Err(Problem::error(text.span, cause, remedy));
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let labels = name.split('.').count();
    let is_address =
        name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if labels >= 2 && name.len() <= 253 && !is_address && name.split('.').all(is_label) {
        return Ok(name.into());
    }
    let cause =
        format!("`{}` is not the name of a host that certificates are issued for", text.value.escape_debug());
    Err(Problem::error(text.span, cause, "write for example `example.com`; other alphabets as `xn--…`"))
}

fn wrong_directory(text: &Text) -> Option<Problem> {
    let rest = text.value.strip_prefix("https://");
    let sound = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && text.value.bytes().all(|byte| byte.is_ascii_graphic());
    (!sound).then(|| {
        let cause = format!("`{}` is not the URL of a directory", text.value.escape_debug());
        Problem::error(text.span, cause, "write what your authority says, which begins with `https://`")
    })
}

fn wrong_email(text: &Text) -> Option<Problem> {
    let sound = text.value.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
        && text.value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b',');
    (!sound).then(|| {
        let cause = format!("`{}` is not an address of mail", text.value.escape_debug());
        Problem::error(text.span, cause, "write for example `ops@example.com`, or leave it out")
    })
}

/// How the domains are proved. What cannot work as the listeners stand is a warning: what comes from outside may be sent on
/// to other ports.
fn challenge(
    acme: &AcmeDraft,
    binds: &[Bind],
    (reach, span): (Reach, Span),
    problems: &mut Vec<Problem>,
) -> Challenge {
    let otherwise = if reach.clear { Challenge::Http01 } else { Challenge::TlsAlpn01 };
    let challenge = value(&acme.challenge, otherwise);
    let (reached, where_from, remedy) = match challenge {
        Challenge::Http01 => (
            reach.clear,
            "no listener with `protocol: http` is bound to",
            "add one, or use `challenge: tls-alpn-01`",
        ),
        Challenge::TlsAlpn01 => (
            is_at(binds, challenge),
            "this listener is not bound to",
            "bind it there, or add a listener with `protocol: http` on port 80",
        ),
    };
    if !reached {
        let cause = format!(
            "authorities ask for `{}` at port {}, which {where_from}: unless something in front of weir leads from there to \
             here, no certificate is issued",
            challenge.word(),
            challenge.port()
        );
        let span = acme.challenge.as_ref().map_or(span, |challenge| challenge.span);
        problems.push(Problem::warning(span, cause, remedy));
    }
    challenge
}

/// A certificate that two listeners want in different ways.
pub(super) fn differing(
    listeners: &[Arc<Listener>],
    drafts: &BTreeMap<&str, &ListenerDraft>,
    problems: &mut Vec<Problem>,
) {
    let mut known: BTreeMap<&str, (&Acme, Span)> = BTreeMap::new();
    for listener in listeners {
        let Some(acme) = listener.acme.as_deref() else { continue };
        let draft = drafts.get(&*listener.name).and_then(|draft| draft.tls.as_ref()?.value.acme.as_ref());
        let span = draft.map_or_else(Span::default, |draft| draft.span);
        match known.get(&*acme.label) {
            Some((other, first)) if *other != acme => {
                let cause = "another listener wants the same certificate in another way";
                let problem = Problem::error(span, cause, "make both say the same, or leave one out");
                problems.push(problem.with_related(*first, "the other one is here"));
            }
            Some(_) => {}
            None => drop(known.insert(&acme.label, (acme, span))),
        }
    }
}

/// Certificates are read with the listener that names them: there is nothing that a default could be filled into.
pub(super) fn no_default(defaults: &DefaultsDraft, problems: &mut Vec<Problem>) {
    let tls = defaults.listener.as_ref().and_then(|listener| listener.value.tls.as_ref());
    let acme = tls.and_then(|tls| tls.value.acme.as_ref());
    if let Some(acme) = acme {
        problems.push(Problem::error(acme.span, "`acme` has no defaults", "write it in the listener"));
    }
}
