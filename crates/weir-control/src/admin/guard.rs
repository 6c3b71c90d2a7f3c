//! Who may use the API.
//!
//! | bound to          | probes | metrics | read      | write                        |
//! |-------------------|--------|---------|-----------|------------------------------|
//! | unix socket       | all    | all     | all       | all                          |
//! | loopback          | all    | own     | own       | own; the token, if there is one |
//! | any other address | all    | all     | the token | the token                    |
//!
//! "own" is a request that names this machine as its Host: a page in the operator's browser can make any name resolve
//! to 127.0.0.1 (DNS rebinding) and then read answers, but it cannot make the browser send another Host than that
//! name. No page of another origin is ever answered.

use std::net::IpAddr;

use weir_model::{listener::Address, snapshot::Secret};

use super::{answer::Answer, wire::Request};

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Numbers for machines.
    Metrics,
    /// Looking.
    Read,
    /// Changing.
    Write,
}

/// Refuses what is not an operator's own request.
pub(super) fn check(
    request: &Request,
    bound: &Address,
    token: Option<&Secret>,
    need: Need,
) -> Result<(), Answer> {
    let Some(local) = bound.ip() else { return same_origin(request) };
    let loopback = local.ip().is_loopback();
    let shown = shown(request);
    let proven = shown.zip(token).is_some_and(|(shown, token)| token.is(shown.as_bytes()));
    // Numbers need no token, so that a wrong one does no harm there.
    if need != Need::Metrics && shown.is_some() && token.is_some() && !proven {
        return Err(Answer::error(
            401,
            "the token is not the one of `admin.token_file`",
            "send the one that is there",
        ));
    }
    if need == Need::Metrics && !loopback {
        return Ok(());
    }
    let host = request.field("host").unwrap_or_default();
    if !(is_own(host, loopback) || proven && !loopback) {
        let remedy = "use `localhost` or the address that `admin` is bound to";
        return Err(Answer::error(403, "the Host of the request is not this machine", remedy));
    }
    same_origin(request)?;
    match (loopback, need, token) {
        (true, Need::Read | Need::Metrics, _) | (true, Need::Write, None) => Ok(()),
        _ if proven => Ok(()),
        (false, _, None) => Err(Answer::error(
            403,
            "off loopback, the API needs a token, and none is configured",
            "add `admin: { token_file: ... }`, or bind `admin` to 127.0.0.1, [::1] or a unix socket",
        )),
        _ => Err(Answer::error(
            401,
            "this needs the token of `admin.token_file`",
            "send it as `Authorization: Bearer TOKEN`, or use the unix socket",
        )),
    }
}

/// The token that a request shows.
fn shown(request: &Request) -> Option<&str> {
    let (scheme, token) = request.field("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

/// Refuses what a page of another origin makes a browser send.
fn same_origin(request: &Request) -> Result<(), Answer> {
    let host = request.field("host").unwrap_or_default();
    let foreign = request
        .fields("origin")
        .any(|origin| origin.split_once("://").is_none_or(|(_, origin)| !origin.eq_ignore_ascii_case(host)));
    let cross_site = request.fields("sec-fetch-site").any(|site| !matches!(site, "same-origin" | "none"));
    if foreign || cross_site {
        let cause = "the request comes from a page of another origin";
        return Err(Answer::error(403, cause, "there is no cross-origin access"));
    }
    Ok(())
}

/// True for `localhost` and for loopback addresses, with or without port; for any address if `loopback` is false, since
/// no name has to be resolved to reach one.
fn is_own(host: &str, loopback: bool) -> bool {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let bare = without_port.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(without_port);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| !loopback || address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_own() {
        for host in ["localhost", "LOCALHOST:9900", "127.0.0.1:9900", "127.0.0.1", "[::1]:9900", "[::1]"] {
            assert!(is_own(host, true), "{host}");
        }
        for host in
            ["", "evil.test", "localhost.evil.test:9900", "192.0.2.1:9900", "127.0.0.1.evil.test", ":9900"]
        {
            assert!(!is_own(host, true), "{host}");
        }
        assert!(is_own("192.0.2.1:9900", false) && !is_own("evil.test", false));
    }
}
