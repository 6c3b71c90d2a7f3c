//! Addresses as written: what is bound, where a backend is, which networks are meant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::{
    draft::Text,
    listener::{Bind, Networks},
    pool::Endpoint,
    problem::Problem,
};

/// What `bind` means: `:8080` is one bind per family.
pub(super) fn binds(text: &Text) -> Result<Vec<Bind>, Problem> {
    if text.value.starts_with("unix:") {
        return Err(Problem::not_yet(text.span, "binding to a unix socket"));
    }
    let port = text.value.strip_prefix(':').filter(|port| !port.contains(':'));
    if let Some(port) = port {
        let port = bind_port(text, port)?;
        let bind = |address| Bind { address: SocketAddr::new(address, port), either_family: true };
        return Ok(vec![bind(Ipv4Addr::UNSPECIFIED.into()), bind(Ipv6Addr::UNSPECIFIED.into())]);
    }
    Ok(vec![Bind { address: bound(text)?, either_family: false }])
}

/// Where operators are answered: one address.
pub(super) fn admin(text: &Text) -> Result<SocketAddr, Problem> {
    if text.value.starts_with("unix:") {
        return Err(Problem::not_yet(text.span, "an admin address on a unix socket"));
    }
    if let Some(port) = text.value.strip_prefix(':') {
        let remedy = format!("write `127.0.0.1:{port}` for this machine only, or `0.0.0.0:{port}`");
        return Err(Problem::error(text.span, "the admin address needs a host", remedy));
    }
    bound(text)
}

fn bound(text: &Text) -> Result<SocketAddr, Problem> {
    if let Ok(address) = text.value.parse() {
        return Ok(address);
    }
    let cause = format!("`{}` is not an address to bind", text.value);
    let remedy = match text.value.rsplit_once(':') {
        Some(("*", port)) => format!("write `:{port}` for every address of both families"),
        _ if text.value.parse::<IpAddr>().is_ok() => {
            format!("add a port: `{}`", with_port(&text.value, "8080"))
        }
        _ if text.value.parse::<u16>().is_ok() => format!("write `:{}`", text.value),
        Some((host, port)) if is_name(host) && port.parse::<u16>().is_ok() => {
            "bind takes an address, not a host name: `127.0.0.1:8080`, `[::1]:8080`, or `:8080` for all"
                .into()
        }
        _ => "write `:8080`, `127.0.0.1:8080` or `[::1]:8080`".into(),
    };
    Err(Problem::error(text.span, cause, remedy))
}

/// Where a backend is.
pub(super) fn endpoint(text: &Text) -> Result<Endpoint, Problem> {
    if text.value.starts_with("unix:") {
        return Err(Problem::not_yet(text.span, "a backend on a unix socket"));
    }
    if let Ok(address) = text.value.parse::<SocketAddr>() {
        return match address {
            _ if address.port() == 0 => Err(no_port_zero(text)),
            _ if address.ip().is_unspecified() => {
                let cause = format!("`{}` is no address to connect to", address.ip());
                Err(Problem::error(
                    text.span,
                    cause,
                    "write the address of the backend, `127.0.0.1` for this machine",
                ))
            }
            _ => Ok(Endpoint::Address(address)),
        };
    }
    let refuse = |remedy: String| {
        let cause = format!("`{}` is not the address of a backend", text.value);
        Err(Problem::error(text.span, cause, remedy))
    };
    if text.value.contains("://") {
        return refuse("write `HOST:PORT` without a scheme and a path".into());
    }
    let is_host = is_name(&text.value) && !looks_like_ipv4(&text.value);
    if text.value.parse::<IpAddr>().is_ok() || is_host {
        return refuse(format!("add a port: `{}`", with_port(&text.value, "8080")));
    }
    match text.value.rsplit_once(':') {
        Some((host, port)) if is_name(host) && !looks_like_ipv4(host) => match port.parse::<u16>() {
            Ok(0) => Err(no_port_zero(text)),
            Ok(port) => Ok(Endpoint::Name(host.to_ascii_lowercase().into(), port)),
            Err(_) => refuse(format!("`{port}` is not a port; ports are 1 to 65535")),
        },
        _ => refuse("write `10.0.0.1:8080`, `[2001:db8::1]:8080` or `name.example:8080`".into()),
    }
}

/// Networks; a single address is a network of one.
pub(super) fn networks<'t>(
    texts: impl IntoIterator<Item = &'t Text>,
    problems: &mut Vec<Problem>,
) -> Networks {
    Networks(texts.into_iter().filter_map(|text| super::kept(network(text), problems)).collect())
}

fn network(text: &Text) -> Result<IpNet, Problem> {
    if let Ok(address) = text.value.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let Ok(network) = text.value.parse::<IpNet>() else {
        let cause = format!("`{}` is not a network", text.value);
        return Err(Problem::error(
            text.span,
            cause,
            "write `10.0.0.0/8`, `2001:db8::/32` or a single address",
        ));
    };
    if network.network() != network.addr() {
        // Almost always a slip in the length; which of the two was meant, nobody can tell.
        let cause = format!("`{}` has bits set behind its prefix", text.value);
        return Err(Problem::error(text.span, cause, format!("did you mean `{}`?", network.trunc())));
    }
    Ok(network)
}

/// True if the text can be a host name: labels of letters, digits, hyphens and underscores.
pub(super) fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 253 && text.split('.').all(label)
}

fn looks_like_ipv4(host: &str) -> bool {
    host.split('.').all(|label| label.bytes().all(|byte| byte.is_ascii_digit()))
}

fn bind_port(text: &Text, port: &str) -> Result<u16, Problem> {
    port.parse().map_err(|_| {
        let cause = format!("`{}` is not an address to bind: `{port}` is not a port", text.value);
        Problem::error(text.span, cause, "ports are 1 to 65535")
    })
}

fn no_port_zero(text: &Text) -> Problem {
    Problem::error(text.span, "a backend has no port 0", "ports are 1 to 65535")
}

fn with_port(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
