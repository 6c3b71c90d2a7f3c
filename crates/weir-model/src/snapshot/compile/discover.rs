//! Discovery: what is asked for backends. What is answered is compiled with the pool.

use std::{net::SocketAddr, path::Path, sync::Arc};

use super::{
    address::{endpoint, is_name},
    kept, value, within,
};
use crate::{
    discovery::{Asking, Docker, Source},
    draft::{DiscoverDraft, DockerDraft, SourceDraft, Text},
    pool::Endpoint,
    problem::{Problem, Span},
    time::Millis,
};

/// The label that containers carry unless the file names another one.
const LABEL: &str = "weir.pool";
/// Where the engine's API is unless the file says it.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// The port of name servers.
const DNS_PORT: u16 = 53;

/// The one source of a pool.
pub(super) fn source(
    draft: &DiscoverDraft,
    pool: &str,
    broken: bool,
    problems: &mut Vec<Problem>,
) -> Option<Source> {
    let Some(first) = draft.sources.first() else {
        if !broken {
            let remedy = "add one of `dns`, `srv`, `file` and `docker`";
            problems.push(Problem::error(draft.span, "`discover` does not say what is asked", remedy));
        }
        return None;
    };
    if let Some(second) = draft.sources.get(1) {
        let cause = "a pool discovers its backends in one place";
        let problem =
            Problem::error(second.span, cause, "remove one of the two, or make two pools and a `split`");
        problems.push(problem.with_related(first.span, "it is already told to ask here"));
    }
    if !matches!(first.value, SourceDraft::Dns(_) | SourceDraft::Srv(_)) {
        refuse_keys_of_names(draft, problems);
    }
    let asking = |problems: &mut Vec<Problem>| Asking {
        refresh: value(&draft.refresh, Millis::secs(10)),
        servers: draft.servers.iter().filter_map(|server| kept(name_server(server), problems)).collect(),
    };
    match &first.value {
        SourceDraft::Dns(text) => {
            let (host, port) = kept(host_and_port(text), problems)?;
            Some(Source::Dns { host, port, asking: asking(problems) })
        }
        SourceDraft::Srv(text) => {
            let name = kept(service(text), problems)?;
            Some(Source::Srv { name, asking: asking(problems) })
        }
        SourceDraft::File(path) => Some(Source::File(Path::new(&path.value).into())),
        SourceDraft::Docker(docker) => self::docker(docker, pool, problems).map(Source::Docker),
    }
}

/// What only questions for names have.
fn refuse_keys_of_names(draft: &DiscoverDraft, problems: &mut Vec<Problem>) {
    let given: [(&str, Option<Span>); 2] = [
        ("refresh", draft.refresh.as_ref().map(|setting| setting.span)),
        ("servers", draft.servers.first().map(|server| server.span)),
    ];
    for (key, span) in given {
        if let Some(span) = span {
            let cause = format!("`{key}` has a meaning for `dns` and `srv` only");
            problems.push(Problem::error(span, cause, "remove it: changes are noticed as they happen"));
        }
    }
}

fn host_and_port(text: &Text) -> Result<(Arc<str>, u16), Problem> {
    let remedy = "write a name and a port, as in `app.internal:8080`";
    match endpoint(text) {
        Ok(Endpoint::Name(host, port)) => Ok((host, port)),
        Ok(_) => {
            let cause = format!("`{}` is an address: there is nothing to discover", text.value);
            Err(Problem::error(text.span, cause, "write it under `backends`"))
        }
        Err(problem) if is_name(&text.value) => Err(problem),
        Err(problem) => Err(Problem { remedy: remedy.into(), ..problem }),
    }
}

fn service(text: &Text) -> Result<Arc<str>, Problem> {
    let name = text.value.to_ascii_lowercase();
    let remedy =
        "write the name of service records, as in `_http._tcp.app.internal`; the port comes with the answer";
    let refuse = |cause: String| Err(Problem::error(text.span, cause, remedy));
    if !is_name(&name) || name.parse::<std::net::IpAddr>().is_ok() {
        return refuse(format!("`{}` is not the name of a service", text.value));
    }
    Ok(name.into())
}

fn name_server(text: &Text) -> Result<SocketAddr, Problem> {
    let address = text.value.parse::<SocketAddr>().or_else(|_| {
        let ip = text.value.parse::<std::net::IpAddr>();
        ip.map(|ip| SocketAddr::new(ip, DNS_PORT))
    });
    match address {
        Ok(address) if address.port() != 0 && !address.ip().is_unspecified() => Ok(address),
        _ => {
            let cause = format!("`{}` is not the address of a name server", text.value);
            Err(Problem::error(text.span, cause, "write `10.0.0.2` or `127.0.0.1:5353`"))
        }
    }
}

fn docker(draft: &DockerDraft, pool: &str, problems: &mut Vec<Problem>) -> Option<Docker> {
    let socket = match &draft.host {
        None => Path::new(DOCKER_SOCKET).into(),
        Some(text) => kept(engine(text), problems)?,
    };
    let label = match &draft.label {
        None => format!("{LABEL}={pool}"),
        Some(text) if text.value.is_empty() || text.value.starts_with('=') => {
            let cause = format!("`{}` is not a label", text.value);
            problems.push(Problem::error(text.span, cause, format!("write `{LABEL}={pool}`, or `KEY`")));
            return None;
        }
        Some(text) => text.value.clone(),
    };
    let port = within(&draft.port, 1..=65_535, "the port", problems);
    Some(Docker {
        socket,
        label: label.into(),
        port: port.and_then(|port| u16::try_from(port).ok()),
        network: draft.network.as_ref().map(|text| text.value.as_str().into()),
    })
}

/// `unix:///run/docker.sock`, as the engine's own programs write it, or `unix:/run/docker.sock`.
fn engine(text: &Text) -> Result<Arc<Path>, Problem> {
    let path = text.value.strip_prefix("unix://").or_else(|| text.value.strip_prefix("unix:"));
    if let Some(path) = path.filter(|path| path.starts_with('/') && path.len() > 1) {
        return Ok(Path::new(path).into());
    }
    let remedy = "write the path of the engine's socket: `unix:///var/run/docker.sock`";
    if path.is_none() && text.value.contains("://") {
        let cause = format!("`{}` is not on this machine: only unix sockets are asked", text.value);
        return Err(Problem::error(text.span, cause, remedy));
    }
    Err(Problem::error(text.span, format!("`{}` is not a unix socket", text.value), remedy))
}
