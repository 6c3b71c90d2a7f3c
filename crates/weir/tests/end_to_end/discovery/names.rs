//! `dns` and `srv`, with a name server of the test kit.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use weir::app::{App, Sink};
use weir_testkit::{
    Answer, DnsData, DnsRecord, DnsReply, DnsServer, End, FakeBackend, RawClient, wait_until,
};

use super::{Discovering, Farm, text};

fn dns(server: &DnsServer, port: u16) -> String {
    format!("discover: {{ dns: 'app.test:{port}', servers: '{}', refresh: 1s }}", server.address())
}

#[test]
fn addresses_come_and_go_with_the_answers() {
    let farm = Farm::new(3);
    let server = DnsServer::start();
    server.tell_addresses("app.test", &[farm.ip(2), farm.ip(1)]);
    let weir = Discovering::new(&dns(&server, farm.port));
    // The first request waits for the first answer.
    assert_eq!(weir.get().status(), 200);
    assert_eq!(weir.backends(), [farm.name(1), farm.name(2)]);

    let seen: BTreeSet<_> = (0..20).map(|_| weir.get().text()).collect();
    assert_eq!(seen, BTreeSet::from([farm.name(1), farm.name(2)]));
    let kept = weir.0.snapshot().pool("app").unwrap().1.backends[1].status.clone();

    server.tell_addresses("app.test", &[farm.ip(3), farm.ip(2)]);
    weir.wait_for(&[&farm.name(2), &farm.name(3)]);
    let seen: BTreeSet<_> = (0..20).map(|_| weir.get().text()).collect();
    assert_eq!(seen, BTreeSet::from([farm.name(2), farm.name(3)]));
    let now = weir.0.snapshot().pool("app").unwrap().1.backends[0].status.clone();
    assert!(std::sync::Arc::ptr_eq(&kept, &now), "the one that stayed keeps its counters");

    wait_until("both are counted", || weir.discovery()["backends"] == 2);
    let told = weir.discovery();
    assert_eq!(told["source"], format!("dns app.test:{}", farm.port));
    assert_eq!((told["backends"].as_u64(), told["last_error"].as_str()), (Some(2), None));
    assert!(told["last_success"].as_str().unwrap().ends_with('Z'));
    let page = weir.admin("/metrics").text();
    assert!(page.contains("weir_discovery_backends{pool=\"app\"} 2\n"), "{page}");
    assert!(page.contains("weir_discovery_last_success_timestamp_seconds{pool=\"app\"} 1"), "{page}");
}

#[test]
fn requests_and_connections_wait_for_the_first_answer() {
    let farm = Farm::new(1);
    for protocol in ["http", "tcp"] {
        let server = DnsServer::start();
        server.tell("app.test", "A", DnsReply::Silence);
        let pool = format!("{}, limits: {{ queue_timeout: 20s }}", dns(&server, farm.port));
        let text = text(&pool).replace("protocol: http", &format!("protocol: {protocol}"));
        let weir = Discovering(weir::app::App::from_text(&text).unwrap());
        let address = weir.0.address("web");
        std::thread::scope(|scope| {
            let client = scope.spawn(move || RawClient::connect(address).get("/").status());
            wait_until("it waits for a backend", || weir.pending() == 1);
            wait_until("somebody asks", || server.asked() > 0);
            server.tell_addresses("app.test", &[farm.ip(1)]);
            assert_eq!(client.join().unwrap(), 200, "{protocol}");
        });
        assert_eq!(weir.pending(), 0);
    }
}

#[test]
fn who_waits_for_the_first_answer_is_told_when_the_pool_goes() {
    let backend = FakeBackend::answering(Answer::ok("shop"));
    for protocol in ["http", "tcp"] {
        let server = DnsServer::start();
        server.tell("app.test", "A", DnsReply::Silence);
        // Longer than anybody waits for an answer here.
        let pool = format!("{}, limits: {{ queue_timeout: 1h }}", dns(&server, 80));
        let before = text(&pool).replace("protocol: http", &format!("protocol: {protocol}"));
        let said = Arc::<AtomicBool>::default();
        let seen = said.clone();
        let sink = Sink::function(move |line| {
            seen.fetch_or(line.text.contains("its pool is gone, and none was discovered"), Ordering::Relaxed);
        });
        let weir = Discovering(App::from_text_with_log(&before, sink).unwrap());
        let mut client = RawClient::connect(weir.0.address("web"));
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let old = weir.0.snapshot().pool("app").unwrap().1.clone();
        wait_until("it waits for a backend", || old.status.pending.load(Ordering::Relaxed) == 1);
        let after = before.replace(&pool, &format!("backends: ['{}']", backend.address()));
        weir.0.reload_text(&after.replace("app", "shop")).unwrap();
        match protocol {
            "http" => assert_eq!(client.final_response("GET").status(), 503),
            _ => assert_eq!(client.read_to_end(), (Vec::new(), End::Reset)),
        }
        wait_until("the log says why", || said.load(Ordering::Relaxed));
    }
}

#[test]
fn whatever_goes_wrong_the_last_good_set_stays() {
    let farm = Farm::new(1);
    let server = DnsServer::start();
    server.tell_addresses("app.test", &[farm.ip(1)]);
    let weir = Discovering::new(&dns(&server, farm.port));
    assert_eq!(weir.get().status(), 200);
    let generation = weir.0.snapshot().generation;
    for (reply, words) in [
        (DnsReply::NxDomain, "NXDOMAIN"),
        (DnsReply::Empty, "no A record"),
        (DnsReply::ServFail, "SERVFAIL"),
        (DnsReply::Refused, "REFUSED"),
    ] {
        server.tell("app.test", "A", reply.clone());
        weir.wait_for_failure(words);
        assert_eq!(weir.backends(), [farm.name(1)], "{reply:?}");
        assert_eq!(weir.get().status(), 200, "{reply:?}");
    }
    assert_eq!(weir.0.snapshot().generation, generation, "nothing was published");
    let page = weir.admin("/metrics").text();
    assert!(page.contains("weir_discovery_failures_total{pool=\"app\"} "), "{page}");
    // And it mends by itself.
    server.tell_addresses("app.test", &[farm.ip(1)]);
    wait_until("the failure is over", || weir.discovery()["last_error"].is_null());
}

#[test]
fn a_server_that_is_silent_or_mad_is_a_failure_too() {
    for reply in [DnsReply::Silence, DnsReply::Garbage] {
        let server = DnsServer::start();
        server.tell("app.test", "A", reply.clone());
        server.tell("app.test", "AAAA", reply.clone());
        let weir = Discovering::new(&dns(&server, 80));
        wait_until("it is a failure", || weir.discovery()["failures"].as_u64().unwrap() > 0);
        // Nobody waits any longer for what may never come.
        assert_eq!(weir.get().status(), 503, "{reply:?}");
    }
}

#[test]
fn a_large_answer_comes_over_tcp() {
    let server = DnsServer::start();
    let addresses: Vec<_> = (0..200).map(|host| Ipv4Addr::new(10, 9, 8, host)).collect();
    server.tell_addresses("app.test", &addresses);
    let weir = Discovering::new(&dns(&server, 8080));
    wait_until("all of them are there", || weir.backends().len() == 200);
    assert!(server.asked_over_tcp() > 0);
}

#[test]
fn aliases_are_followed() {
    let farm = Farm::new(1);
    let server = DnsServer::start();
    let alias = |name: &str| DnsRecord::from(DnsData::Cname(name.into()));
    // One in the same answer, one that has to be asked for.
    let next = DnsRecord { name: "b.test".into(), ..alias("c.test") };
    server.tell("app.test", "A", DnsReply::Records(vec![alias("b.test"), next.clone()]));
    server.tell("app.test", "AAAA", DnsReply::Records(vec![alias("b.test"), next]));
    server.tell("b.test", "A", DnsReply::Records(vec![alias("c.test")]));
    server.tell_addresses("c.test", &[farm.ip(1)]);
    let weir = Discovering::new(&dns(&server, farm.port));
    weir.wait_for(&[&farm.name(1)]);
}

#[test]
fn one_version_that_cannot_be_asked_for_does_not_take_the_other_away() {
    let server = DnsServer::start();
    let six = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
    server.tell_addresses("app.test", &[Ipv4Addr::new(10, 0, 0, 1)]);
    server.tell("app.test", "AAAA", DnsReply::Records(vec![DnsData::Aaaa(six).into()]));
    let weir = Discovering::new(&dns(&server, 80));
    weir.wait_for(&["10.0.0.1:80", "[fd00::1]:80"]);
    server.tell("app.test", "AAAA", DnsReply::ServFail);
    server.tell_addresses("app.test", &[Ipv4Addr::new(10, 0, 0, 2)]);
    weir.wait_for(&["10.0.0.2:80", "[fd00::1]:80"]);
    server.tell("app.test", "AAAA", DnsReply::Empty);
    weir.wait_for(&["10.0.0.2:80"]);
}

#[test]
fn a_name_that_comes_to_life_later_is_found() {
    let farm = Farm::new(1);
    let server = DnsServer::start();
    let weir = Discovering::new(&dns(&server, farm.port));
    weir.wait_for_failure("NXDOMAIN");
    assert_eq!(weir.get().status(), 503);
    server.tell_addresses("app.test", &[farm.ip(1)]);
    weir.wait_for(&[&farm.name(1)]);
    assert_eq!(weir.get().status(), 200);
}

#[test]
fn a_reload_keeps_what_was_discovered() {
    let farm = Farm::new(2);
    let server = DnsServer::start();
    server.tell_addresses("app.test", &[farm.ip(1)]);
    let weir = Discovering::new(&dns(&server, farm.port));
    assert_eq!(weir.get().status(), 200);
    server.tell("app.test", "A", DnsReply::ServFail);
    weir.wait_for_failure("SERVFAIL");
    let before = weir.0.snapshot().pool("app").unwrap().1.clone();
    // The same again, and then with another key: nobody can be asked, and nothing is lost.
    weir.0.reload_text(&text(&dns(&server, farm.port))).unwrap();
    let after = weir.0.snapshot().pool("app").unwrap().1.clone();
    assert!(std::sync::Arc::ptr_eq(&before, &after), "the pool is the very same");
    let changed = format!("{}, backends: ['{}'], connect_timeout: 1s", dns(&server, farm.port), farm.name(2));
    weir.0.reload_text(&text(&changed)).unwrap();
    assert_eq!(weir.backends(), [farm.name(2), farm.name(1)], "beside those of the file");
    // Without the key they are gone.
    weir.0.reload_text(&text(&format!("backends: ['{}']", farm.name(2)))).unwrap();
    assert_eq!(weir.backends(), [farm.name(2)]);
    assert!(weir.discovery().is_null());
    // With it again they are found again, however soon that is.
    server.tell_addresses("app.test", &[farm.ip(1)]);
    weir.0.reload_text(&text(&dns(&server, farm.port))).unwrap();
    weir.wait_for(&[&farm.name(1)]);
}

#[test]
fn what_cannot_be_a_backend_is_left_out_alone() {
    let farm = Farm::new(1);
    let server = DnsServer::start();
    server.tell_addresses("app.test", &[farm.ip(1), Ipv4Addr::UNSPECIFIED]);
    let weir = Discovering::new(&dns(&server, farm.port));
    weir.wait_for(&[&farm.name(1)]);
    wait_until("the other one is said to be left out", || {
        weir.discovery()["left_out"].to_string().contains("`0.0.0.0` is no address to connect to")
    });
}

#[test]
fn weir_itself_is_never_discovered() {
    let farm = Farm::new(1);
    let server = DnsServer::start();
    server.tell_addresses("app.test", &[Ipv4Addr::LOCALHOST, farm.ip(1)]);
    // The listener is at the very port that the name is discovered with.
    let weir = Discovering(
        weir::app::App::from_text(&format!(
            "workers: 1\nadmin: {{ bind: 127.0.0.1:0 }}\nlisteners:\n  web: {{ bind: '127.0.0.1:{}', protocol: http, \
             pool: app }}\npools:\n  app: {{ {} }}\n",
            farm.port,
            dns(&server, farm.port)
        ))
        .unwrap(),
    );
    weir.wait_for(&[&farm.name(1)]);
    wait_until("the listener is said to be left out", || {
        weir.discovery()["left_out"].to_string().contains("weir's own listener `web`")
    });
}

#[test]
fn services_have_ports_and_weights() {
    let farm = Farm::new(2);
    let server = DnsServer::start();
    let service = |priority, weight, target: &str| {
        DnsRecord::from(DnsData::Srv(priority, weight, farm.port, target.to_owned()))
    };
    server.tell_addresses("one.test", &[farm.ip(1)]);
    server.tell_addresses("two.test", &[farm.ip(2)]);
    let name = "_http._tcp.app.test";
    let tell = |records| server.tell(name, "SRV", DnsReply::Records(records));
    tell(vec![service(10, 3, "two.test"), service(10, 1, "one.test")]);
    let weir = Discovering::new(&format!(
        "discover: {{ srv: {name}, servers: ['{}'], refresh: 1s }}",
        server.address()
    ));
    assert_eq!(weir.get().status(), 200);
    let weights = || -> Vec<(String, u32)> {
        let snapshot = weir.0.snapshot();
        let backends = &snapshot.pool("app").unwrap().1.backends;
        backends.iter().map(|backend| (backend.name.to_string(), backend.weight)).collect()
    };
    let named = |target: &str, weight| (format!("{target}:{}", farm.port), weight);
    assert_eq!(weights(), [named("one.test", 1), named("two.test", 3)]);
    let mut client = RawClient::connect(weir.0.address("web"));
    let two = (0..40).filter(|_| client.get("/").text() == farm.name(2)).count();
    assert_eq!(two, 30, "three of four requests go to the one of weight 3");

    // A higher number is a backup.
    tell(vec![service(10, 1, "one.test"), service(20, 1, "two.test")]);
    let backups = || -> Vec<bool> {
        weir.0.snapshot().pool("app").unwrap().1.backends.iter().map(|backend| backend.backup).collect()
    };
    wait_until("there is a backup", || backups() == [false, true]);
    assert!((0..10).all(|_| client.get("/").text() == farm.name(1)));

    // A target whose name is gone is left out; one without a service says so.
    tell(vec![service(10, 0, "one.test"), service(10, 0, "gone.test")]);
    wait_until("the one that is left is there", || weights() == [named("one.test", 1)]);
    wait_until("the other one is said to be left out", || {
        weir.discovery()["left_out"].to_string().contains("gone.test")
    });
    server.tell(name, "SRV", DnsReply::Records(vec![service(0, 0, ".")]));
    weir.wait_for_failure("no SRV record");
    assert_eq!(weights(), [named("one.test", 1)]);
}
