//! Which containers take traffic, and where.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use serde::Deserialize;
use weir_model::discovery::Docker;

use super::super::feed::Entry;

/// The labels of a container's port, weight and zone.
const PORT: &str = "weir.port";
const WEIGHT: &str = "weir.weight";
const ZONE: &str = "weir.zone";

/// What an engine says of one container; all that is of use here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Inspected {
    id: String,
    name: String,
    state: State,
    config: Config,
    host_config: HostConfig,
    network_settings: NetworkSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    status: String,
    health: Option<Health>,
    /// As Podman called it before it spoke as Docker does.
    healthcheck: Option<Health>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Health {
    status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    labels: Option<BTreeMap<String, String>>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    network_mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkSettings {
    networks: Option<BTreeMap<String, Network>>,
    /// Of the default network, where the engine names none.
    #[serde(rename = "IPAddress")]
    address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    #[serde(rename = "IPAddress")]
    v4: String,
    #[serde(rename = "GlobalIPv6Address")]
    v6: String,
}

/// The backends among containers, in the order of their names; of the others, why they are none.
pub(super) fn chosen(containers: &[Inspected], docker: &Docker) -> (Vec<Entry>, Vec<String>) {
    let mut entries = Vec::new();
    let mut left_out = Vec::new();
    for container in containers {
        match container.entry(docker) {
            Ok(entry) => entries.push(entry),
            Err(why) => left_out.push(format!("container `{}`: {why}", container.name())),
        }
    }
    entries.sort_by(|a, b| (&a.name, &a.address).cmp(&(&b.name, &b.address)));
    left_out.sort();
    (entries, left_out)
}

impl Inspected {
    fn name(&self) -> &str {
        let name = self.name.trim_start_matches('/');
        if name.is_empty() { self.id.get(..12).unwrap_or(&self.id) } else { name }
    }

    /// The backend that it is, or why it is none.
    fn entry(&self, docker: &Docker) -> Result<Entry, String> {
        if self.state.status != "running" {
            return Err(format!("it is {}", self.state.status));
        }
        let health = self.state.health.as_ref().or(self.state.healthcheck.as_ref());
        match health.map_or("", |health| &health.status) {
            "starting" => return Err("its health check has not passed yet".into()),
            "unhealthy" => return Err("its health check fails".into()),
            _ => {}
        }
        let address = SocketAddr::new(self.address(docker)?, self.port(docker)?);
        let weight = self.label(WEIGHT).map(|text| {
            let weight = text.parse().ok().filter(|weight| *weight <= 1_000_000);
            weight.ok_or_else(|| format!("its label `{WEIGHT}` is `{text}` and no number from 0 to 1000000"))
        });
        Ok(Entry {
            name: Some(self.name().to_owned()),
            weight: weight.transpose()?,
            zone: self.label(ZONE).map(str::to_owned),
            ..Entry::at(address)
        })
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.config.labels.as_ref()?.get(key).map(String::as_str)
    }

    fn port(&self, docker: &Docker) -> Result<u16, String> {
        if let Some(text) = self.label(PORT) {
            let port = text.parse().ok().filter(|port| *port != 0);
            return port.ok_or_else(|| format!("its label `{PORT}` is `{text}` and no port"));
        }
        if let Some(port) = docker.port {
            return Ok(port);
        }
        let exposed = self.config.exposed_ports.iter().flat_map(BTreeMap::keys);
        let mut exposed = exposed.filter_map(|port| port.strip_suffix("/tcp")?.parse::<u16>().ok());
        match (exposed.next(), exposed.next()) {
            (Some(port), None) => Ok(port),
            (None, _) => Err(format!("it exposes no port; add the label `{PORT}`")),
            (Some(_), Some(_)) => Err(format!("it exposes several ports; add the label `{PORT}`")),
        }
    }

    fn address(&self, docker: &Docker) -> Result<IpAddr, String> {
        let usable = |text: &str| text.parse::<IpAddr>().ok().filter(|address| !address.is_unspecified());
        let of = |network: &Network| usable(&network.v4).or_else(|| usable(&network.v6));
        let networks = self.network_settings.networks.as_ref();
        let mut known = networks.into_iter().flatten();
        if let Some(wanted) = docker.network.as_deref() {
            let network = known.find(|(name, _)| name.as_str() == wanted);
            let (_, network) = network.ok_or_else(|| format!("it is not in the network `{wanted}`"))?;
            return of(network).ok_or_else(|| format!("it has no address in the network `{wanted}`"));
        }
        if self.host_config.network_mode == "host" {
            // It has the addresses of this machine.
            return Ok(Ipv4Addr::LOCALHOST.into());
        }
        let first = known.find_map(|(_, network)| of(network));
        first.or_else(|| usable(&self.network_settings.address)).ok_or_else(|| "it has no address".to_owned())
    }
}
