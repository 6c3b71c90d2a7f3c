//! Backends that are given by a host name, which stands for all its addresses.

use std::{net::SocketAddr, sync::Arc};

use weir::app::App;
use weir_model::status::{BackendStatus, Health};
use weir_testkit::{
    Answer, Authority, BlackHole, FakeBackend, Folder, RawClient, Refusing, TlsServer, wait_until,
};

use crate::{http2_backend::h2_backend::H2Backend, reload::free_port, support::Weir};

const H2: &str = "protocol: h2";

/// A pool with the one backend `localhost`, whose addresses are then said to be these: what the name stands for on the
/// machine that tests, no test may know. It is looked up again after seconds only, and what is found then is what was found
/// before.
fn named(protocol: &str, pool: &str, addresses: &[SocketAddr]) -> Weir {
    let weir = Weir::from_text(&format!(
        "workers: 1\n\
         listeners: {{ web: {{ bind: '127.0.0.1:0', protocol: {protocol}, pool: app }} }}\n\
         pools:\n  app:\n    backends: ['localhost:{}']\n    {pool}\n",
        addresses[0].port()
    ));
    wait_until("its name is resolved", || status(&weir).health() == Health::Up);
    status(&weir).addresses.store(Arc::new(addresses.to_vec()));
    weir
}

fn status(weir: &Weir) -> Arc<BackendStatus> {
    weir.app().snapshot().pools[0].backends[0].status.clone()
}

fn errors(weir: &Weir) -> u64 {
    status(weir).shards.sum(|shard| shard.errors.value())
}

#[test]
fn a_name_is_reached_at_any_of_its_addresses() {
    let (refusing, backend, h2) = (Refusing::new(), FakeBackend::echo(), H2Backend::start());
    let (root, folder) = (Authority::new("Names"), Folder::new("names"));
    root.write(&folder, "ca.pem");
    let secure = FakeBackend::tls(&TlsServer::new(&root.server(&["localhost"])), Answer::ok("secure"));
    let tls = format!("keepalive: {{ max_requests: 1 }}\n    tls: {{ ca: {}/ca.pem }}", folder.display());
    let worlds =
        [("keepalive: { max_requests: 1 }", backend.address()), (&tls, secure.address()), (H2, h2.address())];
    for (pool, address) in worlds {
        // By lot one of the two comes first: each time anew, since what a worker knows of them goes with it.
        for _ in 0..6 {
            let weir = named("http", pool, &[refusing.address(), address]);
            for _ in 0..3 {
                assert_eq!(RawClient::connect(weir.address()).get("/").status(), 200, "{pool}");
            }
            assert_eq!(errors(&weir), 0, "{pool}");
        }
    }
}

#[test]
fn so_it_is_for_tcp() {
    let (refusing, backend) = (Refusing::new(), FakeBackend::echo());
    for _ in 0..6 {
        let weir = named("tcp", "", &[refusing.address(), backend.address()]);
        for _ in 0..3 {
            assert_eq!(RawClient::connect(weir.address()).get("/").status(), 200);
        }
        assert_eq!(errors(&weir), 0);
    }
}

#[test]
fn a_name_has_failed_when_its_last_address_has() {
    let refusing = [Refusing::new(), Refusing::new(), Refusing::new()];
    let addresses: Vec<_> = refusing.iter().map(Refusing::address).collect();
    let weir = named("http", "", &addresses);
    for count in 1..=3 {
        assert_eq!(RawClient::connect(weir.address()).get("/").status(), 502);
        assert_eq!(errors(&weir), count);
    }
}

#[test]
fn an_address_that_swallows_everything_leaves_time_for_the_others() {
    let (hole, backend) = (BlackHole::new(), FakeBackend::echo());
    // The one that swallows comes first in every order but one in three, and is behind the other from then on.
    for _ in 0..4 {
        let weir =
            named("http", "connect_timeout: 600ms", &[hole.address(), hole.address(), backend.address()]);
        assert_eq!(RawClient::connect(weir.address()).get("/").status(), 200);
        assert_eq!(errors(&weir), 0);
    }
}

#[test]
fn a_name_that_stands_for_the_own_listener_is_down() {
    let port = free_port("127.0.0.41");
    // A number that the system's resolver takes for 127.0.0.41, on every machine and without asking anybody.
    let weir = Weir::from_text(&format!(
        "workers: 1\n\
         listeners: {{ web: {{ bind: '{port}', protocol: http, pool: app }} }}\n\
         pools: {{ app: {{ backends: ['0x7f000029:{}'] }} }}\n",
        port.port()
    ));
    wait_until("it is known that this is weir itself", || {
        let said = status(&weir).reason().contains("127.0.0.41 is weir's own listener `web`");
        said && status(&weir).health() == Health::Down
    });
    assert_eq!(RawClient::connect(weir.address()).get("/").status(), 503);
    assert!(status(&weir).addresses.load().is_empty());
}

#[test]
fn a_circle_through_several_listeners_is_seen_too() {
    let (front, back) = (free_port("127.0.0.43"), free_port("127.0.0.44"));
    // A number that the system's resolver takes for 127.0.0.43.
    let weir = Weir::from_text(&format!(
        "workers: 1\n\
         listeners:\n  front: {{ bind: '{front}', protocol: http, pool: app }}\n  \
         back: {{ bind: '{back}', protocol: http, pool: around }}\n\
         pools:\n  app: {{ backends: ['{back}'] }}\n  around: {{ backends: ['0x7f00002b:{}'] }}\n",
        front.port()
    ));
    let around =
        weir.app().snapshot().pool("around").map(|(_, pool)| pool.backends[0].status.clone()).unwrap();
    wait_until("it is known that this is weir itself", || {
        around.reason().contains("127.0.0.43 is weir's own listener `front`")
    });
    assert_eq!(RawClient::connect(front).get("/").status(), 503);
}

#[test]
fn an_own_listener_is_known_by_an_address_of_the_other_family_too() {
    let port = free_port("127.0.0.42");
    let text = format!(
        "listeners: {{ web: {{ bind: '{port}', protocol: http, pool: app }} }}\n\
         pools: {{ app: {{ backends: ['[::ffff:127.0.0.42]:{}'] }} }}\n",
        port.port()
    );
    let Err(error) = App::from_text(&text) else { panic!("{text} is taken") };
    assert!(error.to_string().contains("weir's own listener `web`"), "{error}");
}
