//! More connections than there may be: new ones wait, those that are there live on, and service resumes.

use std::{net::SocketAddr, time::Duration};

use weir_testkit::{FakeBackend, RawClient, wait_until};

use crate::{
    reload::free_port,
    support::{Setup, Weir},
};

/// True if nothing comes back for a while.
fn waits(client: &mut RawClient) -> bool {
    client.read_until_quiet(Duration::from_millis(300)).0.is_empty()
}

fn ask(address: SocketAddr) -> RawClient {
    let mut client = RawClient::connect(address);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client
}

fn new_ones_wait(weir: &Weir) {
    let mut first = RawClient::connect(weir.address());
    let mut second = RawClient::connect(weir.address());
    assert_eq!((first.get("/").status(), second.get("/").status()), (200, 200));
    let mut third = ask(weir.address());
    assert!(waits(&mut third), "a third connection was served");
    assert_eq!(first.get("/").status(), 200, "those that are there live on");
    drop(second);
    assert_eq!(third.final_response("GET").status(), 200, "service resumes");
    let mut fourth = ask(weir.address());
    assert!(waits(&mut fourth));
    drop((first, third));
    assert_eq!(fourth.final_response("GET").status(), 200);
}

#[test]
fn beyond_max_connections_new_ones_wait() {
    let backend = FakeBackend::echo();
    new_ones_wait(&Setup::http(&[backend.address()]).listener("max_connections: 2").start());
}

#[test]
fn beyond_the_limit_of_the_process_new_ones_wait() {
    let backend = FakeBackend::echo();
    let weir = Weir::from_text(&format!(
        "workers: 1\nlimits: {{ connections: 2 }}\nlisteners:\n  web: {{ bind: 127.0.0.1:0, protocol: http, pool: app }}\n\
         pools:\n  app: {{ backends: [\"{}\"] }}\n",
        backend.address()
    ));
    new_ones_wait(&weir);
}

#[test]
fn a_reload_that_raises_the_limit_lets_them_in() {
    let backend = FakeBackend::echo();
    let text = |most: u32| {
        format!(
            "workers: 1\nlisteners:\n  web: {{ bind: 127.0.0.1:0, protocol: http, max_connections: {most}, pool: app }}\n\
             pools:\n  app: {{ backends: [\"{}\"] }}\n",
            backend.address()
        )
    };
    let weir = Weir::from_text(&text(1));
    let mut first = RawClient::connect(weir.address());
    assert_eq!(first.get("/").status(), 200);
    let mut second = ask(weir.address());
    assert!(waits(&mut second));
    weir.app().reload_text(&text(2)).unwrap();
    assert_eq!(second.final_response("GET").status(), 200);
    assert_eq!(first.get("/").status(), 200);
}

#[test]
fn a_listener_of_another_name_has_the_connections_of_its_address() {
    let backend = FakeBackend::echo();
    let port = free_port("127.0.0.29");
    let text = |name: &str| {
        format!(
            "workers: 1\nlisteners:\n  {name}: {{ bind: '{port}', protocol: http, max_connections: 2, pool: app }}\n\
             pools:\n  app: {{ backends: [\"{}\"] }}\n",
            backend.address()
        )
    };
    let weir = Weir::from_text(&text("web"));
    let (mut first, mut second) = (RawClient::connect(port), RawClient::connect(port));
    assert_eq!((first.get("/").status(), second.get("/").status()), (200, 200));
    let mut third = ask(port);
    weir.app().reload_text(&text("shop")).unwrap();
    weir.app().reload_text(&text("store")).unwrap();
    assert!(waits(&mut third), "a third connection was served");
    assert_eq!((first.get("/").status(), second.get("/").status()), (200, 200));
    let status = weir.app().snapshot().listeners[0].status.clone();
    assert_eq!((status.open(), status.shards.of(0).accepted.value()), (2, 0));
    drop(first);
    assert_eq!(third.final_response("GET").status(), 200, "service resumes");
    drop((second, third));
    wait_until("all are gone", || status.open() == 0);
}
