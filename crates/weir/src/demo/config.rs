//! The configuration of the demo: a text like any user's, which is printed and then run as it stands.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context as _, Result};

use super::backends::{Addresses, Backends};

/// Ports that are tried from a first one that is easy to remember.
const TRIED: u16 = 100;

/// The text for these backends. It has no empty line, so that what is printed can be cut out again.
pub(super) fn text(backends: &Backends) -> Result<String> {
    let [web, lines, admin] = [free(8080)?, free(9000)?, free(9900)?];
    let [app, api, echo] = [&backends.app, &backends.api, &backends.echo].map(list);
    Ok(format!(
        "\
# weir.yaml: saved as a file, this passes `weir check` and works with `weir run`
listeners:
  web:
    bind: {web}
    protocol: http
    routes:                            # the first match wins
      - name: api
        match: {{ path: /api/* }}
        rewrite: {{ path_prefix: / }}    # /api/orders arrives as /orders
        pool: api
      - name: pages                    # everything else
        pool: app
        response_headers: {{ set: {{ X-Served-By: weir }} }}
  lines:
    bind: {lines}
    protocol: tcp                      # bytes of any protocol
    pool: echo
pools:
  app:
    balance: round_robin               # in turn
    backends:
{app}
    health: {{ http: /healthz, interval: 1s, fall: 3, rise: 2 }}
  api:
    balance: least_conn                # the least busy: slow ones get less
    backends:
{api}
    health: {{ http: /healthz, interval: 1s }}
  echo:
    backends:
{echo}
    health: {{ tcp: {{}}, interval: 1s }}
admin: {{ bind: {admin} }}
shutdown: {{ announce: 0s, drain: 5s }}
"
    ))
}

fn list(backends: &Addresses) -> String {
    let line =
        |(name, address): &(&str, SocketAddr)| format!("      - {{ name: {name}, address: \"{address}\" }}");
    backends.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// An address of loopback that nobody listens on: the first free port from `first` on.
fn free(first: u16) -> Result<SocketAddr> {
    let mut ports = (first..first + TRIED).chain([0]);
    let socket = ports.find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    let socket = socket.with_context(|| format!("no port is free on {}", Ipv4Addr::LOCALHOST))?;
    Ok(socket.local_addr()?)
}

#[cfg(test)]
mod tests {
    use weir_control::config::{self, Style};
    use weir_model::status::Registry;

    use super::*;

    #[test]
    fn it_is_accepted_without_a_word() {
        let text = text(&Backends::start().unwrap()).unwrap();
        assert!(text.lines().all(|line| !line.is_empty()), "{text}");
        let compiled = config::compile(config::from_text("weir.yaml", &text), 1, &mut Registry::new(1));
        let report = compiled.map_or_else(|refusal| refusal, |compiled| compiled.report);
        assert_eq!(report.render(Style::Plain), "");
    }
}
