//! `srv`: each target of a service is a backend, with the port and the weight of its record.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use weir_model::discovery::Asking;

use super::{
    dns::Known,
    feed::{Entry, Feed, again_after},
    names::{Names, Service, Trouble},
};

/// Weights are multiplied by this where a small share has to be told from a smaller one.
const SCALE: u32 = 10;
/// Targets of one answer that are looked at; an answer over TCP could name thousands.
const MOST_TARGETS: usize = 1000;

/// Asks for ever.
pub(super) async fn follow(feed: &mut Feed, name: &str, asking: &Asking) {
    let names = Names::new(&asking.servers);
    let refresh = asking.refresh.duration();
    let mut targets = Targets::default();
    loop {
        let pause = match targets.ask(&names, name).await {
            Ok((entries, left_out, time_to_live)) => {
                feed.entries(entries, left_out);
                again_after(time_to_live, refresh)
            }
            Err(trouble) => {
                feed.failed(trouble.sentence());
                feed.patience(refresh)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// The addresses of the targets, as they were answered last.
#[derive(Debug, Default)]
struct Targets(BTreeMap<String, Known>);

impl Targets {
    /// Asks for the service, and for each of its targets.
    async fn ask(
        &mut self,
        names: &Names,
        name: &str,
    ) -> Result<(Vec<Entry>, Vec<String>, Duration), Trouble> {
        let asker = names.asker()?;
        let answer = asker.services(name).await?;
        let mut time_to_live = answer.time_to_live;
        let mut left_out = Vec::new();
        let mut services = answer.items;
        services.sort_by(|a, b| (a.priority, &a.target, a.port).cmp(&(b.priority, &b.target, b.port)));
        if services.len() > MOST_TARGETS {
            left_out.push(format!(
                "{} of its records: {MOST_TARGETS} are the most",
                services.len() - MOST_TARGETS
            ));
            services.truncate(MOST_TARGETS);
        }
        let wanted: BTreeSet<&String> = services.iter().map(|service| &service.target).collect();
        self.0.retain(|target, _| wanted.contains(target));
        for target in wanted {
            let (v4, v6) = asker.addresses(target).await;
            let known = self.0.entry(target.clone()).or_default();
            match known.learn(v4, v6) {
                Ok(shorter) => time_to_live = time_to_live.min(shorter),
                Err(trouble) => {
                    // One target that is gone is no reason to keep the others from being known.
                    if matches!(trouble, Trouble::Nothing(_)) {
                        *known = Known::default();
                    }
                    left_out.push(format!("target `{target}`: {}", trouble.sentence()));
                    time_to_live = Duration::ZERO;
                }
            }
        }
        let addresses = |service: &Service| {
            self.0.get(&service.target).map_or_else(Vec::new, |known| known.addresses().collect())
        };
        let found: Vec<(Service, Vec<IpAddr>)> =
            services.into_iter().map(|service| (service.clone(), addresses(&service))).collect();
        let entries = entries(&found);
        if entries.is_empty() {
            let sentence = left_out.first().map_or("none of its targets has an address", String::as_str);
            return Err(Trouble::Failed(format!("`{name}`: {sentence}")));
        }
        Ok((entries, left_out, time_to_live))
    }
}

/// A backend for every address of every target.
fn entries(found: &[(Service, Vec<IpAddr>)]) -> Vec<Entry> {
    // Higher numbers are for when those of the lowest are gone.
    let first =
        found.iter().filter(|(_, addresses)| !addresses.is_empty()).map(|(service, _)| service.priority);
    let Some(first) = first.min() else { return Vec::new() };
    let used: Vec<_> = found.iter().filter(|(service, _)| service.priority == first).collect();
    let shares = shares(&used.iter().map(|(service, all)| (service.weight, all.len())).collect::<Vec<_>>());
    let mut entries = Vec::new();
    for ((service, addresses), weight) in used.into_iter().zip(shares) {
        for ip in addresses {
            let name = (addresses.len() == 1).then(|| format!("{}:{}", service.target, service.port));
            let address = SocketAddr::new(*ip, service.port);
            entries.push(Entry { name, weight: Some(weight), ..Entry::at(address) });
        }
    }
    entries
}

/// The weight of each address, from the weight of its target and how many addresses that has. In RFC 2782 a weight of 0
/// stands for a very small share beside others, and says nothing where all are 0.
fn shares(targets: &[(u16, usize)]) -> Vec<u32> {
    let all_zero = targets.iter().all(|(weight, _)| *weight == 0);
    let exact = targets.iter().all(|(weight, count)| *count <= 1 && (*weight > 0 || all_zero));
    let share = |(weight, count): &(u16, usize)| {
        let weight = if all_zero { 1 } else { u32::from(*weight) };
        if exact {
            return weight;
        }
        let count = u32::try_from(*count).unwrap_or(u32::MAX).max(1);
        (weight * SCALE / count).max(1)
    };
    targets.iter().map(share).collect()
}
