//! TLS to backends, compiled: what needs no cryptography is judged here.

use std::{net::IpAddr, sync::Arc};

use super::value;
use crate::{
    draft::{OriginationDraft, PoolDraft, Text},
    problem::Problem,
    tls::Origination,
};

/// Compiles the `tls` of a pool.
pub(super) fn origination(pool: &PoolDraft, problems: &mut Vec<Problem>) -> Option<Arc<Origination>> {
    let setting = pool.tls.as_ref()?;
    let draft = &setting.value;
    if draft.off {
        return None;
    }
    let verify = value(&draft.verify, true);
    problems.extend(contradiction(draft));
    let server_name = draft.server_name.as_ref().and_then(|text| super::kept(server_name(text), problems));
    let nameless = pool.backends.iter().find(|backend| backend.address.value.starts_with("unix:"));
    if let (Some(backend), true, None) = (nameless, verify, &draft.server_name) {
        let cause =
            format!("there is no name that the certificate of `{}` has to be for", backend.address.value);
        problems.push(Problem::error(setting.span, cause, "add `sni: NAME`, the name in its certificate"));
    }
    Some(Arc::new(Origination {
        verify,
        authorities: draft.authorities.as_ref().map(|authorities| authorities.value.read.clone()),
        server_name,
        identity: draft.identity.as_ref().map(|identity| identity.value.read.clone()),
        prepared: Default::default(),
    }))
}

/// Authorities that nobody asks.
fn contradiction(draft: &OriginationDraft) -> Option<Problem> {
    let (verify, authorities) = (draft.verify.as_ref()?, draft.authorities.as_ref()?);
    if verify.value {
        return None;
    }
    let cause = "`ca` has no meaning beside `verify: false`: no certificate is verified";
    let problem =
        Problem::error(authorities.span, cause, "remove one of the two; without `verify: false` it counts");
    Some(problem.with_related(verify.span, "verification is switched off here"))
}

/// A host name or an address, in lower case.
fn server_name(text: &Text) -> Result<Arc<str>, Problem> {
    let name = text.value.strip_suffix('.').unwrap_or(&text.value).to_ascii_lowercase();
    if is_host_name(&name) || name.parse::<IpAddr>().is_ok() {
        return Ok(name.into());
    }
    let cause = format!("`{}` is no host name that a certificate could be for", text.value);
    Err(Problem::error(
        text.span,
        cause,
        "write a name such as `app.internal`, without a port and without `*`",
    ))
}

/// Labels of letters, digits, hyphens and underscores (RFC 1123 section 2.1; underscores are widely used inside).
fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= 253 && name.split('.').all(label) && !name.rsplit('.').next().is_some_and(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Located, Span};

    #[test]
    fn names_are_host_names_or_addresses() {
        let read = |text: &str| server_name(&Located::new(text.to_owned(), Span::default())).ok();
        assert_eq!(read("App.Internal."), Some("app.internal".into()));
        for fine in ["localhost", "a_b.test", "10.0.0.1", "2001:db8::1", "1.2.example"] {
            assert_eq!(read(fine).as_deref(), Some(fine));
        }
        for wrong in
            ["", ".", "*.a.test", "a.test:443", "a b", "-a.test", "a-.test", "10.0.0", "ä.test", "a..b"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
