//! Headers of both versions, and what is none or a bad one.

use proptest::{collection::vec, prelude::*};

use super::*;

fn ends(source: &str, destination: &str) -> Option<(SocketAddr, SocketAddr)> {
    Some((source.parse().unwrap(), destination.parse().unwrap()))
}

fn whole(bytes: &[u8]) -> Header {
    match read(bytes) {
        Progress::Whole(header, length) => {
            assert_eq!(length, bytes.len());
            header
        }
        other => panic!("{other:?} of {}", bytes.escape_ascii()),
    }
}

fn fact(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, block].concat()
}

/// 192.0.2.7:42 to 198.51.100.1:1337.
const V4: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0, 42, 5, 57];

fn with_facts(facts: &[Vec<u8>]) -> Vec<u8> {
    binary(0x21, 0x11, &[V4, &facts.concat()].concat())
}

/// With a checksum at the end, made bit by bit as RFC 3720 appendix B.4 defines it.
fn summed(facts: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = with_facts(&[facts, &[fact(3, &[0; 4])]].concat());
    let mut sum = u32::MAX;
    for byte in &bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg());
        }
    }
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&(!sum).to_be_bytes());
    bytes
}

#[test]
fn lines_of_version_1() {
    let of = |line: &str| whole(line.as_bytes()).ends;
    assert_eq!(
        of("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"),
        ends("192.168.0.1:56324", "192.168.0.11:443")
    );
    assert_eq!(
        of("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
        ends("255.255.255.255:65535", "255.255.255.255:65535")
    );
    assert_eq!(of("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"), ends("0.0.0.0:0", "0.0.0.0:0"));
    assert_eq!(
        of("PROXY TCP6 2001:DB8::7 2001:db8:0:0:0:0:0:1 5555 443\r\n"),
        ends("[2001:db8::7]:5555", "[2001:db8::1]:443")
    );
    let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    assert!(of(&format!("PROXY TCP6 {full} {full} 65535 65535\r\n")).is_some());
    // An address of IPv4 in the clothes of IPv6 is one of IPv4 to rules.
    assert_eq!(of("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n"), ends("192.0.2.7:1", "[::1]:2"));
    for unknown in ["", " ", " ffff:f 1 2 3 anything \0\t\u{ff}", &format!(" {full} {full} 65535 65535")] {
        assert_eq!(of(&format!("PROXY UNKNOWN{unknown}\r\n")), None, "{unknown}");
    }
    // What follows is none of its business.
    let line = b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n";
    let more = [&line[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
    assert!(matches!(read(&more), Progress::Whole(_, length) if length == line.len()));
}

#[test]
fn lines_that_are_none() {
    for line in [
        "PROXY TCP4 ::1 ::1 1 2",
        "PROXY TCP6 127.0.0.1 127.0.0.1 1 2",
        "PROXY TCP6 ::1 127.0.0.1 1 2",
        "PROXY TCP4 1.1.1.1 2.2.2.2 65536 2",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536",
        "PROXY TCP4 1.1.1.1 2.2.2.2 -1 2",
        "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2",
        "PROXY TCP4 1.1.1.1 2.2.2.2 01 2",
        "PROXY TCP4 1.1.1.1 2.2.2.2 00 2",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 ",
        "PROXY TCP4  1.1.1.1 2.2.2.2 1 2",
        "PROXY TCP4\t1.1.1.1 2.2.2.2 1 2",
        "PROXY TCP4 01.1.1.1 2.2.2.2 1 2",
        "PROXY TCP4 1.1.1 2.2.2.2 1 2",
        "PROXY TCP4 1.1.1.1.1 2.2.2.2 1 2",
        "PROXY TCP4 256.1.1.1 2.2.2.2 1 2",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2",
        "PROXY TCP6 1::2::3 ::1 1 2",
        "PROXY TCP6 12345::1 ::1 1 2",
        "PROXY tcp4 1.1.1.1 2.2.2.2 1 2",
        "PROXY TCP5 1.1.1.1 2.2.2.2 1 2",
        "PROXY UDP4 1.1.1.1 2.2.2.2 1 2",
        "PROXY UNKNOWNX",
        "PROXY ",
        "PROXY \u{e9}",
    ] {
        assert_eq!(read(format!("{line}\r\n").as_bytes()), Progress::Bad(Bad::Line), "{line}");
    }
    for line in [
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\rX",
        "PROXY TCP4 1.1.1.1\r2.2.2.2 1 2\r\n",
        "PROXY UNKNOWN a\nb\r\n",
        &format!("PROXY UNKNOWN {}\r\n", "x".repeat(92)),
        &format!("PROXY UNKNOWN {}", "x".repeat(93)),
        &format!("PROXY UNKNOWN {}\r", "x".repeat(92)),
    ] {
        assert_eq!(read(line.as_bytes()), Progress::Bad(Bad::LineEnd), "{line:?}");
    }
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!((longest.len(), whole(longest.as_bytes()).ends), (107, None));
}

#[test]
fn headers_of_version_2() {
    assert_eq!(whole(&binary(0x21, 0x11, V4)).ends, ends("192.0.2.7:42", "198.51.100.1:1337"));
    let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 10], &[255, 255, 1, 2, 3, 4], &[0, 1, 1, 187]]
        .concat();
    assert_eq!(whole(&binary(0x21, 0x21, &v6)).ends, ends("[2001:db8::7]:1", "1.2.3.4:443"));
    // Those of the connection itself count.
    for (command, family, block) in [
        (0x20, 0x00, vec![]),
        (0x20, 0x11, V4.to_vec()),
        (0x20, 0x11, vec![1, 2, 3]),
        (0x20, 0xff, b"whatever".to_vec()),
        (0x21, 0x00, vec![]),
        (0x21, 0x00, b"whatever".to_vec()),
        (0x21, 0x12, V4.to_vec()),
        (0x21, 0x22, v6),
        (0x21, 0x31, vec![b'/'; 216]),
        (0x21, 0x32, vec![0; 216]),
        (0x21, 0x10, V4.to_vec()),
        (0x21, 0x01, vec![1]),
        (0x21, 0x30, vec![]),
    ] {
        assert_eq!(whole(&binary(command, family, &block)).ends, None, "{command:x} {family:x}");
    }
    // A sender that does not know where a client is may know other things.
    let told = whole(&binary(0x21, 0x00, &fact(2, b"a.example")));
    assert_eq!(told.passed.authority.as_deref(), Some(&b"a.example"[..]));
    assert!(whole(&binary(0x20, 0x00, &fact(2, b"a.example"))).passed.is_empty());
}

#[test]
fn headers_of_version_2_that_are_refused() {
    for (bytes, bad) in [
        (binary(0x11, 0x11, V4), Bad::Command),
        (binary(0x31, 0x11, V4), Bad::Command),
        (binary(0x22, 0x11, V4), Bad::Command),
        (binary(0x2f, 0x11, V4), Bad::Command),
        (binary(0x21, 0x41, V4), Bad::Family),
        (binary(0x21, 0x13, V4), Bad::Family),
        (binary(0x21, 0xff, V4), Bad::Family),
        (binary(0x21, 0x11, &V4[..11]), Bad::TooShort),
        (binary(0x21, 0x11, &[]), Bad::TooShort),
        (binary(0x21, 0x21, &[0; 35]), Bad::TooShort),
        (binary(0x21, 0x31, &[0; 215]), Bad::TooShort),
    ] {
        assert_eq!(read(&bytes), Progress::Bad(bad), "{}", bytes.escape_ascii());
    }
    // Known as soon as it is said.
    let mut large = binary(0x21, 0x11, &[]);
    large[14..].copy_from_slice(&(16 * 1024 - 15u16).to_be_bytes());
    assert_eq!(read(&large), Progress::Bad(Bad::TooLarge));
    large[14..].copy_from_slice(&(16 * 1024 - 16u16).to_be_bytes());
    assert_eq!(read(&large), Progress::NeedMore);
    assert_eq!(read(&binary(0x33, 0, &[])[..13]), Progress::Bad(Bad::Command));
    assert_eq!(read(&binary(0x21, 0x50, &[])[..14]), Progress::Bad(Bad::Family));
}

#[test]
fn facts_beyond_addresses() {
    let inner = [fact(0x21, b"TLSv1.3"), fact(0x22, b"example.com")].concat();
    let ssl = |client: u8| fact(0x20, &[&[client, 0, 0, 0, 0][..], &inner].concat());
    let all = [
        fact(1, b"h2"),
        fact(2, b"12345"),
        fact(4, &[0; 9]),
        fact(5, &[7; 128]),
        ssl(5),
        fact(0x30, b"ns"),
        fact(0xe0, b"x"),
    ];
    let passed = whole(&with_facts(&all)).passed;
    assert_eq!(passed.alpn.as_deref(), Some(&b"h2"[..]));
    assert_eq!(passed.authority.as_deref(), Some(&b"12345"[..]));
    assert_eq!(passed.unique_id.as_deref(), Some(&[7; 128][..]));
    assert!(passed.secure && !whole(&with_facts(&[ssl(4)])).passed.secure);
    assert_eq!(whole(&summed(&all)).passed, passed);
    // What HAProxy's own tests refuse: a fact that reaches beyond the header, and one that does not fill it.
    let v4 = |rest: &[u8]| read(&binary(0x21, 0x11, &[V4, rest].concat()));
    for wrong in [
        &b"\x02\0\x0a12345"[..],
        b"\x02\0\x041234\0",
        b"\x02\0\x041234\0\0",
        b"\x02",
        b"\x03\0\x03abc",
        b"\x03\0\x05abcde",
        b"\x20\0\x04\x01\0\0\0",
        b"\x20\0\x08\x01\0\0\0\0\x21\0\x01",
        b"\x20\0\x06\x01\0\0\0\0\x21",
    ] {
        assert_eq!(v4(wrong), Progress::Bad(Bad::Fact), "{}", wrong.escape_ascii());
    }
    for (kind, longest) in [(1, 255), (2, 255), (5, 128)] {
        assert!(!whole(&with_facts(&[fact(kind, &vec![b'a'; longest])])).passed.is_empty());
        assert_eq!(
            read(&with_facts(&[fact(kind, &vec![b'a'; longest + 1])])),
            Progress::Bad(Bad::Fact),
            "{kind}"
        );
        let twice = [fact(kind, b"a"), fact(4, b""), fact(kind, b"a")];
        assert_eq!(read(&with_facts(&twice)), Progress::Bad(Bad::Repeated), "{kind}");
    }
    assert_eq!(read(&with_facts(&[ssl(1), ssl(1)])), Progress::Bad(Bad::Repeated));
}

#[test]
fn a_wrong_checksum_is_refused_wherever_the_change_is() {
    let right = summed(&[fact(2, b"a.example")]);
    whole(&right);
    for place in (16..28).chain(31..right.len()) {
        let mut wrong = right.clone();
        wrong[place] ^= 1;
        let refused = read(&wrong);
        assert!(
            matches!(refused, Progress::Bad(Bad::Checksum | Bad::Fact | Bad::Repeated)),
            "{place}: {refused:?}"
        );
    }
    let mut local = binary(0x21, 0x00, &fact(3, &[1, 2, 3, 4]));
    assert_eq!(read(&local), Progress::Bad(Bad::Checksum));
    local[12] = 0x20;
    assert_eq!(read(&local), Progress::Bad(Bad::Checksum));
}

#[test]
fn byte_by_byte_nothing_is_said_too_early() {
    let headers = [
        b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        summed(&[fact(2, b"a.example"), fact(5, b"id")]),
        binary(0x20, 0, &[]),
    ];
    for header in headers {
        for end in 0..header.len() {
            assert_eq!(read(&header[..end]), Progress::NeedMore, "{end} of {}", header.escape_ascii());
        }
        whole(&header);
    }
    for other in [
        "GET / HTTP/1.1",
        "POST",
        "PR ",
        "PROXYX",
        "PRI * HTTP/2.0",
        "\r\n\r\nG",
        "\r\n\r\n\0\r\nQUIX",
        "\x16\x03",
        "\n",
    ] {
        assert_eq!(read(other.as_bytes()), Progress::Absent, "{other:?}");
    }
}

proptest! {
    /// Changed bytes never panic, and pieces are judged as the whole is.
    #[test]
    fn pieces_are_judged_as_the_whole(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        text in any::<bool>(),
    ) {
        let mut bytes = match text {
            true => b"PROXY TCP6 2001:db8::7 2001:db8::1 5555 443\r\n".to_vec(),
            false => summed(&[fact(1, b"h2"), fact(2, b"a.example"), fact(0x20, &[1, 0, 0, 0, 0])]),
        };
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let at_once = read(&bytes);
        let in_pieces = (0..=bytes.len()).map(|end| read(&bytes[..end])).find(|progress| *progress != Progress::NeedMore);
        prop_assert_eq!(in_pieces.unwrap_or(Progress::NeedMore), at_once);
    }

    #[test]
    fn anything_may_come(bytes in vec(any::<u8>(), 0..200), begins in 0..3) {
        let start: &[u8] = match begins {
            0 => b"PROXY ",
            1 => b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0",
            _ => b"",
        };
        let _ = read(&[start, &bytes].concat());
    }
}
