//! Addresses as written: what is bound, where a backend is, which networks are meant.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use ipnet::IpNet;

use crate::{
    draft::Text,
    listener::{Address, Bind, Networks},
    pool::Endpoint,
    problem::Problem,
};

/// The longest path of a unix socket (`sun_path` of Linux without its closing zero).
const LONGEST_UNIX_PATH: usize = 107;

/// The path behind `unix:`, if the text is one.
fn unix(text: &Text) -> Option<Result<Arc<Path>, Problem>> {
    let path = text.value.strip_prefix("unix:")?;
    let refuse = |cause: String, remedy: &str| Some(Err(Problem::error(text.span, cause, remedy)));
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return refuse(
            format!("`{}` names no unix socket", text.value),
            "write a path, as in `unix:/run/weir.sock`",
        );
    }
    if path.len() > LONGEST_UNIX_PATH {
        let cause = format!("the path of this unix socket has {} bytes", path.len());
        return refuse(cause, "the system takes 107 at most; use a shorter one");
    }
    Some(Ok(Path::new(path).into()))
}

/// What `bind` means: `:8080` is one bind per family.
pub(super) fn binds(text: &Text) -> Result<Vec<Bind>, Problem> {
    let binds = wanted(text)?;
    binds.iter().find_map(|bind| mapped(text, bind.address.ip()?)).map_or(Ok(binds), Err)
}

/// [`binds`], with an IPv4 address that is written as one of IPv6 too, which nothing can be bound to.
pub(super) fn wanted(text: &Text) -> Result<Vec<Bind>, Problem> {
    if let Some(path) = unix(text) {
        return Ok(vec![Bind { address: Address::Unix(path?), either_family: false }]);
    }
    let port = text.value.strip_prefix(':').filter(|port| !port.contains(':'));
    if let Some(port) = port {
        let port = bind_port(text, port)?;
        let bind = |ip| Bind { address: Address::Ip(SocketAddr::new(ip, port)), either_family: true };
        return Ok(vec![bind(Ipv4Addr::UNSPECIFIED.into()), bind(Ipv6Addr::UNSPECIFIED.into())]);
    }
    Ok(vec![Bind { address: Address::Ip(bound(text)?), either_family: false }])
}

/// Where operators are answered: one address.
pub(super) fn admin(text: &Text) -> Result<Address, Problem> {
    if let Some(path) = unix(text) {
        return path.map(Address::Unix);
    }
    if let Some(port) = text.value.strip_prefix(':') {
        let remedy = format!("write `127.0.0.1:{port}` for this machine only, or `0.0.0.0:{port}`");
        return Err(Problem::error(text.span, "the admin address needs a host", remedy));
    }
    let address = bound(text)?;
    mapped(text, address).map_or(Ok(Address::Ip(address)), Err)
}

/// Sockets of IPv6 are for IPv6 alone, so that an IPv4 address cannot be bound in its guise.
fn mapped(text: &Text, address: SocketAddr) -> Option<Problem> {
    let ip = address.ip();
    let plain = SocketAddr::new(ip.to_canonical(), address.port());
    (plain.ip() != ip).then(|| {
        let cause =
            format!("`{}` is an IPv4 address written as one of IPv6, which cannot be bound", text.value);
        Problem::error(text.span, cause, format!("write `{plain}`"))
    })
}

fn bound(text: &Text) -> Result<SocketAddr, Problem> {
    if let Ok(address) = text.value.parse() {
        return Ok(address);
    }
    let cause = format!("`{}` is not an address to bind", text.value);
    let remedy = unbracketed(&text.value).unwrap_or_else(|| match text.value.rsplit_once(':') {
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
    });
    Err(Problem::error(text.span, cause, remedy))
}

/// Where a backend is.
pub(super) fn endpoint(text: &Text) -> Result<Endpoint, Problem> {
    if let Some(path) = unix(text) {
        return path.map(Endpoint::Unix);
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
    if let Some(remedy) = unbracketed(&text.value) {
        return refuse(remedy);
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
    Networks::new(texts.into_iter().filter_map(|text| super::kept(network(text), problems)).collect())
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

/// True if the text can be the host of a URL: a name, an IPv4 address, or an IPv6 address in brackets.
pub(super) fn is_host(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    is_name(text) || inner.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
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

/// What to write for an IPv6 address and a port without the brackets that tell them apart.
fn unbracketed(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    host.parse::<Ipv6Addr>().ok()?;
    port.parse::<u16>().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()))?;
    let meant = with_port(host, port);
    Some(match text.parse::<Ipv6Addr>() {
        Ok(_) => format!("write `{meant}`, or `{}` if all of it is the address", with_port(text, "8080")),
        Err(_) => format!("write `{meant}`"),
    })
}

fn with_port(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
