//! ClientHellos in every form they come in, and things that are none.

use proptest::{collection::vec, prelude::*};

use super::*;

/// What stands behind a length of one byte.
fn short(content: &[u8]) -> Vec<u8> {
    [&[u8::try_from(content.len()).unwrap()], content].concat()
}

/// What stands behind a length of two bytes.
fn long(content: &[u8]) -> Vec<u8> {
    [&u16::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), long(content)].concat()
}

fn name(name: &[u8]) -> Vec<u8> {
    extension(0, &long(&[&[0], &long(name)[..]].concat()))
}

fn alpn(protocols: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = protocols.iter().flat_map(|protocol| short(protocol)).collect();
    extension(16, &long(&list))
}

fn versions(versions: &[u16]) -> Vec<u8> {
    let list: Vec<u8> = versions.iter().flat_map(|version| version.to_be_bytes()).collect();
    extension(43, &short(&list))
}

/// The message, with its head.
fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body =
        [&[3, 3][..], &[7; 32], &short(&[9; 32]), &long(&[0x13, 1, 0x13, 2]), &short(&[0])].concat();
    body.extend(long(&extensions.concat()));
    with_head(&body)
}

fn with_head(body: &[u8]) -> Vec<u8> {
    [&[1][..], &u32::try_from(body.len()).unwrap().to_be_bytes()[1..], body].concat()
}

/// The message in records of at most so many bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &long(part)].concat()).collect()
}

fn usual() -> Vec<u8> {
    message(&[
        extension(0x0a0a, b""),
        name(b"Shop.Example.COM"),
        // A share for a post-quantum key: larger than one segment.
        extension(51, &[5; 1300]),
        alpn(&[b"h2", b"http/1.1"]),
        versions(&[0x3a3a, 0x0304, 0x0303]),
        extension(35, b""),
    ])
}

fn read(received: &[u8]) -> Progress {
    Reader::default().read(received)
}

fn whole(received: &[u8]) -> Hello {
    match read(received) {
        Progress::Whole(hello) => hello,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_client_asks_for() {
    let hello = whole(&records(&usual(), 16384));
    assert_eq!(hello.server_name.as_deref(), Some("shop.example.com"));
    assert_eq!(hello.alpn().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
    assert_eq!((hello.newest, hello.resumes, hello.encrypted), (0x0304, false, false));
    assert_eq!(hello.to_string(), "for `shop.example.com`, TLS 1.3, ALPN h2 http/1.1");
    let hello = whole(&records(&message(&[extension(35, b"ticket"), extension(0xfe0d, b"outer")]), 99));
    assert_eq!(hello.to_string(), "without a name, TLS 1.2, resuming, with an encrypted hello inside");
    assert!(whole(&records(&message(&[versions(&[0x0304]), extension(41, b"psk")]), 99)).resumes);
    // One of the last century has no extensions, not even an empty list of them.
    let bare = with_head(&[&[3, 1][..], &[7; 32], &[0], &long(&[0, 47]), &short(&[0])].concat());
    let hello = whole(&records(&bare, 4));
    assert_eq!((hello.server_name.as_deref(), hello.alpn().count(), hello.newest), (None, 0, 0x0301));
}

#[test]
fn names_are_those_of_hosts() {
    let of = |sent: &[u8]| read(&records(&message(&[name(sent)]), 16384));
    let named = |expected: Option<&str>| {
        Progress::Whole(Hello { server_name: expected.map(Into::into), newest: 0x0303, ..Hello::default() })
    };
    for (sent, expected) in [
        ("a.example", Some("a.example")),
        ("a.example.", Some("a.example")),
        ("_x-1.EXAMPLE", Some("_x-1.example")),
        ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
        ("localhost", Some("localhost")),
        ("192.0.2.1", None),
        ("192.0.2.1.", None),
        ("2001:db8::1", None),
        ("::1", None),
    ] {
        assert_eq!(of(sent.as_bytes()), named(expected), "{sent}");
    }
    let long_label = "a".repeat(64);
    let long_name = "a.".repeat(127) + "example";
    for sent in [
        "",
        ".",
        "a..b",
        ".a",
        "a b",
        "a\0b",
        "a/b",
        "*.example",
        "-a.example",
        "a-.example",
        "bücher.example",
        "[::1]",
        "a.example:443",
        &long_label,
        &long_name,
    ] {
        assert_eq!(of(sent.as_bytes()), Progress::Bad(Bad::Name), "{sent:?}");
    }
    assert_eq!(of(b"\xff.example"), Progress::Bad(Bad::Name));
    // Another kind of name means nothing; two of the same kind cannot both be meant.
    let list = |names: &[(u8, &[u8])]| {
        let list: Vec<u8> =
            names.iter().flat_map(|(kind, name)| [&[*kind][..], &long(name)].concat()).collect();
        read(&records(&message(&[extension(0, &long(&list))]), 16384))
    };
    assert_eq!(list(&[(9, b"?"), (0, b"a.example")]), named(Some("a.example")));
    assert_eq!(list(&[(9, b"?")]), named(None));
    assert_eq!(list(&[(0, b"a.example"), (0, b"b.example")]), Progress::Bad(Bad::Repeated));
    assert_eq!(list(&[]), Progress::Bad(Bad::Malformed));
}

#[test]
fn every_split_says_the_same() {
    let message = usual();
    let expected = whole(&records(&message, 16384));
    for size in [1, 2, 3, 4, 5, 64, 1000, 16384] {
        let wire = records(&message, size);
        let mut reader = Reader::default();
        for end in 0..wire.len() {
            assert_eq!(reader.read(&wire[..end]), Progress::NeedMore, "{end} of {} in {size}", wire.len());
            if size > 100 {
                assert_eq!(read(&wire[..end]), Progress::NeedMore, "at once");
            }
        }
        assert_eq!(reader.read(&wire), Progress::Whole(expected.clone()));
        // What comes behind it, such as early data, is none of its business.
        assert_eq!(read(&[&wire[..], b"\x17\x03\x03\0\x01x"].concat()), Progress::Whole(expected.clone()));
    }
}

#[test]
fn what_is_not_tls_is_known_at_its_first_bytes() {
    for wire in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"G",
        b"\0",
        b"PROXY TCP4",
        b"SSH-2.0-x",
        b"\x16\x02",
        b"\x80\x2e\x01\x03\x01",
    ] {
        assert_eq!(read(wire), Progress::NotTls, "{}", wire.escape_ascii());
    }
    for wire in [&b""[..], b"\x16", b"\x16\x03", b"\x16\x03\x01\0", b"\x15"] {
        assert_eq!(read(wire), Progress::NeedMore, "{}", wire.escape_ascii());
    }
    for (wire, bad) in [
        (&b"\x15\x03\x01\0\x02"[..], Bad::OtherMessage),
        (b"\x17\x03\x03", Bad::OtherMessage),
        (b"\x16\x03\x01\0\0", Bad::RecordLength),
        (b"\x16\x03\x01\x40\x01", Bad::RecordLength),
        // A ServerHello; known from its first byte.
        (b"\x16\x03\x01\0\x40\x02", Bad::OtherMessage),
        // A length of 16 MiB; known from its head.
        (b"\x16\x03\x01\x40\0\x01\xff\xff\xff", Bad::TooLarge),
        // The second record is another one.
        (b"\x16\x03\x01\0\x01\x01\x15\x03", Bad::OtherMessage),
        (b"\x16\x03\x01\0\x01\x01\x16\x02", Bad::Malformed),
    ] {
        assert_eq!(read(wire), Progress::Bad(bad), "{}", wire.escape_ascii());
    }
}

#[test]
fn lengths_have_to_fit() {
    let one = |extension: Vec<u8>| read(&records(&message(&[extension]), 16384));
    for (nth, wrong) in [
        extension(0, b""),
        extension(0, b"\0\x05\0\0\x02a"),
        extension(0, &[long(&[&[0][..], &long(b"a")].concat()), vec![0]].concat()),
        extension(16, b""),
        extension(16, b"\0\0"),
        extension(16, b"\0\x01\0"),
        extension(16, b"\0\x02\x02h"),
        extension(43, b"\x01\x03"),
        extension(43, b"\x02\x03"),
        vec![0],
        vec![0, 1, 0, 9, 1],
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(one(wrong), Progress::Bad(Bad::Malformed), "{nth}");
    }
    for body in [
        &b""[..],
        &[3; 34],
        &[&[3, 3][..], &[7; 32], &[33], &[0; 33], &long(&[0, 47]), &short(&[0])].concat(),
        &[&[3, 3][..], &[7; 32], &[0], &long(&[]), &short(&[0])].concat(),
        &[&[3, 3][..], &[7; 32], &[0], &long(&[0, 47, 0]), &short(&[0])].concat(),
        &[&[3, 3][..], &[7; 32], &[0], &long(&[0, 47]), &[0]].concat(),
        &[&[3, 3][..], &[7; 32], &[0], &long(&[0, 47]), &short(&[0]), &[0, 0, 0]].concat(),
    ] {
        assert_eq!(read(&records(&with_head(body), 16384)), Progress::Bad(Bad::Malformed), "{body:?}");
    }
    for kind in [0, 16, 35, 41, 43, 0xfe0d] {
        let content = match kind {
            0 => name(b"a"),
            16 => alpn(&[b"x"]),
            43 => versions(&[0x0304]),
            other => extension(other, b"x"),
        };
        let twice = records(&message(&[content.clone(), extension(7, b""), content]), 16384);
        assert_eq!(read(&twice), Progress::Bad(Bad::Repeated), "{kind}");
    }
    // Something behind it in its own record.
    let trailed = records(&[&usual()[..], &[1]].concat(), 16384);
    assert_eq!(read(&trailed), Progress::Bad(Bad::Malformed));
}

#[test]
fn the_largest_is_64_kib() {
    let padded = |padding: usize| {
        let parts: Vec<_> = vec![0; padding].chunks(60_000).map(|part| extension(21, part)).collect();
        message(&parts)
    };
    assert_eq!(whole(&records(&padded(60_000), 16384)).server_name, None);
    assert_eq!(read(&records(&padded(65_500), 16384)), Progress::Bad(Bad::TooLarge));
    // Records of one byte each are six bytes long.
    let crumbs = records(&padded(12_000), 1);
    assert!(crumbs.len() > LARGEST);
    assert_eq!(read(&crumbs[..LARGEST - 1]), Progress::NeedMore);
    assert_eq!(read(&crumbs[..LARGEST]), Progress::Bad(Bad::TooLarge));
}

#[test]
fn alerts_say_what_was_wrong() {
    assert_eq!(Alert::UNRECOGNIZED_NAME.record(), [21, 3, 3, 0, 2, 2, 112]);
    let alerts = [
        (Bad::OtherMessage, 10),
        (Bad::RecordLength, 22),
        (Bad::TooLarge, 47),
        (Bad::Malformed, 50),
        (Bad::Repeated, 47),
        (Bad::Name, 47),
    ];
    for (bad, number) in alerts {
        assert_eq!(bad.alert().record()[6], number);
        assert!(!bad.sentence().is_empty());
    }
}

proptest! {
    /// Whatever comes, in whatever pieces: no panic, and the same answer as at once. What was refused stays refused.
    #[test]
    fn changed_bytes_are_judged_the_same_in_pieces(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        size in prop_oneof![Just(16384usize), 1usize..600],
        steps in vec(1usize..400, 1..30),
    ) {
        let mut wire = records(&usual(), size);
        for (place, byte) in changes {
            let place = place.index(wire.len());
            wire[place] = byte;
        }
        let at_once = read(&wire);
        let (mut reader, mut end, mut steps) = (Reader::default(), 0, steps.into_iter().cycle());
        let in_pieces = loop {
            match reader.read(&wire[..end]) {
                Progress::NeedMore if end < wire.len() => end = (end + steps.next().unwrap()).min(wire.len()),
                other => break other,
            }
        };
        prop_assert_eq!(in_pieces, at_once);
    }

    #[test]
    fn anything_may_come(wire in vec(any::<u8>(), 0..300), begins in any::<bool>()) {
        let wire = if begins { [&[22, 3, 1, 1, 0, 1, 0, 0, 250][..], &wire].concat() } else { wire };
        let _ = read(&wire);
    }
}
