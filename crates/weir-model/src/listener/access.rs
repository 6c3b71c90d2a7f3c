//! Which clients are served: sets of networks.

use std::net::IpAddr;

use ipnet::IpNet;

/// Which clients a listener serves, by their address after trust was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Only these; everybody if there is none.
    pub allow: Networks,
    /// Never these, whatever `allow` says.
    pub deny: Networks,
}

impl Access {
    /// True if a client with this address is served.
    pub fn admits(&self, client: IpAddr) -> bool {
        (self.allow.is_empty() || self.allow.contains(client)) && !self.deny.contains(client)
    }

    /// True if everybody is served.
    pub const fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

/// A set of networks. Looking an address up takes a few steps however many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// As they were written.
    list: Vec<IpNet>,
    /// First and last addresses, ascending and apart from each other.
    v4: Vec<(u32, u32)>,
    /// The same for IPv6.
    v6: Vec<(u128, u128)>,
}

impl Networks {
    /// The set of all addresses in these networks.
    pub fn new(list: Vec<IpNet>) -> Self {
        let v4 = list.iter().filter_map(|network| match network {
            IpNet::V4(network) => Some((network.network().to_bits(), network.broadcast().to_bits())),
            IpNet::V6(_) => None,
        });
        let v6 = list.iter().filter_map(|network| match network {
            IpNet::V6(network) => Some((network.network().to_bits(), network.broadcast().to_bits())),
            IpNet::V4(_) => None,
        });
        let (v4, v6) = (apart(v4.collect()), apart(v6.collect()));
        Self { list, v4, v6 }
    }

    /// True if one of them holds the address. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => holds(&self.v4, address.to_bits()),
            IpAddr::V6(address) => holds(&self.v6, address.to_bits()),
        }
    }

    /// True if each of these networks lies within one of those.
    pub fn cover(&self, others: &Self) -> bool {
        others.v4.iter().all(|range| within(&self.v4, range))
            && others.v6.iter().all(|range| within(&self.v6, range))
    }

    /// The networks as they were written.
    pub fn as_slice(&self) -> &[IpNet] {
        &self.list
    }

    /// True if there is none.
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Ascending ranges that do not meet, for ranges in any order.
fn apart<N: Ord + Copy>(mut ranges: Vec<(N, N)>) -> Vec<(N, N)> {
    ranges.sort_unstable();
    let mut apart: Vec<(N, N)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match apart.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => apart.push((first, last)),
        }
    }
    apart
}

/// True if one of the ranges holds all of the other one.
fn within<N: Ord>(ranges: &[(N, N)], (first, last): &(N, N)) -> bool {
    ranges.iter().any(|range| range.0 <= *first && *last <= range.1)
}

/// True if one of the ranges, which are apart, holds the number.
fn holds<N: Ord + Copy>(ranges: &[(N, N)], number: N) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= number);
    after > 0 && number <= ranges[after - 1].1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        Networks::new(texts.iter().map(|text| text.parse().expect("a network")).collect())
    }

    #[test]
    fn deny_wins_over_allow() {
        let access = Access {
            allow: networks(&["10.0.0.0/8", "2001:db8::/32"]),
            deny: networks(&["10.1.0.0/16", "2001:db8:bad::/48"]),
        };
        let served = |text: &str| access.admits(text.parse().expect("an address"));
        for (address, expected) in [
            ("10.0.0.1", true),
            ("10.1.0.1", false),
            ("::ffff:10.0.0.1", true),
            ("::ffff:10.1.0.1", false),
            ("192.0.2.1", false),
            ("2001:db8::1", true),
            ("2001:db8:bad::1", false),
            ("::1", false),
        ] {
            assert_eq!(served(address), expected, "{address}");
        }
    }

    #[test]
    fn without_allow_everybody_is_served_but_the_denied() {
        let access = Access { allow: Networks::default(), deny: networks(&["192.0.2.0/24"]) };
        assert!(access.admits([10, 0, 0, 1].into()));
        assert!(!access.admits([192, 0, 2, 9].into()));
        assert!(Access::default().is_open() && !access.is_open());
    }

    proptest! {
        #[test]
        fn a_set_holds_what_one_of_its_networks_holds(
            networks in prop::collection::vec((any::<u8>(), 0u8..=32, any::<bool>()), 0..20),
            near in any::<u8>(),
        ) {
            // Addresses that share their first bits, so that networks hold each other.
            let v4 = |byte: u8| IpAddr::from([10, byte >> 4, byte, byte]);
            let v6 = |byte: u8| IpAddr::from([0x2001, u16::from(byte), 0, 0, 0, 0, 0, u16::from(byte)]);
            let network = |(byte, length, old): (u8, u8, bool)| {
                let (address, length) = if old { (v4(byte), length) } else { (v6(byte), length * 4) };
                IpNet::new(address, length).expect("a length that fits").trunc()
            };
            let list: Vec<IpNet> = networks.into_iter().map(network).collect();
            let set = Networks::new(list.clone());
            for address in [v4(near), v6(near), IpAddr::from([0, 0, 0, 0]), IpAddr::from([255; 4]), IpAddr::from([0xff; 16])] {
                let held = list.iter().any(|network| network.contains(&address));
                prop_assert_eq!(set.contains(address), held, "{} in {:?}", address, list);
            }
        }
    }
}
