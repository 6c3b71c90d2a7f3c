//! Sticky sessions: a client stays at its backend, over other clients, reloads and drains, and finds another one when it
//! is gone.

use std::{collections::BTreeSet, net::SocketAddr};

use weir_model::{
    status::{Health, State},
    time::Moment,
};
use weir_testkit::{Answer, FakeBackend, RawClient, wait_until};

use crate::support::Weir;

fn file(pool: &str, backends: &[(SocketAddr, &str)]) -> String {
    let backends: String = backends
        .iter()
        .map(|(address, keys)| format!("      - {{ address: '{address}', {keys} }}\n"))
        .collect();
    format!(
        "workers: 2\nlisteners: {{ web: {{ bind: '127.0.0.1:0', protocol: http, pool: app }} }}\n\
         pools:\n  app:\n    {pool}\n    backends:\n{backends}"
    )
}

const STICKY: &str = "sticky: { cookie: WEIR, ttl: 1h }";

/// Asks with this cookie; who answered, and the cookie that was set.
fn ask(weir: &Weir, cookie: Option<&str>) -> (String, Option<String>) {
    let field = cookie.map_or_else(String::new, |cookie| format!("Cookie: other=1; WEIR={cookie}; b=2\r\n"));
    let mut client = RawClient::connect(weir.address());
    let answer = client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{field}\r\n")).final_response("GET");
    assert_eq!(answer.status(), 200, "{answer}");
    let set: Vec<_> = answer.all("set-cookie").into_iter().map(str::to_owned).collect();
    assert!(set.len() <= 1, "{set:?}");
    let value = set.first().map(|field| {
        let (pair, attributes) = field.split_once(';').unwrap();
        assert_eq!(attributes, " Path=/; Max-Age=3600; HttpOnly; SameSite=Lax");
        pair.strip_prefix("WEIR=").unwrap().to_owned()
    });
    (answer.text(), value)
}

/// A new client, with the cookie that it is given.
fn newcomer(weir: &Weir) -> (String, String) {
    let (name, cookie) = ask(weir, None);
    (name, cookie.expect("it is bound"))
}

/// A new client that came to this backend.
fn client_of(weir: &Weir, name: &str) -> String {
    let mut clients = std::iter::repeat_with(|| newcomer(weir));
    clients.by_ref().take(1000).find(|(own, _)| own == name).expect("it takes new clients").1
}

fn stays(weir: &Weir, name: &str, cookie: &str) {
    for _ in 0..6 {
        assert_eq!(ask(weir, Some(cookie)), (name.to_owned(), None));
    }
}

fn order(weir: &Weir, backend: usize, state: State) {
    let pool = weir.app().snapshot().pools[0].clone();
    pool.backends[backend].order(Some(state), None, Moment(1));
    pool.status.touch();
}

#[test]
fn a_client_stays_where_it_came_to() {
    let [one, two, three] = ["one", "two", "three"].map(|name| FakeBackend::answering(Answer::ok(name)));
    let backends =
        [(one.address(), "weight: 1"), (two.address(), "weight: 1"), (three.address(), "weight: 1")];
    let weir = Weir::from_text(&file(STICKY, &backends));
    let clients: Vec<_> = (0..30).map(|_| newcomer(&weir)).collect();
    let names: BTreeSet<_> = clients.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names.len(), 3, "new ones are balanced");
    let cookies: BTreeSet<_> = clients.iter().map(|(_, cookie)| cookie.clone()).collect();
    assert_eq!(cookies.len(), 3);
    for (address, _) in &backends {
        let plain = address.to_string();
        assert!(cookies.iter().all(|cookie| cookie.len() == 16 && !plain.contains(cookie.as_str())));
    }
    for (name, cookie) in &clients {
        stays(&weir, name, cookie);
    }
    // Another process with the same file, and the same one after a reload: other backends, and another order.
    let turned = [(three.address(), "weight: 1"), (one.address(), "weight: 1")];
    let other = Weir::from_text(&file(STICKY, &turned));
    weir.app().reload_text(&file(STICKY, &turned)).unwrap();
    for (name, cookie) in clients.iter().filter(|(name, _)| name != "two") {
        stays(&weir, name, cookie);
        stays(&other, name, cookie);
    }
    // Whose backend has gone, or who makes something up, is bound anew.
    let gone = &clients.iter().find(|(name, _)| name == "two").unwrap().1;
    for cookie in [gone.as_str(), "0123456789abcdef", "10.0.0.1:80", ""] {
        let (name, again) = ask(&weir, Some(cookie));
        stays(&weir, &name, &again.expect("it is bound anew"));
    }
}

#[test]
fn a_drain_lets_those_stay_that_are_bound() {
    let [one, two] = ["one", "two"].map(|name| FakeBackend::answering(Answer::ok(name)));
    let backends = [(one.address(), "weight: 1"), (two.address(), "weight: 1")];
    let weir = Weir::from_text(&file(&format!("{STICKY}\n    drain: none"), &backends));
    let bound = client_of(&weir, "one");
    order(&weir, 0, State::Draining);
    stays(&weir, "one", &bound);
    assert!((0..10).all(|_| newcomer(&weir).0 == "two"), "nobody new comes");
    order(&weir, 0, State::Disabled);
    let (name, cookie) = ask(&weir, Some(&bound));
    assert_eq!(name, "two");
    order(&weir, 0, State::Active);
    stays(&weir, "two", &cookie.expect("it is bound anew"));
    stays(&weir, "one", &bound);
}

#[test]
fn who_is_bound_to_a_broken_backend_is_bound_anew() {
    let good = FakeBackend::answering(Answer::ok("good"));
    let failing = FakeBackend::answering(Answer::ok("failing"));
    let address = failing.address();
    let backends = [(good.address(), "weight: 1"), (address, "weight: 1")];
    // No connection is kept that would outlive the backend.
    let weir = Weir::from_text(&file(&format!("{STICKY}\n    keepalive: {{ max_requests: 1 }}"), &backends));
    let bound = client_of(&weir, "failing");
    // Known to be down.
    let set = |health: Health| {
        let pool = weir.app().snapshot().pools[0].clone();
        pool.backends[1].status.set_health(health, "the test says so", Moment(1));
        pool.status.touch();
    };
    set(Health::Down);
    let (name, cookie) = ask(&weir, Some(&bound));
    assert_eq!((name.as_str(), cookie.is_some()), ("good", true));
    set(Health::Up);
    stays(&weir, "failing", &bound);
    // And found to be: the request is tried elsewhere, and its client goes there from now on.
    drop(failing);
    wait_until("nobody listens there", || std::net::TcpStream::connect(address).is_err());
    let (name, cookie) = ask(&weir, Some(&bound));
    assert_eq!((name.as_str(), cookie.is_some()), ("good", true));
    stays(&weir, "good", &cookie.unwrap());
}

#[test]
fn a_full_backend_lends_its_clients_out() {
    let [one, two] = ["one", "two"].map(|name| {
        FakeBackend::answering_each(move |request| match request.target() {
            "/hang" => Answer::hang(),
            _ => Answer::ok(name),
        })
    });
    let backends = [(one.address(), "max_connections: 1"), (two.address(), "weight: 1")];
    let weir = Weir::from_text(&file(STICKY, &backends));
    let bound = client_of(&weir, "one");
    let mut hanging = RawClient::connect(weir.address());
    hanging.send(format!("GET /hang HTTP/1.1\r\nHost: a.test\r\nCookie: WEIR={bound}\r\n\r\n"));
    wait_until("it is full", || one.requests().iter().any(|request| request.target() == "/hang"));
    assert_eq!(ask(&weir, Some(&bound)), ("two".into(), None), "it stays bound to the first one");
    hanging.reset();
    wait_until("it is back", || ask(&weir, Some(&bound)) == ("one".into(), None));
}
