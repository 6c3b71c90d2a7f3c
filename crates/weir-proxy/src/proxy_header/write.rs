//! PROXY headers as they are sent to backends.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
};

use weir_model::pool::{ProxyTlv, ProxyVersion, SendProxy};

use super::{SIGNATURE, kind};

/// The longest value of each kind; longer ones are left out. A host name has 253 bytes, an identity 128 (section 2.2.5).
const LONGEST: usize = 255;

/// What a header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told<'a> {
    /// Where the client is, and where it came to; none if either end has no address, as with a unix socket.
    pub(crate) ends: Option<(SocketAddr, SocketAddr)>,
    /// The protocol that was agreed on.
    pub(crate) alpn: Option<&'a [u8]>,
    /// The host name that was asked for.
    pub(crate) authority: Option<&'a [u8]>,
    /// What the connection is called.
    pub(crate) unique_id: Option<&'a [u8]>,
}

/// Writes the header of a connection that is made for a client.
pub(crate) fn write(sent: &SendProxy, told: &Told<'_>, out: &mut Vec<u8>) {
    match sent.version {
        ProxyVersion::V1 => write_line(told, out),
        ProxyVersion::V2 => write_binary(sent, told, out),
    }
}

/// Writes the header of a connection that weir makes for itself: it has no client.
pub(crate) fn own(sent: &SendProxy, out: &mut Vec<u8>) {
    match sent.version {
        ProxyVersion::V1 => out.extend_from_slice(b"PROXY UNKNOWN\r\n"),
        ProxyVersion::V2 => {
            // LOCAL, of no family (section 2.2).
            let start = begin(0x20, 0x00, out);
            finish(sent, start, out);
        }
    }
}

/// Version 1 (section 2.1).
fn write_line(told: &Told<'_>, out: &mut Vec<u8>) {
    let Some((source, destination)) = told.ends.map(alike) else {
        return out.extend_from_slice(b"PROXY UNKNOWN\r\n");
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    // Writing to a vector cannot fail.
    let _ = write!(out, "PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port());
}

/// Version 2 (section 2.2).
fn write_binary(sent: &SendProxy, told: &Told<'_>, out: &mut Vec<u8>) {
    let start = match told.ends.map(alike) {
        None => begin(0x21, 0x00, out),
        Some((source, destination)) => {
            let start = begin(0x21, if source.is_ipv4() { 0x11 } else { 0x21 }, out);
            for end in [source, destination] {
                match end.ip() {
                    IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
                    IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
                }
            }
            out.extend_from_slice(&source.port().to_be_bytes());
            out.extend_from_slice(&destination.port().to_be_bytes());
            start
        }
    };
    for (tlv, kind, value) in [
        (ProxyTlv::Alpn, kind::ALPN, told.alpn),
        (ProxyTlv::Authority, kind::AUTHORITY, told.authority),
        (ProxyTlv::UniqueId, kind::UNIQUE_ID, told.unique_id),
    ] {
        let value = value.filter(|value| (1..=LONGEST).contains(&value.len()) && sent.tells(tlv));
        if let Some(value) = value {
            put(kind, value, out);
        }
    }
    finish(sent, start, out);
}

/// Writes what stands before the addresses; returns where the header begins.
fn begin(command: u8, family: u8, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&SIGNATURE);
    out.extend_from_slice(&[command, family, 0, 0]);
    start
}

/// Writes the checksum if it is wanted, and the length, which is part of what is summed up.
fn finish(sent: &SendProxy, start: usize, out: &mut Vec<u8>) {
    let summed = sent.tells(ProxyTlv::Crc32c);
    if summed {
        put(kind::CRC32C, &[0; 4], out);
    }
    let length = out.len() - start - SIGNATURE.len() - 4;
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let at = start + SIGNATURE.len() + 2;
    (out[at], out[at + 1]) = (high, low);
    if summed {
        let sum = crc32c::crc32c(&out[start..]).to_be_bytes();
        let at = out.len() - sum.len();
        out[at..].copy_from_slice(&sum);
    }
}

fn put(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    let [high, low] = u16::try_from(value.len()).unwrap_or(0).to_be_bytes();
    out.extend_from_slice(&[kind, high, low]);
    out.extend_from_slice(value);
}

/// Both ends in one family: an IPv4 address beside an IPv6 one is written as the latter (RFC 4291 section 2.5.5.2).
fn alike((source, destination): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    let bare = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let (source, destination) = (bare(source), bare(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let wide = |end: SocketAddr| match end.ip() {
        IpAddr::V4(address) => SocketAddr::new(address.to_ipv6_mapped().into(), end.port()),
        IpAddr::V6(_) => end,
    };
    (wide(source), wide(destination))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Header, Progress, read},
        *,
    };

    fn sent(version: ProxyVersion, tlvs: &[ProxyTlv]) -> SendProxy {
        SendProxy { version, tlvs: tlvs.to_vec() }
    }

    fn told<'a>(source: &str, destination: &str) -> Told<'a> {
        Told { ends: Some((source.parse().unwrap(), destination.parse().unwrap())), ..Told::default() }
    }

    fn written(sent: &SendProxy, told: &Told<'_>) -> Vec<u8> {
        let mut out = b"before".to_vec();
        write(sent, told, &mut out);
        out.split_off(6)
    }

    #[test]
    fn version_1_is_a_line() {
        let line = |told| String::from_utf8(written(&sent(ProxyVersion::V1, &[]), &told)).unwrap();
        assert_eq!(
            line(told("192.0.2.7:5555", "198.51.100.1:443")),
            "PROXY TCP4 192.0.2.7 198.51.100.1 5555 443\r\n"
        );
        assert_eq!(
            line(told("[2001:db8::7]:5555", "[2001:db8::1]:443")),
            "PROXY TCP6 2001:db8::7 2001:db8::1 5555 443\r\n"
        );
        assert_eq!(
            line(told("[::ffff:192.0.2.7]:5555", "198.51.100.1:443")),
            "PROXY TCP4 192.0.2.7 198.51.100.1 5555 443\r\n"
        );
        assert_eq!(
            line(told("192.0.2.7:5555", "[2001:db8::1]:443")),
            "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 5555 443\r\n"
        );
        assert_eq!(line(Told::default()), "PROXY UNKNOWN\r\n");
        let longest = line(told(
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        ));
        // Section 2.1: what a receiver has room for.
        assert!(longest.len() <= 107, "{longest}");
    }

    #[test]
    fn version_2_is_binary() {
        let v2 = sent(ProxyVersion::V2, &[]);
        let bytes = written(&v2, &told("192.0.2.7:5555", "198.51.100.1:443"));
        let mut expected = SIGNATURE.to_vec();
        expected.extend_from_slice(b"\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x15\xb3\x01\xbb");
        assert_eq!(bytes, expected);
        let wide = written(&v2, &told("[2001:db8::7]:1", "[2001:db8::1]:2"));
        assert_eq!((wide[13], wide[14], wide[15], wide.len()), (0x21, 0, 36, 52));
        assert_eq!(written(&v2, &Told::default())[12..], [0x21, 0, 0, 0]);
        let mut local = Vec::new();
        own(&v2, &mut local);
        assert_eq!(local[12..], [0x20, 0, 0, 0]);
        local.clear();
        own(&sent(ProxyVersion::V1, &[]), &mut local);
        assert_eq!(local, b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn facts_are_written_if_they_are_wanted_and_known() {
        let facts = Told {
            alpn: Some(b"http/1.1"),
            authority: Some(b"a.test"),
            unique_id: Some(b"0123"),
            ..told("192.0.2.7:1", "198.51.100.1:2")
        };
        let all = written(
            &sent(ProxyVersion::V2, &[ProxyTlv::UniqueId, ProxyTlv::Authority, ProxyTlv::Alpn]),
            &facts,
        );
        assert_eq!(&all[28..], b"\x01\x00\x08http/1.1\x02\x00\x06a.test\x05\x00\x040123");
        assert_eq!(usize::from(all[15]), all.len() - 16);
        let one = written(&sent(ProxyVersion::V2, &[ProxyTlv::Authority]), &facts);
        assert_eq!(&one[28..], b"\x02\x00\x06a.test");
        let unknown =
            written(&sent(ProxyVersion::V2, &[ProxyTlv::Authority]), &told("192.0.2.7:1", "198.51.100.1:2"));
        assert_eq!(unknown.len(), 28);
        let long = [b'a'; 300];
        let long = Told { authority: Some(&long), ..facts };
        assert_eq!(written(&sent(ProxyVersion::V2, &[ProxyTlv::Authority]), &long).len(), 28);
    }

    #[test]
    fn the_checksum_is_that_of_the_whole_header_without_itself() {
        let facts = Told { authority: Some(b"a.test"), ..told("192.0.2.7:1", "198.51.100.1:2") };
        let mut bytes = written(&sent(ProxyVersion::V2, &[ProxyTlv::Authority, ProxyTlv::Crc32c]), &facts);
        let at = bytes.len() - 4;
        assert_eq!(&bytes[at - 3..at], b"\x03\x00\x04");
        let said = bytes.split_off(at);
        bytes.extend_from_slice(&[0; 4]);
        assert_eq!(said, plain_crc32c(&bytes).to_be_bytes());
        assert_eq!(plain_crc32c(b"123456789"), 0xe306_9283);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_can_be_read_again(
            v4: bool,
            (source, destination) in proptest::prelude::any::<([u8; 16], [u8; 16])>(),
            (from, to) in proptest::prelude::any::<(u16, u16)>(),
            binary: bool,
            tlvs in proptest::sample::subsequence(ProxyTlv::ALL.to_vec(), 0..=4),
            alpn in "[a-z0-9/.]{1,20}",
            authority in "[a-z0-9.-]{1,200}",
            unique_id in "[0-9a-f-]{1,128}",
        ) {
            let ip = |octets: [u8; 16]| match v4 {
                true => IpAddr::from([octets[0], octets[1], octets[2], octets[3]]),
                // Not one that is IPv4 in disguise.
                false => IpAddr::from([0x20, octets[1], octets[2], octets[3], octets[4], octets[5], 0, 1, 2, 3, 4, 5, 6, 7, 8, octets[15]]),
            };
            let ends = (SocketAddr::new(ip(source), from), SocketAddr::new(ip(destination), to));
            let version = if binary { ProxyVersion::V2 } else { ProxyVersion::V1 };
            let sent = sent(version, if binary { &tlvs } else { &[] });
            let told = Told {
                ends: Some(ends),
                alpn: Some(alpn.as_bytes()),
                authority: Some(authority.as_bytes()),
                unique_id: Some(unique_id.as_bytes()),
            };
            let bytes = written(&sent, &told);
            let Progress::Whole(header, length) = read(&bytes) else {
                panic!("{:?} of {}", read(&bytes), bytes.escape_ascii());
            };
            let known = |tlv, value: &str| sent.tells(tlv).then(|| Box::from(value.as_bytes()));
            assert_eq!((header.ends, length), (Some(ends), bytes.len()));
            assert_eq!(header.passed.alpn, known(ProxyTlv::Alpn, &alpn));
            assert_eq!(header.passed.authority, known(ProxyTlv::Authority, &authority));
            assert_eq!(header.passed.unique_id, known(ProxyTlv::UniqueId, &unique_id));
            for end in 1..bytes.len() {
                assert_eq!(read(&bytes[..end]), Progress::NeedMore);
            }
        }
    }

    #[test]
    fn weirs_own_connections_are_read_as_nobodys() {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let mut bytes = Vec::new();
            own(&sent(version, &[ProxyTlv::Crc32c][..usize::from(version == ProxyVersion::V2)]), &mut bytes);
            assert_eq!(read(&bytes), Progress::Whole(Header::default(), bytes.len()));
        }
    }

    /// Bit by bit, as RFC 3720 appendix B.4 defines it.
    fn plain_crc32c(bytes: &[u8]) -> u32 {
        let mut sum = u32::MAX;
        for byte in bytes {
            sum ^= u32::from(*byte);
            for _ in 0..8 {
                sum = (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg());
            }
        }
        !sum
    }
}
