//! Sticky sessions: the cookie and its attributes.

use std::fmt::Write as _;

use crate::{
    draft::{SameSite, StickyDraft, Text},
    pool::{Backend, Sticky},
    problem::Problem,
    snapshot::compile::{address, condition, kept, value},
    time::Millis,
};

/// The sticky sessions of a pool.
pub(super) fn sticky(
    draft: Option<&StickyDraft>,
    pool: &str,
    backends: &[Backend],
    problems: &mut Vec<Problem>,
) -> Option<Sticky> {
    let draft = draft?;
    let cookie = draft.cookie.as_ref().and_then(|name| kept(condition::cookie_name(name), problems));
    let path = draft.path.as_ref().and_then(|path| kept(attribute(path, "path", "/shop"), problems));
    let domain =
        draft.domain.as_ref().and_then(|domain| kept(attribute(domain, "domain", "example.com"), problems));
    let domain = domain.filter(|_| {
        let plain = |text: &&Text| !address::is_name(text.value.trim_start_matches('.'));
        let wrong = draft.domain.as_ref().filter(plain);
        problems.extend(wrong.map(|text| {
            let cause = format!("`{}` is not a domain for a cookie", text.value.escape_debug());
            Problem::error(text.span, cause, "write a name, for example `domain: example.com`")
        }));
        wrong.is_none()
    });
    let (secure, same_site) = (value(&draft.secure, false), value(&draft.same_site, SameSite::Lax));
    if let (Some(setting), false, SameSite::None) = (&draft.same_site, secure, same_site) {
        let cause = "browsers drop a cookie with `SameSite=None` that is not `Secure`";
        problems.push(Problem::warning(setting.span, cause, "add `secure: true`, or use `lax`"));
    }
    problems.extend(dropped(draft, secure));
    // Writing to a String cannot fail.
    let mut attributes = format!("; Path={}", path.unwrap_or("/"));
    if let Some(domain) = domain {
        let _ = write!(attributes, "; Domain={domain}");
    }
    let ttl = value(&draft.ttl, Millis::NONE);
    if !ttl.is_none() {
        let _ = write!(attributes, "; Max-Age={}", ttl.0.div_ceil(1000));
    }
    if value(&draft.http_only, true) {
        attributes.push_str("; HttpOnly");
    }
    if secure {
        attributes.push_str("; Secure");
    }
    let _ = write!(attributes, "; SameSite={}", same_site.word());
    Some(Sticky::new(&cookie?, &attributes, pool, backends.iter().map(|backend| &*backend.name)))
}

/// Names with a promise in front, which browsers hold cookies to (RFC 6265bis section 4.1.3).
fn dropped(draft: &StickyDraft, secure: bool) -> Option<Problem> {
    let name = draft.cookie.as_ref()?;
    let begins =
        |prefix: &str| name.value.get(..prefix.len()).is_some_and(|own| own.eq_ignore_ascii_case(prefix));
    let host = begins("__Host-");
    if !host && !begins("__Secure-") {
        return None;
    }
    let elsewhere = draft.path.as_ref().is_some_and(|path| path.value != "/");
    let (why, remedy) = match (secure, host) {
        (false, _) => ("is not `Secure`", "add `secure: true`, or use another name"),
        (true, true) if draft.domain.is_some() => ("has a domain", "remove `domain`, or use another name"),
        (true, true) if elsewhere => ("has a path other than `/`", "remove `path`, or use another name"),
        (true, _) => return None,
    };
    let cause = format!("browsers drop a cookie named `{}` that {why}", name.value);
    Some(Problem::warning(name.span, cause, remedy))
}

/// The text of an attribute (RFC 6265 section 4.1.1).
fn attribute<'t>(text: &'t Text, key: &str, example: &str) -> Result<&'t str, Problem> {
    let plain = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && byte != b';';
    let begins = key != "path" || text.value.starts_with('/');
    if begins && !text.value.trim().is_empty() && text.value.bytes().all(plain) {
        return Ok(&text.value);
    }
    let cause = format!("`{}` is not a {key} for a cookie", text.value.escape_debug());
    Err(Problem::error(text.span, cause, format!("write for example `{key}: {example}`")))
}
