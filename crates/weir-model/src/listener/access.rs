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

/// A set of networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<IpNet>);

impl Networks {
    /// True if one of them holds the address. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// True if there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        Networks(texts.iter().map(|text| text.parse().expect("a network")).collect())
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
}
