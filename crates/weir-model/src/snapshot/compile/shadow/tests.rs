//! The candidates are all there are, and few.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    listener::Networks,
    route::{CertificateMatch, GrpcMatch, HostMatch, PathMatch, TextMatch},
};

fn condition() -> impl Strategy<Value = Condition> {
    prop::collection::vec(matcher(), 0..4).prop_map(|matchers| Condition { matchers })
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let name = prop::sample::select(vec!["x", "y"]).prop_map(Arc::<str>::from);
    let texts = || prop::collection::vec(text(), 1..3);
    prop_oneof![
        prop::collection::vec(host(), 1..3).prop_map(Matcher::Host),
        prop::collection::vec(path(), 1..3).prop_map(Matcher::Path),
        prop::collection::vec(prop::sample::select(vec!["GET", "PUT"]).prop_map(Arc::from), 1..3)
            .prop_map(Matcher::Method),
        (name.clone(), texts()).prop_map(|(name, texts)| Matcher::Header(name, texts)),
        (name.clone(), texts()).prop_map(|(name, texts)| Matcher::Query(name, texts)),
        (name, texts()).prop_map(|(name, texts)| Matcher::Cookie(name, texts)),
        prop::collection::vec(network(), 1..3).prop_map(|networks| Matcher::Source(Networks::new(networks))),
        prop::collection::vec(host(), 1..3).prop_map(Matcher::ServerName),
        prop::collection::vec(prop::sample::select(vec!["h2", "http/1.1"]).prop_map(Arc::from), 1..3)
            .prop_map(Matcher::Protocol),
        (any::<bool>(), prop::collection::vec(text(), 0..2)).prop_map(|(absent, subject)| {
            Matcher::Certificate(CertificateMatch { absent, subject, ..CertificateMatch::default() })
        }),
        calls().prop_map(Matcher::Grpc),
        text().prop_map(|text| {
            Matcher::Not(vec![Condition { matchers: vec![Matcher::Header("x".into(), vec![text])] }])
        }),
    ]
}

fn host() -> impl Strategy<Value = HostMatch> {
    let name = prop::sample::select(vec!["a", "b.a", "c.b.a", "b", "xb.a"]);
    (name, any::<bool>()).prop_map(|(name, exact)| {
        if exact { HostMatch::Exact(name.into()) } else { HostMatch::Under(name.into()) }
    })
}

fn path() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        prop::sample::select(vec!["/", "/a", "/a/b", "/ab"]).prop_map(|path| PathMatch::Exact(path.into())),
        prop::sample::select(vec!["", "/a", "/a/b"]).prop_map(|path| PathMatch::Prefix(path.into())),
        prop::sample::select(vec!["a", "^/b", ""]).prop_map(|text| PathMatch::Regex(regex(text))),
    ]
}

fn calls() -> impl Strategy<Value = GrpcMatch> {
    let names = |least| {
        let name = prop::sample::select(vec!["a", "b"]).prop_map(Arc::<str>::from);
        prop::collection::vec(name, least..3)
    };
    prop_oneof![(names(1), names(0)), (names(0), names(1))]
        .prop_map(|(service, method)| GrpcMatch::new(service, method))
}

fn text() -> impl Strategy<Value = TextMatch> {
    prop_oneof![
        prop::sample::select(vec!["", "a", "ab", "b"])
            .prop_map(|text| TextMatch::Exact(text.as_bytes().into())),
        prop::sample::select(vec!["", "a", "ab"]).prop_map(|text| TextMatch::Prefix(text.as_bytes().into())),
        prop::sample::select(vec!["a", "b$"]).prop_map(|text| TextMatch::Regex(regex(text))),
        any::<bool>().prop_map(TextMatch::Present),
    ]
}

fn network() -> impl Strategy<Value = ipnet::IpNet> {
    let networks =
        vec!["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "::/0", "2001:db8::/32", "::1/128"];
    prop::sample::select(networks).prop_map(|network| network.parse().unwrap())
}

fn regex(text: &str) -> regex::bytes::Regex {
    regex::bytes::Regex::new(text).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_covers_is_found_as_if_all_had_been_compared(
        conditions in prop::collection::vec(condition(), 0..12),
        narrow in condition(),
    ) {
        let mut index = Candidates::default();
        conditions.iter().enumerate().for_each(|(route, wide)| index.add(wide, route));
        let found = index.first(&narrow, |wide| covers(wide, &narrow));
        prop_assert_eq!(found, conditions.iter().position(|wide| covers(wide, &narrow)));
    }
}

#[test]
fn what_many_routes_have_in_common_is_not_compared() {
    const ROUTES: usize = 3000;
    let exact = |text: String| vec![TextMatch::Exact(text.into_bytes().into())];
    let kinds: [&dyn Fn(usize) -> Vec<Matcher>; 8] = [
        &|n| vec![Matcher::Header("x-tenant".into(), exact(format!("t{n}")))],
        &|n| vec![Matcher::Method(vec!["GET".into()]), Matcher::Query("q".into(), exact(n.to_string()))],
        &|n| {
            vec![
                Matcher::Path(vec![PathMatch::Prefix("/api".into())]),
                Matcher::Cookie("user".into(), exact(n.to_string())),
            ]
        },
        &|n| vec![Matcher::Grpc(GrpcMatch::new(vec!["a".into()], vec![n.to_string().into()]))],
        &|n| vec![Matcher::Grpc(GrpcMatch::new(vec![n.to_string().into()], vec![]))],
        &|n| vec![Matcher::Header("x".into(), vec![TextMatch::Regex(regex(&format!("^{n}$")))])],
        &|n| vec![Matcher::Header("x".into(), vec![TextMatch::Prefix(format!("{n}-").into_bytes().into())])],
        &|n| {
            let address = std::net::Ipv4Addr::from(u32::try_from(n).unwrap());
            vec![Matcher::Source(Networks::new(vec![ipnet::IpNet::from(std::net::IpAddr::V4(address))]))]
        },
    ];
    for (kind, matchers) in kinds.iter().enumerate() {
        let conditions: Vec<_> = (0..ROUTES).map(|n| Condition { matchers: matchers(n) }).collect();
        let mut index = Candidates::default();
        let mut compared = 0;
        for (route, narrow) in conditions.iter().enumerate() {
            let found = index.first(narrow, |wide| {
                compared += 1;
                covers(wide, narrow)
            });
            assert_eq!(found, None, "kind {kind}");
            index.add(narrow, route);
        }
        assert!(compared <= 2 * ROUTES, "kind {kind}: {compared} comparisons for {ROUTES} routes");
    }
}
