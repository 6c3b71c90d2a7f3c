//! Who is tried again while a reload gives the pool other backends: it goes to those.

use std::sync::{Arc, Barrier, atomic::Ordering};

use weir_testkit::{Answer, FakeBackend, RawClient, Refusing, wait_until};

use super::{LONG, ask, echo, file, held, is_empty, pool, queued};
use crate::support::Weir;

/// A backend that takes requests and, when it is let, does this with them.
fn failing(answer: fn() -> Answer) -> (FakeBackend, Arc<Barrier>) {
    let barrier = Arc::new(Barrier::new(2));
    let inside = barrier.clone();
    let backend = FakeBackend::answering_each(move |_| {
        inside.wait();
        inside.wait();
        answer()
    });
    (backend, barrier)
}

fn pool_of(backends: &str) -> String {
    format!(
        "workers: 1\ndebug_headers: true\nlisteners:\n  web:\n    bind: '127.0.0.1:0'\n    protocol: http\n    \
         routes: [{{ name: all, pool: app, retry: {{ retry_on: [connect, reset, 503] }} }}]\n\
         pools: {{ app: {{ backends: [{backends}], {LONG} }} }}\n"
    )
}

#[test]
fn who_is_tried_again_goes_to_the_backends_of_the_day() {
    let unwilling = || Answer::bytes("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    for answer in [Answer::close as fn() -> Answer, unwilling] {
        let (one, inside) = failing(answer);
        let two = FakeBackend::answering(Answer::ok("two"));
        let weir = Weir::from_text(&pool_of(&format!("'{}'", one.address())));
        let mut client = ask(&weir, "/");
        inside.wait();
        weir.app().reload_text(&pool_of(&format!("'{}'", two.address()))).unwrap();
        inside.wait();
        let told = client.final_response("GET");
        assert_eq!((told.status(), told.text()), (200, "two".into()), "{told}");
        assert_eq!(told.header("weir-backend"), Some(&*two.address().to_string()));
        is_empty(&weir);
    }
}

#[test]
fn who_waits_to_be_tried_again_goes_to_the_backends_of_the_day() {
    let (refusing, full, new) = (Refusing::new(), held("full"), held("new"));
    let balance = format!("balance: first\n    {LONG}");
    let before = file(1, "http", &balance, &[(&full, "max_connections: 1")]);
    let first = format!("backends:\n      - {{ address: '{}', max_connections: 9 }}\n", refusing.address());
    let before = before.replace("backends:\n", &first);
    let weir = Weir::from_text(&before);
    let mut first = ask(&weir, "/first");
    full.has(1);
    let mut second = queued(&weir, "/second", 1);
    weir.app().reload_text(&file(1, "http", LONG, &[(&new, "max_connections: 1")])).unwrap();
    new.has(1);
    full.inside.let_go(1);
    new.inside.let_go(1);
    let names = [&mut first, &mut second].map(|client| client.final_response("GET").text());
    assert_eq!(names, ["full", "new"]);
    is_empty(&weir);
}

#[test]
fn connections_that_wait_to_be_tried_again_do_so_too() {
    let (refusing, full, new) = (Refusing::new(), echo(), echo());
    let text = |backends: &str| {
        format!(
            "workers: 1\nlisteners: {{ web: {{ bind: '127.0.0.1:0', protocol: tcp, pool: app }} }}\n\
             pools:\n  app: {{ balance: first, backends: [{backends}], {LONG} }}\n"
        )
    };
    let before = format!(
        "{{ address: '{}', max_connections: 9 }}, {{ address: '{}', max_connections: 1 }}",
        refusing.address(),
        full.address()
    );
    let weir = Weir::from_text(&text(&before));
    let mut first = RawClient::connect(weir.address());
    first.send("a");
    assert_eq!(first.read_exact(1), b"a");
    let mut second = RawClient::connect(weir.address());
    second.send("b");
    wait_until("it waits", || pool(&weir).status.pending.load(Ordering::SeqCst) == 1);
    weir.app().reload_text(&text(&format!("'{}'", new.address()))).unwrap();
    assert_eq!(second.read_exact(1), b"b");
    assert_eq!(new.accepted(), 1);
    drop((first, second));
    is_empty(&weir);
}
