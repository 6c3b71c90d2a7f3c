//! What keys are made of, and what becomes of a request that has none.

use std::net::IpAddr;

use super::*;
use crate::route::RequestFacts;

struct Request<'a> {
    target: &'a str,
    headers: &'a [(&'a str, &'a str)],
    source: &'a str,
}

impl RequestFacts for Request<'_> {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn host(&self) -> &[u8] {
        b"example.com"
    }

    fn path(&self) -> &[u8] {
        self.target.split('?').next().unwrap().as_bytes()
    }

    fn query(&self) -> Option<&[u8]> {
        self.target.split_once('?').map(|(_, query)| query.as_bytes())
    }

    fn any_header(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.headers.iter().any(|(own, value)| own.eq_ignore_ascii_case(name) && each(value.as_bytes()))
    }

    fn source(&self) -> IpAddr {
        self.source.parse().unwrap()
    }
}

fn flow(source: &str, destination: &str) -> Flow {
    Flow { source: source.parse().unwrap(), destination: Some(destination.parse().unwrap()) }
}

fn hash(key: &Key, target: &str, headers: &[(&str, &str)], source: &str) -> KeyHash {
    let request = Request { target, headers, source };
    key.of_request(&request, || flow(&format!("{source}:1000"), "10.0.0.1:80"))
}

#[test]
fn the_same_value_has_the_same_hash_and_another_one_another() {
    let key = Key::Header("X-User".into());
    let ann = hash(&key, "/", &[("x-user", "ann")], "192.0.2.1");
    assert!(ann.found);
    assert_eq!(ann, hash(&key, "/other", &[("A", "b"), ("X-USER", "ann"), ("X-User", "bob")], "192.0.2.2"));
    assert_ne!(ann, hash(&key, "/", &[("x-user", "bob")], "192.0.2.1"));

    let key = Key::Cookie("uid".into());
    let seven = hash(&key, "/", &[("Cookie", "a=b; uid=7")], "192.0.2.1");
    assert!(seven.found);
    assert_eq!(seven, hash(&key, "/", &[("cookie", "x=y"), ("cookie", "uid=\"7\"; a=b")], "192.0.2.2"));
    assert_ne!(seven, hash(&key, "/", &[("Cookie", "uid=8")], "192.0.2.1"));

    let key = Key::Query("id".into());
    let id = hash(&key, "/?id=a%20b", &[], "192.0.2.1");
    assert!(id.found);
    assert_eq!(id, hash(&key, "/x?y&id=a+b&id=c", &[], "192.0.2.2"));
    let long = "%41".repeat(300);
    assert_eq!(
        hash(&key, &format!("/?id={long}"), &[], "192.0.2.1"),
        hash(&key, &format!("/?id={}", "A".repeat(300)), &[], "192.0.2.1")
    );

    let path = hash(&Key::Path, "/a?b", &[], "192.0.2.1");
    assert_eq!(path, hash(&Key::Path, "/a?c", &[], "192.0.2.2"));
    assert_ne!(path, hash(&Key::Path, "/b", &[], "192.0.2.1"));

    let source = hash(&Key::Source, "/", &[], "192.0.2.1");
    assert!(source.found);
    assert_eq!(source, hash(&Key::Source, "/b", &[], "::ffff:192.0.2.1"));
    assert_ne!(source, hash(&Key::Source, "/", &[], "192.0.2.2"));
}

#[test]
fn a_request_without_the_key_is_placed_by_its_source() {
    type Fields = &'static [(&'static str, &'static str)];
    let missing: [(Key, &str, Fields); 8] = [
        (Key::Header("X-User".into()), "/", &[]),
        (Key::Header("X-User".into()), "/", &[("X-User", "")]),
        (Key::Cookie("uid".into()), "/", &[]),
        (Key::Cookie("uid".into()), "/", &[("Cookie", "other=1")]),
        (Key::Cookie("uid".into()), "/", &[("Cookie", "uid=")]),
        (Key::Query("id".into()), "/", &[]),
        (Key::Query("id".into()), "/?other", &[]),
        (Key::Query("id".into()), "/?id", &[]),
    ];
    let source = hash(&Key::Source, "/", &[], "192.0.2.1");
    for (key, target, headers) in missing {
        let found = hash(&key, target, headers, "192.0.2.1");
        assert_eq!(found, KeyHash { hash: source.hash, found: false }, "{key} {target} {headers:?}");
    }
}

#[test]
fn both_ends_of_a_connection_count() {
    let of = |source: &str, destination: &str| {
        let flow = flow(source, destination);
        Key::FiveTuple.of_connection(flow.source.ip(), || flow).hash
    };
    let one = of("192.0.2.1:1000", "10.0.0.1:80");
    assert_eq!(one, of("192.0.2.1:1000", "10.0.0.1:80"));
    assert_eq!(one, of("[::ffff:192.0.2.1]:1000", "10.0.0.1:80"));
    for (source, destination) in [
        ("192.0.2.1:1001", "10.0.0.1:80"),
        ("192.0.2.2:1000", "10.0.0.1:80"),
        ("192.0.2.1:1000", "10.0.0.1:81"),
    ] {
        assert_ne!(one, of(source, destination));
    }
    let request = Request { target: "/", headers: &[], source: "192.0.2.1" };
    let asked = Key::FiveTuple.of_request(&request, || flow("192.0.2.1:1000", "10.0.0.1:80"));
    assert_eq!(asked, KeyHash { hash: one, found: true });
    // Connections have no header fields.
    let flow = flow("192.0.2.1:1000", "10.0.0.1:80");
    let found = Key::Header("X-User".into()).of_connection(flow.source.ip(), || flow);
    assert_eq!(found, KeyHash { hash: hash(&Key::Source, "/", &[], "192.0.2.1").hash, found: false });
}

/// Users compare these with other programs: XXH3 with 64 bits and seed 0 of the value's bytes.
#[test]
fn hashes_are_those_of_the_reference_implementation() {
    assert_eq!(hash(&Key::Header("k".into()), "/", &[("k", "a")], "::1").hash, 0xe6c6_32b6_1e96_4e1f);
    assert_eq!(hash(&Key::Header("k".into()), "/", &[("k", "abc")], "::1").hash, 0x78af_5f94_892f_3950);
}
