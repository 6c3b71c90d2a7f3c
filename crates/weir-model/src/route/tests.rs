//! The index against plain evaluation in order, and what `explain` says.

use std::{net::IpAddr, sync::Arc};

use proptest::prelude::*;

use super::{index::Index, *};
use crate::{listener::Networks, status::Registry};

#[derive(Clone, Debug)]
struct Facts {
    method: &'static str,
    host: String,
    path: String,
    query: Option<&'static str>,
    headers: Vec<(&'static str, &'static str)>,
    source: IpAddr,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            method: "GET",
            host: "a.test".into(),
            path: "/".into(),
            query: None,
            headers: Vec::new(),
            source: IpAddr::from([127, 0, 0, 1]),
        }
    }
}

impl RequestFacts for Facts {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn host(&self) -> &[u8] {
        self.host.as_bytes()
    }

    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn query(&self) -> Option<&[u8]> {
        self.query.map(str::as_bytes)
    }

    fn any_header(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.headers.iter().any(|(key, value)| key.eq_ignore_ascii_case(name) && each(value.as_bytes()))
    }

    fn source(&self) -> IpAddr {
        self.source
    }
}

fn table(conditions: Vec<Vec<Condition>>) -> RouteTable {
    let mut registry = Registry::new(1);
    let routes = conditions.into_iter().enumerate().map(|(number, conditions)| {
        let name: Arc<str> = number.to_string().into();
        Arc::new(Route {
            status: vec![registry.route("web", &name, "")],
            name,
            conditions,
            action: Action::Pool(number),
            rewrite: None,
            request_headers: HeaderEdits::default(),
            grpc_web: false,
            timeout: crate::time::Millis::NONE,
            retry: crate::route::Retry::default(),
            response_headers: HeaderEdits::default(),
            has_variables: false,
        })
    });
    RouteTable::new(routes.collect())
}

fn condition(matchers: impl IntoIterator<Item = Matcher>) -> Condition {
    Condition { matchers: matchers.into_iter().collect() }
}

/// Few names, so that tables and requests meet often.
fn a_host() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "api", "test"]), 1..4)
        .prop_map(|labels| labels.join("."))
}

fn a_path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["", "v1", "v1x", "a", "b"]), 0..4)
        .prop_map(|segments| format!("/{}", segments.join("/")))
}

fn some_calls() -> impl Strategy<Value = GrpcMatch> {
    let name = || prop::sample::select(vec!["a", "b", "v1", "v1x"]).prop_map(Arc::<str>::from);
    (prop::collection::vec(name(), 0..3), prop::collection::vec(name(), 0..3))
        .prop_map(|(service, method)| GrpcMatch::new(service, method))
}

fn a_matcher() -> impl Strategy<Value = Matcher> {
    let host = prop_oneof![
        a_host().prop_map(|host| HostMatch::Exact(host.into())),
        a_host().prop_map(|host| HostMatch::Under(host.into())),
    ];
    let path = prop_oneof![
        a_path().prop_map(|path| PathMatch::Exact(path.into())),
        a_path().prop_map(|path| PathMatch::Prefix(path.trim_end_matches('/').into())),
        Just(PathMatch::Regex(regex::bytes::Regex::new("^/v[0-9]").unwrap())),
    ];
    prop_oneof![
        4 => prop::collection::vec(host, 1..3).prop_map(Matcher::Host),
        4 => prop::collection::vec(path, 1..3).prop_map(Matcher::Path),
        1 => Just(Matcher::Method(vec!["GET".into()])),
        1 => Just(Matcher::Header("x-canary".into(), vec![TextMatch::Present(true)])),
        2 => some_calls().prop_map(Matcher::Grpc),
        1 => Just(Matcher::Not(vec![condition([Matcher::Method(vec!["POST".into()])])])),
    ]
}

fn a_table() -> impl Strategy<Value = RouteTable> {
    let condition = prop::collection::vec(a_matcher(), 0..3).prop_map(|mut matchers| {
        // The reader gives each kind of matcher at most once per condition.
        let mut seen = Vec::new();
        matchers.retain(|matcher| {
            let kind = std::mem::discriminant(matcher);
            let new = !seen.contains(&kind);
            seen.push(kind);
            new
        });
        Condition { matchers }
    });
    prop::collection::vec(prop::collection::vec(condition, 0..3), 0..40).prop_map(table)
}

fn a_request() -> impl Strategy<Value = Facts> {
    let headers = prop_oneof![
        Just(vec![]),
        Just(vec![("X-Canary", "true")]),
        Just(vec![("Content-Type", "application/grpc+proto")]),
        Just(vec![("content-type", "application/grpc-web")]),
        Just(vec![("Content-Type", "application/json"), ("X-Canary", "")]),
    ];
    let host =
        prop_oneof![8 => a_host(), 1 => Just(String::new()), 1 => a_host().prop_map(|host| host + ".")];
    (prop_oneof![Just("GET"), Just("POST")], host, a_path(), headers)
        .prop_map(|(method, host, path, headers)| Facts { method, host, path, headers, ..Facts::default() })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_finds_what_plain_evaluation_finds(
        table in a_table(),
        requests in prop::collection::vec(a_request(), 1..20),
    ) {
        for request in requests {
            let plain = table.routes().iter().find(|route| route.takes(&request)).map(|route| route.name.clone());
            let found = table.find(&request).map(|route| route.name.clone());
            prop_assert_eq!(&found, &plain, "{:?}", request);
            let explained = table.explain(&request);
            let taken = explained.iter().find(|(_, verdict)| verdict.matched).map(|(route, _)| route.name.clone());
            prop_assert_eq!(&taken, &plain);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn calls_are_taken_as_their_path_and_their_content_type_say(calls in some_calls(), request in a_request()) {
        let typed = request.headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("content-type") && value.starts_with("application/grpc")
        });
        let parts: Vec<_> = request.path.split('/').collect();
        let within = |wanted: &[Arc<str>], part: &str| wanted.is_empty() || wanted.iter().any(|name| **name == *part);
        let named = match &parts[..] {
            // Names of services hold no slash here.
            ["", service, method] if !service.is_empty() && !method.is_empty() => {
                within(calls.service(), service) && within(calls.method(), method)
            }
            ["", rest @ .., method] if calls.service().is_empty() && rest.iter().any(|part| !part.is_empty()) => {
                !method.is_empty() && within(calls.method(), method)
            }
            ["", _, "", method] if calls.service().is_empty() => !method.is_empty() && within(calls.method(), method),
            _ => false,
        };
        let matcher = Matcher::Grpc(calls);
        prop_assert_eq!(matcher.holds(&request), typed && named);
        if !matcher.holds(&request) {
            prop_assert_eq!(matcher.why_not(&request).contains("content-type"), named);
        }
    }
}

#[test]
fn a_request_among_ten_thousand_routes_asks_a_handful() {
    let conditions = (0..10_000).map(|number| {
        let host = HostMatch::Exact(format!("h{}.test", number % 100).into());
        let path = PathMatch::Prefix(format!("/app{number}").into());
        vec![condition([Matcher::Host(vec![host]), Matcher::Path(vec![path])])]
    });
    let table = table(conditions.collect());
    let request = Facts { host: "h99.test".into(), path: "/app9999/x/y".into(), ..Facts::default() };
    assert_eq!(&*table.find(&request).unwrap().name, "9999");
    let index = Index::new(table.routes().iter().map(|route| &**route));
    let mut asked = 0;
    index.first(Some(b"h99.test"), Some(b"/app9999/x/y"), u32::MAX, |_| {
        asked += 1;
        false
    });
    assert_eq!(asked, 1);
}

#[test]
fn headers_queries_and_cookies_are_compared_as_stated() {
    let exact = |text: &str| vec![TextMatch::Exact(text.as_bytes().into())];
    let request = Facts {
        query: Some("version=2&path=%2Fx+y"),
        headers: vec![("X-Tenant", "one"), ("x-tenant", "two"), ("Cookie", "a=1; s=premium")],
        ..Facts::default()
    };
    let holds = |matcher: Matcher| matcher.holds(&request);
    assert!(holds(Matcher::Header("x-tenant".into(), exact("two"))), "any field of the name may hold");
    assert!(!holds(Matcher::Header("x-tenant".into(), exact("TWO"))));
    assert!(holds(Matcher::Header("x-none".into(), vec![TextMatch::Present(false)])));
    assert!(!holds(Matcher::Header("x-tenant".into(), vec![TextMatch::Present(false)])));
    assert!(holds(Matcher::Query("path".into(), exact("/x y"))));
    assert!(holds(Matcher::Query("version".into(), vec![TextMatch::Present(true)])));
    assert!(holds(Matcher::Cookie("s".into(), vec![TextMatch::Prefix((*b"prem").into())])));
    assert!(!holds(Matcher::Cookie("S".into(), exact("premium"))), "names of cookies have a case");
}

#[test]
fn verdicts_name_the_first_matcher_that_failed() {
    let networks = Networks::new(vec!["10.0.0.0/8".parse().unwrap()]);
    let canary = Matcher::Header("x-canary".into(), vec![TextMatch::Exact((*b"true").into())]);
    let path = Matcher::Path(vec![PathMatch::Prefix("/v1".into()), PathMatch::Exact("/x".into())]);
    let table = table(vec![
        vec![condition([Matcher::Host(vec![HostMatch::Under("b.test".into())])])],
        vec![condition([path.clone(), canary])],
        vec![
            condition([Matcher::Source(networks)]),
            condition([Matcher::Method(vec!["PUT".into(), "POST".into()])]),
        ],
        vec![condition([Matcher::Not(vec![condition([path.clone()])])])],
        vec![condition([path])],
    ]);
    let request = Facts { path: "/v1/a".into(), ..Facts::default() };
    let said: Vec<_> = table.explain(&request).into_iter().map(|(_, verdict)| verdict.why).collect();
    assert_eq!(
        said,
        [
            "host is `a.test`, not *.b.test",
            "header x-canary is absent, not `true`",
            "source is 127.0.0.1, not 10.0.0.0/8; method is GET, not PUT or POST",
            "excluded by `not`: path matches",
            "path matches",
        ]
    );
}

#[test]
fn a_connection_is_found_by_its_source() {
    let networks = Networks::new(vec!["10.0.0.0/8".parse().unwrap()]);
    let table = table(vec![vec![condition([Matcher::Source(networks)])], vec![]]);
    assert_eq!(
        &*table.find_connection(&ConnectionFacts::from(IpAddr::from([10, 1, 2, 3]))).unwrap().name,
        "0"
    );
    assert_eq!(
        &*table.find_connection(&ConnectionFacts::from(IpAddr::from([192, 0, 2, 1]))).unwrap().name,
        "1"
    );
    assert_eq!(
        &*table.find_connection(&ConnectionFacts::from("::ffff:10.1.2.3".parse().unwrap())).unwrap().name,
        "0"
    );
}
