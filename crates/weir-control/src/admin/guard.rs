//! Who may use `/api`.

use std::net::{IpAddr, SocketAddr};

use hyper::{
    Request,
    header::{HOST, ORIGIN},
};

use super::Answer;

/// Refuses what is not an operator's own request.
pub(super) fn check<B>(request: &Request<B>, local: SocketAddr) -> Result<(), Answer> {
    if !local.ip().is_loopback() {
        let remedy = "bind `admin` to 127.0.0.1 or [::1]; tokens are not there yet";
        return Err(Answer::error(403, "off loopback, the API needs a token", remedy));
    }
    // A page in the operator's browser can make any name resolve to 127.0.0.1 (DNS rebinding) and then read the
    // answers; it cannot make the browser send another Host than that name.
    let host = request.headers().get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !is_own(host) {
        let remedy = "use `localhost` or the address that `admin` is bound to";
        return Err(Answer::error(403, "the Host of the request is not this machine", remedy));
    }
    let origin = request.headers().get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    if let Some(origin) = origin
        && origin.split_once("://").is_none_or(|(_, origin)| !origin.eq_ignore_ascii_case(host))
    {
        return Err(Answer::error(
            403,
            "the request comes from a page of another origin",
            "there is no cross-origin access",
        ));
    }
    Ok(())
}

/// True for `localhost` and for loopback addresses, with or without port.
fn is_own(host: &str) -> bool {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let bare = without_port.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(without_port);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_own() {
        for host in ["localhost", "LOCALHOST:9900", "127.0.0.1:9900", "127.0.0.1", "[::1]:9900", "[::1]"] {
            assert!(is_own(host), "{host}");
        }
        for host in
            ["", "evil.test", "localhost.evil.test:9900", "192.0.2.1:9900", "127.0.0.1.evil.test", ":9900"]
        {
            assert!(!is_own(host), "{host}");
        }
    }
}
