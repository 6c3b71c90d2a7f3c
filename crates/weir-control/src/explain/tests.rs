//! What is said, about requests that a simple reader judges.

use std::{net::IpAddr, path::Path};

use weir_model::status::{Health, Registry, State};

use super::*;
use crate::config;

/// Takes every request as it stands in the question.
struct Simple;

struct Asked(Question);

impl Rehearse for Simple {
    type Request = Asked;

    fn rehearse(&self, _: &Listener, question: &Question) -> Result<Asked, Refused> {
        match question.method.as_str() {
            "TRACE" => Err(Refused { code: "refused", status: 405, sentence: "no TRACE here".into() }),
            _ => Ok(Asked(question.clone())),
        }
    }

    fn connect(&self, _: &Listener, _: &Question) -> Result<(), Refused> {
        Ok(())
    }
}

impl RequestFacts for &Asked {
    fn method(&self) -> &[u8] {
        self.0.method.as_bytes()
    }

    fn host(&self) -> &[u8] {
        self.0.authority.split(':').next().unwrap_or_default().as_bytes()
    }

    fn path(&self) -> &[u8] {
        self.0.target.as_bytes()
    }

    fn query(&self) -> Option<&[u8]> {
        None
    }

    fn any_header(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.headers.iter().any(|(own, value)| own.eq_ignore_ascii_case(name) && each(value.as_bytes()))
    }

    fn source(&self) -> IpAddr {
        self.0.source.ip()
    }
}

impl Rehearsed for Asked {
    fn refused_by(&self, _: &Route) -> Option<Refused> {
        None
    }

    fn facts(&self) -> impl RequestFacts {
        self
    }

    fn is_last(&self) -> bool {
        false
    }

    fn is_idempotent(&self) -> bool {
        self.0.method == "GET"
    }

    fn can_resend(&self) -> Option<bool> {
        None
    }

    fn forwarded(&self, _: &Route) -> Vec<u8> {
        format!("{} /inner HTTP/1.1\r\nX-Forwarded-For: {}\r\n\r\n", self.0.method, self.0.source.ip())
            .into_bytes()
    }

    fn answered(&self, _: &Route) -> Vec<u8> {
        b"Location: http://there/\r\n".to_vec()
    }
}

const FILE: &str = r#"
listeners:
  web:
    bind: [127.0.0.1:8080, "[::1]:8080"]
    protocol: http
    routes:
      - { name: away, match: { path: /away }, redirect: { host: there, code: 308 } }
      - { name: halves, match: { path: /halves }, split: [{ pool: app, weight: 3 }, { pool: none, weight: 1 }] }
      - name: app
        match: { host: app.test }
        request_headers: { set: { Authorization: Bearer 1234, X-From: weir }, remove: [X-Internal] }
        pool: app
  other: { bind: "127.0.0.2:8081", protocol: http, pool: app }
  everywhere: { bind: "0.0.0.0:8082", protocol: http, pool: app }
  sql: { bind: "10.0.0.1:5432", protocol: tcp, routes: [{ match: { source: 192.0.2.0/24 }, pool: app }] }
pools:
  app: { balance: least_conn, backends: ["10.0.0.1:80", { address: "10.0.0.2:80", name: two }, "10.0.0.3:80"] }
  none: { backends: [{ address: "10.0.0.4:80", weight: 1 }] }
"#;

fn snapshot() -> Snapshot {
    config::compile(config::from_text("weir.yaml", FILE), 1, &mut Registry::new(1)).unwrap().snapshot
}

fn asked(url: &str, particulars: Particulars) -> Question {
    Question::new(url, particulars).unwrap()
}

fn told(url: &str) -> Explanation {
    told_in(&snapshot(), url, 0)
}

fn told_in(snapshot: &Snapshot, url: &str, draw: u64) -> Explanation {
    let question = asked(url, Particulars::default());
    explain(snapshot, &question, &Simple, Circumstances { live: false, draw, now: Moment(0) }).unwrap()
}

#[test]
fn the_winner_its_pool_and_its_pick_are_named() {
    let told = told("http://app.test:8080/");
    assert_eq!(
        (told.route.as_deref(), &*told.action, told.pool.as_deref()),
        (Some("app"), "pool", Some("app"))
    );
    assert_eq!(told.pick.as_deref(), Some("10.0.0.1:80"));
    let matched: Vec<_> = told.tested.iter().map(|tested| (&*tested.route, tested.matched)).collect();
    assert_eq!(matched, [("away", false), ("halves", false), ("app", true)]);
    assert_eq!(told.tested[0].why, "path is `/`, not /away");
    let json = serde_json::to_value(&told).unwrap();
    for key in ["route", "action", "pool", "pick", "tested", "candidates", "effects"] {
        assert!(!json[key].is_null(), "{key}");
    }
}

#[test]
fn effects_are_told_and_secrets_are_not() {
    let effects = told("http://app.test:8080/").effects.join("\n");
    for expected in [
        "the path / becomes /inner",
        "the backend is told X-Forwarded-For: 127.0.0.1",
        "request header x-internal is removed",
        "request header authorization is set to ***",
        "request header x-from is set to weir",
        "response_timeout 1m",
    ] {
        assert!(effects.contains(expected), "{expected} in\n{effects}");
    }
    assert!(!effects.contains("1234"), "{effects}");
    assert_eq!(told("http://a:8080/away").effects[0], "the client is answered 308 and sent to http://there/");
}

#[test]
fn candidates_say_why_they_may_not_be_chosen() {
    let snapshot = snapshot();
    let (_, pool) = snapshot.pool("app").unwrap();
    pool.backends[0].status.set_health(Health::Down, "connection refused (3 checks in a row)", Moment(1));
    pool.backends[1].order(Some(State::Draining), None, Moment(1));
    let told = told_in(&snapshot, "http://app.test:8080/", 0);
    let whys: Vec<_> = told.candidates.iter().map(|each| (each.eligible, &*each.why)).collect();
    let down = "down: connection refused (3 checks in a row)";
    assert_eq!(whys, [(false, down), (false, "draining: it is given nothing new"), (true, "up")]);
    assert_eq!(told.pick.as_deref(), Some("10.0.0.3:80"));
    pool.backends[2].order(None, Some(0), Moment(2));
    let told = told_in(&snapshot, "http://app.test:8080/", 0);
    assert_eq!((told.pick, &*told.candidates[2].why), (None, "its weight is 0"));
    assert_eq!(told.effects[0], "the client is answered 503: no backend of the pool may be chosen");
}

#[test]
fn no_more_tries_are_promised_than_there_are_other_backends() {
    let file = |backends: &str| {
        let text = format!(
            "listeners: {{ web: {{ bind: ':8080', protocol: http, routes: [{{ pool: app, retry: {{ retries: 3 }} }}] }},\n\
             \x20 sql: {{ bind: ':5432', protocol: tcp, pool: app }} }}\npools: {{ app: {{ {backends} }} }}\n"
        );
        config::compile(config::from_text("weir.yaml", &text), 1, &mut Registry::new(1)).unwrap().snapshot
    };
    let one = "no other backend of the pool may be chosen";
    for (backends, expected) in [
        ("backends: [10.0.0.1:80]", one),
        ("backends: [10.0.0.1:80, { address: '10.0.0.2:80', state: draining }]", one),
        ("backends: [10.0.0.1:80, 10.0.0.2:80]", "tried again elsewhere once"),
        ("backends: [10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80]", "tried again elsewhere up to 2 times"),
        ("discover: { file: list.yaml }", "tried again elsewhere up to 3 times"),
    ] {
        let effects = told_in(&file(backends), "http://a:8080/", 0).effects.join("\n");
        assert!(effects.contains(expected), "{backends}: {effects}");
        assert_eq!(effects.contains("elsewhere"), expected != one, "{backends}: {effects}");
        let effects = told_in(&file(backends), "tcp://a:5432", 0).effects.join("\n");
        assert_eq!(effects.contains("passed over"), expected != one, "{backends}: {effects}");
    }
}

#[test]
fn a_split_shows_its_arms_and_the_one_that_was_drawn() {
    let snapshot = snapshot();
    let drawn = |draw| {
        let told = told_in(&snapshot, "http://a:8080/halves", draw);
        let arms: Vec<_> = told.split.iter().map(|arm| (arm.pool.clone(), arm.weight, arm.drawn)).collect();
        (told.action, told.pool.unwrap(), arms)
    };
    let arms = |first: bool| vec![("app".to_owned(), 3, first), ("none".to_owned(), 1, !first)];
    assert_eq!(drawn(0), ("split".into(), "app".into(), arms(true)));
    assert_eq!(drawn(u64::MAX), ("split".into(), "none".into(), arms(false)));
}

#[test]
fn nothing_that_matches_is_a_404_and_a_refusal_is_none() {
    let told_none = told("http://nobody.test:8080/");
    assert_eq!((told_none.route, &*told_none.action), (None, "none"));
    assert_eq!(told_none.effects, ["the client is answered 404 Not Found: no route matches"]);
    let question = asked(
        "http://app.test:8080/",
        Particulars { method: Some("TRACE".into()), ..Particulars::default() },
    );
    let refused =
        explain(&snapshot(), &question, &Simple, Circumstances { live: false, draw: 0, now: Moment(0) })
            .unwrap();
    assert_eq!((&*refused.action, refused.tested.len()), ("refused", 0));
    assert_eq!(refused.effects, ["the client is answered 405: no TRACE here (refused)"]);
}

#[test]
fn connections_are_explained_too() {
    let source = |text: &str| Particulars { source: Some(text.into()), ..Particulars::default() };
    let ask = |text: &str| {
        let question = asked("tcp://10.0.0.1:5432", source(text));
        explain(&snapshot(), &question, &Simple, Circumstances { live: false, draw: 0, now: Moment(0) })
            .unwrap()
    };
    assert_eq!(ask("192.0.2.7:5555").pool.as_deref(), Some("app"));
    let nowhere = ask("198.51.100.1");
    assert_eq!(
        (&*nowhere.action, &*nowhere.effects[0]),
        ("none", "the connection is reset: no route matches")
    );
}

#[test]
fn the_listener_is_found_by_the_url_or_asked_for() {
    let snapshot = snapshot();
    let of = |url: &str, listener: Option<&str>| {
        let listener = listener.map(str::to_owned);
        let question = asked(url, Particulars { listener, ..Particulars::default() });
        question
            .listener(&snapshot)
            .map(|listener| listener.name.to_string())
            .map_err(|trouble| trouble.to_string())
    };
    for (url, expected) in [
        ("http://app.test:8080/", "web"),
        ("http://127.0.0.1:8080/", "web"),
        ("http://[::1]:8080", "web"),
        ("http://127.0.0.2:8081?x", "other"),
        ("http://192.0.2.1:8082/", "everywhere"),
        ("tcp://10.0.0.1:5432", "sql"),
        ("tcp://10.0.0.1", "sql"),
    ] {
        assert_eq!(of(url, None).as_deref(), Ok(expected), "{url}");
    }
    for url in ["http://127.0.0.1:8081/", "http://app.test/", "http://[::1]:8082/", "tcp://10.0.0.2:5432"] {
        let trouble = of(url, None).unwrap_err();
        assert!(trouble.contains("is bound to") && trouble.contains("--listener"), "{trouble}");
    }
    assert_eq!(of("http://anything/", Some("other")).as_deref(), Ok("other"));
    assert!(
        of("http://anything/", Some("sql"))
            .unwrap_err()
            .starts_with("the listener `sql` does not speak http")
    );
    let trouble = of("http://anything/", Some("wbe")).unwrap_err();
    assert!(trouble.starts_with("there is no listener `wbe`") && trouble.contains("did you mean `web`?"));
    let trouble = of("https://127.0.0.1/", None).unwrap_err();
    assert!(trouble.contains("by its own scheme: ") && trouble.contains("`sql` (tcp)"), "{trouble}");
}

#[test]
fn who_is_bound_to_the_very_address_comes_before_who_is_bound_to_every_one() {
    let text = "listeners:
  exact: { bind: '127.0.0.1:8083', protocol: http, pool: app }
  every: { bind: ':8083', protocol: http, pool: app }
  lines: { bind: '127.0.0.3:8083', protocol: tcp, pool: app }
pools: { app: { backends: ['10.0.0.1:80'] } }
";
    let compiled = config::compile(config::from_text("weir.yaml", text), 1, &mut Registry::new(1)).unwrap();
    let of = |url: &str| {
        let found = asked(url, Particulars::default()).listener(&compiled.snapshot);
        found.map(|listener| listener.name.to_string()).map_err(|trouble| trouble.cause)
    };
    assert_eq!(of("http://127.0.0.1:8083/").as_deref(), Ok("exact"));
    assert_eq!(of("http://127.0.0.2:8083/").as_deref(), Ok("every"));
    assert_eq!(of("http://[::1]:8083/").as_deref(), Ok("every"));
    // What a name leads to is not known.
    assert!(of("http://app.test:8083/").unwrap_err().starts_with("several listeners could be meant"));
    // Nobody else gets what the exact one does not understand.
    assert!(of("http://127.0.0.3:8083/").unwrap_err().starts_with("no http listener is bound to port 8083"));
}

/// Listeners that share an address are told apart by the name that the client asks for.
#[test]
fn names_of_tls_lead_to_their_listener() {
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tls");
    let tls = tls.display();
    let text = format!(
        "listeners:\n  one: {{ bind: \"127.0.0.1:8443\", protocol: https, sni: a.test, pool: app, \
         tls: {{ certificates: [{{ cert: {tls}/site.pem, key: {tls}/site.key }}] }} }}\n  \
         two: {{ bind: \"127.0.0.1:8443\", protocol: tls, sni: \"*.b.test\", pool: app }}\n\
         pools: {{ app: {{ backends: [\"10.0.0.1:80\"] }} }}\n"
    );
    let compiled = config::compile(config::from_text("weir.yaml", &text), 1, &mut Registry::new(1));
    let snapshot =
        compiled.unwrap_or_else(|refusal| panic!("{}", refusal.render(config::Style::Plain))).snapshot;
    let listener = |url: &str, sni: Option<&str>| {
        let particulars = Particulars { sni: sni.map(str::to_owned), ..Particulars::default() };
        asked(url, particulars).listener(&snapshot).map(|listener| listener.name.to_string())
    };
    assert_eq!(listener("https://A.test:8443/", None).unwrap(), "one");
    assert_eq!(listener("https://x.b.test:8443/", None).unwrap(), "two");
    assert_eq!(listener("https://127.0.0.1:8443/", Some("a.test")).unwrap(), "one");
    assert_eq!(listener("tcp://127.0.0.1:8443", Some("x.b.test.")).unwrap(), "two");
    let nobody = listener("https://c.test:8443/", None).unwrap_err();
    assert!(nobody.cause.contains("asks for the name `c.test`"), "{}", nobody.cause);
    let unnamed = listener("https://127.0.0.1:8443/", None).unwrap_err();
    assert!(unnamed.cause.contains("asks for no name"), "{}", unnamed.cause);
}

#[test]
fn a_question_travels_in_a_query() {
    let particulars = Particulars {
        method: Some("POST".into()),
        headers: vec!["X-A: 1 & 2=3".into(), "Cookie: a=ü".into()],
        source: Some("[2001:db8::1]:77".into()),
        sni: Some("a.test".into()),
        listener: Some("web".into()),
    };
    let question = asked("http://a.test:8080/x%2f../y?q=%20#gone", particulars);
    let again = Question::from_query(&question.to_query()).unwrap();
    assert_eq!(format!("{again:?}"), format!("{question:?}"));
    assert_eq!(again.target, "/x%2f../y?q=%20");
    for query in
        ["", "url=nothing", "url=http://a/&surprise=1", "url=http://a/&header=X-A:1%0d%0aX-B:2", "method=GET"]
    {
        assert!(Question::from_query(query).is_err(), "{query}");
    }
}

#[test]
fn people_read_it_without_control_characters() {
    let question = asked("http://app.test:8080/\u{202e}", Particulars::default());
    let told =
        explain(&snapshot(), &question, &Simple, Circumstances { live: false, draw: 0, now: Moment(0) })
            .unwrap();
    let text = told.to_string();
    assert!(text.contains("pick        10.0.0.1:80\n") && !text.contains('\u{202e}'), "{text}");
    assert!(text.contains("two (10.0.0.2:80)") && text.contains("taken to be healthy"), "{text}");
}

#[test]
fn what_asks_the_backend_is_told_and_what_holds_for_calls() {
    let effects = |keys: &str, call: bool| {
        let route = "        pool: app\n";
        let retry = "        retry: { retry_on: [connect, unavailable, internal], methods: all }\n";
        let pool = "app: { balance: least_conn,";
        let text =
            FILE.replacen(route, &format!("{route}{retry}"), 1).replace(pool, &format!("{pool} {keys}"));
        let snapshot = config::compile(config::from_text("weir.yaml", &text), 1, &mut Registry::new(1));
        let particulars = Particulars {
            method: Some("POST".into()),
            headers: call.then(|| "content-type: application/grpc".to_owned()).into_iter().collect(),
            ..Particulars::default()
        };
        let question = asked("http://app.test:8080/shop.Cart/Add", particulars);
        let circumstances = Circumstances { live: false, draw: 0, now: Moment(0) };
        explain(&snapshot.unwrap().snapshot, &question, &Simple, circumstances).unwrap().effects.join("\n")
    };
    for (keys, call, expected) in [
        ("", false, "the backend is asked by HTTP/1.1\n"),
        ("", true, "the backend is asked by HTTP/2, since gRPC knows nothing else"),
        ("tls: {},", false, "the backend is asked by HTTP/2 if it agrees on that (ALPN), else by HTTP/1.1"),
        ("tls: {}, protocol: http1,", false, "the backend is asked by HTTP/1.1\n"),
        ("protocol: h2,", false, "the backend is asked by HTTP/2\n"),
    ] {
        let told = effects(keys, call);
        assert!(told.contains(expected), "{expected} is not in\n{told}");
        assert_eq!(told.contains("it ends the call at once with internal or unavailable"), call, "{told}");
        assert_eq!(told.contains("response_timeout"), !call, "{told}");
        assert_eq!((told.contains("tunnel 1h"), told.contains("body_idle")), (call, !call), "{told}");
    }
}

#[test]
fn what_a_connection_to_a_backend_begins_with_is_told() {
    let said = |keys: &str| {
        let pool = "app: { balance: least_conn,";
        let text = FILE.replace(pool, &format!("{pool} {keys}"));
        let compiled = config::compile(config::from_text("weir.yaml", &text), 1, &mut Registry::new(1));
        told_in(&compiled.unwrap().snapshot, "http://app.test:8080/", 0).effects.join("\n")
    };
    let begins = "the connection to the backend begins with";
    assert!(!said("").contains(begins));
    let told = said("tls: { verify: false }, send_proxy_protocol: v2,");
    let expected = format!("{begins} a PROXY header v2, then TLS, which is not verified");
    assert!(told.contains(&expected), "{told}");
    let told = said("tls: { sni: app.internal },");
    assert!(told.contains(&format!("{begins} TLS, verified for app.internal")), "{told}");
    let told = said("tls: {},");
    assert!(told.contains(&format!("{begins} TLS, verified for the name of the backend")), "{told}");
}
