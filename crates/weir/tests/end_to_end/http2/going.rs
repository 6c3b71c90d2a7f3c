//! Connections that are told to go: because they are old, or the process or their address is.

use std::{sync::atomic::Ordering, thread, time::Duration};

use weir::app::App;
use weir_testkit::{Answer, BlackHole, FakeBackend, wait_until};

use super::client::{Client, request};
use crate::support::Setup;

/// A backend that answers `/slow` when it is asked to go on.
fn backend() -> FakeBackend {
    FakeBackend::custom(|mut connection| {
        while let Some(request) = connection.read_request() {
            if request.target() == "/slow" {
                thread::sleep(Duration::from_millis(700));
            }
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    })
}

#[test]
fn an_old_connection_is_told_to_go_and_loses_nothing() {
    let backend = backend();
    let weir = Setup::http(&[backend.address()]).listener("timeouts: { max_age: 1s }").start();
    let client = Client::connect(weir.address());
    let mut count = 0;
    let mut slow = None;
    // What is sent before the connection is known to go is answered.
    while let Ok(asked) = client.begin(request("GET", "/"), true) {
        if count == 20 {
            slow = client.begin(request("GET", "/slow"), true).ok();
        }
        match client.wait(asked) {
            Ok(reply) => assert_eq!(reply.text(), "ok"),
            // It crossed the second word of our going: nothing was done with it, and the client knows.
            Err(error) => {
                assert!(error.contains("not a result of an error"), "{error}");
                break;
            }
        }
        count += 1;
        client.pause(Duration::from_millis(5));
    }
    if let Some(slow) = slow {
        assert_eq!(client.wait(slow).unwrap().text(), "ok");
    }
    assert!(count > 20, "{count}");
    wait_until("the connection has ended", || client.is_over());
    assert_eq!(Client::connect(weir.address()).get("/").unwrap().text(), "ok");
}

#[test]
fn an_idle_connection_ends_in_an_orderly_way() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let weir = Setup::http(&[backend.address()]).listener("timeouts: { idle: 200ms }").start();
    let client = Client::connect(weir.address());
    assert_eq!(client.get("/").unwrap().text(), "ok");
    wait_until("the connection has ended", || client.is_over());
}

#[test]
fn a_process_that_stops_finishes_what_is_under_way() {
    let backend = backend();
    let text = format!(
        "workers: 1\nshutdown: {{ announce: 0s, drain: 20s }}\nlisteners:\n  web: {{ bind: '127.0.0.1:0', protocol: http, pool: app }}\n\
         pools:\n  app: {{ backends: ['{}'] }}\n",
        backend.address()
    );
    let app = App::from_text(&text).unwrap();
    let client = Client::connect(app.address("web"));
    assert_eq!(client.get("/").unwrap().text(), "ok");
    let slow = client.begin(request("GET", "/slow"), true).unwrap();
    client.pause(Duration::from_millis(100));
    thread::scope(|scope| {
        let cut = scope.spawn(move || app.shutdown(&|| false));
        assert_eq!(client.wait(slow).unwrap().text(), "ok");
        wait_until("the connection has ended", || client.is_over());
        assert_eq!(cut.join().unwrap(), 0);
    });
}

#[test]
fn who_waits_for_a_connection_to_a_backend_when_the_process_stops_is_told_and_logged() {
    let (hole, mute) =
        (BlackHole::new(), FakeBackend::custom(|mut connection| drop(connection.read_to_end())));
    for (keys, address) in [("", hole.address()), ("protocol: h2, ", mute.address())] {
        let folder = weir_testkit::Folder::new("streams-at-the-end");
        let log = folder.join("access.log");
        let text = format!(
            "workers: 1\nshutdown: {{ announce: 0s, drain: 0s }}\naccess_log: {{ path: '{}', format: '$status $cause' }}\n\
             listeners:\n  web: {{ bind: '127.0.0.1:0', protocol: http, pool: app }}\n\
             pools:\n  app: {{ {keys}connect_timeout: 1h, backends: ['{address}'] }}\n",
            log.display(),
        );
        let app = App::from_text(&text).unwrap();
        let client = Client::connect(app.address("web"));
        let waiting = [(); 2].map(|()| client.begin(request("GET", "/"), true).unwrap());
        let pool = app.snapshot().pools[0].clone();
        wait_until("they wait", || pool.backends[0].status.active.load(Ordering::SeqCst) == 2);
        app.shutdown(&|| false);
        for asked in waiting {
            assert_eq!(client.wait(asked).unwrap().status, 503);
        }
        assert_eq!(std::fs::read_to_string(log).unwrap(), "503 process_stopped\n".repeat(2));
    }
}
