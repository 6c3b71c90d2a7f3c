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
        let asker = names.asker();
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

/// A backend for every address of every target. Those of the lowest priority number that has an address are primaries,
/// all others are backups.
fn entries(found: &[(Service, Vec<IpAddr>)]) -> Vec<Entry> {
    let mut by_priority: BTreeMap<u16, Vec<&(Service, Vec<IpAddr>)>> = BTreeMap::new();
    for target in found.iter().filter(|(_, addresses)| !addresses.is_empty()) {
        by_priority.entry(target.0.priority).or_default().push(target);
    }
    let mut entries = Vec::new();
    for (place, targets) in by_priority.into_values().enumerate() {
        let sizes: Vec<_> = targets.iter().map(|(service, all)| (service.weight, all.len())).collect();
        for ((service, addresses), weight) in targets.into_iter().zip(shares(&sizes)) {
            entries.extend(addresses.iter().map(|ip| Entry {
                name: (addresses.len() == 1).then(|| format!("{}:{}", service.target, service.port)),
                weight: Some(weight),
                backup: place > 0,
                ..Entry::at(SocketAddr::new(*ip, service.port))
            }));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, target: &str) -> Service {
        Service { priority, weight, port: 80, target: target.into() }
    }

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn weights_are_those_of_the_records_as_far_as_they_can_be() {
        for (targets, expected) in [
            (&[(3, 1), (1, 1)][..], &[3, 1][..]),
            (&[(0, 1), (0, 1)], &[1, 1]),
            // A very small share is not none.
            (&[(0, 1), (2, 1)], &[1, 20]),
            // Addresses of one target share its weight.
            (&[(1, 2), (1, 1)], &[5, 10]),
            (&[(0, 2), (0, 2)], &[5, 5]),
            (&[(1, 100), (65_535, 1)], &[1, 655_350]),
        ] {
            assert_eq!(shares(targets), expected, "{targets:?}");
        }
    }

    #[test]
    fn higher_numbers_are_backups() {
        let found = [
            (service(5, 0, "gone"), vec![]),
            (service(10, 1, "a"), vec![ip(1)]),
            (service(20, 7, "b"), vec![ip(2)]),
            (service(30, 0, "c"), vec![ip(3), ip(4)]),
        ];
        let made: Vec<_> = entries(&found)
            .into_iter()
            .map(|entry| (entry.name.unwrap_or(entry.address), entry.weight, entry.backup))
            .collect();
        let expected =
            [("a:80", 1, false), ("b:80", 7, true), ("10.0.0.3:80", 5, true), ("10.0.0.4:80", 5, true)];
        assert_eq!(made, expected.map(|(name, weight, backup)| (name.to_owned(), Some(weight), backup)));
    }
}
