//! Asking for names: /etc/hosts, then the name servers of the system or those that the file names.
//!
//! What is told apart: an answer, an answer that says there is nothing, and no answer that could be used. The resolver keeps
//! no answers; how long they hold is for whoever asked.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{
        ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts,
    },
    lookup::Lookup,
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::{Query, ResponseCode},
        rr::{Name, RData, RecordType},
    },
    system_conf,
};

/// For one question as a whole, over all servers and attempts.
const PATIENCE: Duration = Duration::from_secs(10);
/// For one attempt at one of the servers that the file names.
const PER_ATTEMPT: Duration = Duration::from_secs(2);
/// Of /etc/hosts, which knows no time to live.
const HOSTS_TTL: Duration = Duration::from_secs(5);

/// Why there is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Whoever knows says that there is nothing.
    Nothing(String),
    /// Nobody who knows could be heard.
    Failed(String),
}

impl Trouble {
    pub(super) fn sentence(&self) -> &str {
        match self {
            Self::Nothing(sentence) | Self::Failed(sentence) => sentence,
        }
    }
}

/// An answer, and how long it may be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer<T> {
    pub(super) items: Vec<T>,
    pub(super) time_to_live: Duration,
}

/// A service record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    /// Without the dot at its end.
    pub(super) target: String,
}

/// What is known of one family of addresses.
pub(super) type Family = Result<Answer<IpAddr>, Trouble>;

/// Asks for names. Reads the files of the system anew for every question, as they may change.
pub(super) struct Names {
    servers: Arc<[SocketAddr]>,
}

/// What asks one question, or a few in a row.
pub(super) struct Asker {
    /// Or why there is nobody to ask.
    resolver: Result<TokioResolver, Trouble>,
    hosts: Option<Hosts>,
}

impl Names {
    /// Asks these servers; those of the system if there are none.
    pub(super) fn new(servers: &Arc<[SocketAddr]>) -> Self {
        Self { servers: servers.clone() }
    }

    /// Gets ready to ask.
    pub(super) fn asker(&self) -> Asker {
        // Whoever names servers wants their answers.
        let hosts = self.servers.is_empty().then(|| Hosts::from_system().unwrap_or_default());
        Asker { resolver: self.resolver(), hosts }
    }

    fn resolver(&self) -> Result<TokioResolver, Trouble> {
        let (config, mut options) = if self.servers.is_empty() {
            system_conf::read_system_conf()
                .map_err(|error| Trouble::Failed(format!("/etc/resolv.conf is of no use: {error}")))?
        } else {
            let servers = self.servers.iter().map(name_server).collect();
            let mut options = ResolverOpts::default();
            options.timeout = PER_ATTEMPT;
            (ResolverConfig::from_name_servers(servers), options)
        };
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.build().map_err(|error| Trouble::Failed(error.to_string()))
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connection = |protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = address.port();
        connection
    };
    let connections = vec![connection(ProtocolConfig::Udp), connection(ProtocolConfig::Tcp)];
    NameServerConfig::new(address.ip(), true, connections)
}

impl Asker {
    /// The addresses of a name: of version 4, and of version 6.
    pub(super) async fn addresses(&self, host: &str) -> (Family, Family) {
        if let Some(found) = self.hosts.as_ref().and_then(|hosts| of_hosts(hosts, host)) {
            return found;
        }
        let of = |lookup: Lookup| {
            let addresses = lookup.answers().iter().filter_map(|record| record.data.ip_addr());
            let mut items: Vec<_> = addresses.collect();
            // Servers rotate their answers, which is no change.
            items.sort_unstable();
            items.dedup();
            items
        };
        tokio::join!(self.ask(host, RecordType::A, of), self.ask(host, RecordType::AAAA, of))
    }

    /// The service records of a name.
    pub(super) async fn services(&self, name: &str) -> Result<Answer<Service>, Trouble> {
        let of = |lookup: Lookup| {
            let services = lookup.answers().iter().filter_map(|record| match &record.data {
                RData::SRV(service) if !service.target.is_root() => Some(Service {
                    priority: service.priority,
                    weight: service.weight,
                    port: service.port,
                    target: service.target.to_lowercase().to_ascii().trim_end_matches('.').to_owned(),
                }),
                _ => None,
            });
            services.collect()
        };
        self.ask(name, RecordType::SRV, of).await
    }

    async fn ask<T>(
        &self,
        name: &str,
        kind: RecordType,
        of: impl Fn(Lookup) -> Vec<T>,
    ) -> Result<Answer<T>, Trouble> {
        let resolver = self.resolver.as_ref().map_err(Trouble::clone)?;
        let asked = tokio::time::timeout(PATIENCE, resolver.lookup(name, kind)).await;
        let lookup = match asked {
            Ok(result) => result.map_err(|error| trouble(name, kind, &error))?,
            Err(_) => return Err(Trouble::Failed(format!("no answer within {}s", PATIENCE.as_secs()))),
        };
        let seconds = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
        let items = of(lookup);
        if items.is_empty() {
            return Err(Trouble::Nothing(format!("`{name}` has no {kind} record")));
        }
        Ok(Answer { items, time_to_live: Duration::from_secs(seconds.into()) })
    }
}

/// What /etc/hosts says of a name; it says all or nothing.
fn of_hosts(hosts: &Hosts, host: &str) -> Option<(Family, Family)> {
    let name = Name::from_utf8(host).ok()?;
    let of = |kind| {
        let lookup = hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let mut items: Vec<_> = lookup
            .iter()
            .flat_map(|lookup| lookup.answers())
            .filter_map(|record| record.data.ip_addr())
            .collect();
        items.sort_unstable();
        items.dedup();
        items
    };
    let (v4, v6) = (of(RecordType::A), of(RecordType::AAAA));
    if v4.is_empty() && v6.is_empty() {
        return None;
    }
    let family = |items: Vec<IpAddr>| match items.is_empty() {
        true => Err(Trouble::Nothing(format!("/etc/hosts has no such address of `{host}`"))),
        false => Ok(Answer { items, time_to_live: HOSTS_TTL }),
    };
    Some((family(v4), family(v6)))
}

/// What an error means, in words for people who do not know the resolver.
fn trouble(name: &str, kind: RecordType, error: &NetError) -> Trouble {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NXDomain => {
            Trouble::Nothing(format!("there is no name `{name}` (NXDOMAIN)"))
        }
        NetError::Dns(DnsError::NoRecordsFound(_)) => {
            Trouble::Nothing(format!("`{name}` has no {kind} record"))
        }
        NetError::Dns(DnsError::ResponseCode(code)) => {
            let word = match *code {
                ResponseCode::ServFail => "SERVFAIL".to_owned(),
                ResponseCode::Refused => "REFUSED".to_owned(),
                other => other.to_string(),
            };
            Trouble::Failed(format!("the name server failed to answer for `{name}`: {word}"))
        }
        NetError::Timeout => Trouble::Failed("the name servers did not answer in time".into()),
        NetError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Trouble::Failed("the name servers refuse connections".into())
        }
        other => Trouble::Failed(format!("the name servers could not be asked for `{name}`: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_hosts_says_all_or_nothing() {
        let mut hosts = Hosts::default();
        let text = "10.0.0.2 app.internal app\n10.0.0.1 app.internal\n# 10.0.0.3 app.internal\nfd00::1 six\n";
        hosts.read_hosts_conf(text.as_bytes()).unwrap();
        let answer = |texts: &[&str]| Answer {
            items: texts.iter().map(|text| text.parse().unwrap()).collect(),
            time_to_live: HOSTS_TTL,
        };
        let (v4, v6) = of_hosts(&hosts, "app.internal").unwrap();
        assert_eq!(v4, Ok(answer(&["10.0.0.1", "10.0.0.2"])));
        // Nobody is asked for the other version.
        assert!(matches!(v6, Err(Trouble::Nothing(_))), "{v6:?}");
        let (v4, v6) = of_hosts(&hosts, "SIX").unwrap();
        assert!(matches!(v4, Err(Trouble::Nothing(_))), "{v4:?}");
        assert_eq!(v6, Ok(answer(&["fd00::1"])));
        assert_eq!(of_hosts(&hosts, "other.internal"), None);
    }
}
