//! What survives an upgrade: what operators set, what is known of backends, sockets, and the access log.

use std::{fs, os::unix::net::UnixStream};

use rustix::process::{Signal, kill_process};
use serde_json::Value;
use weir_testkit::{Answer, Authority, FakeBackend, RawClient, TlsClient, TlsVersion, wait_until};

use crate::world::{World, echo, is_there};

fn backend(status: &Value) -> (Value, Value, Value, Value) {
    let one = &status["pools"][0]["backends"][0];
    (one["state"].clone(), one["weight"].clone(), one["set_by"].clone(), one["health"].clone())
}

#[test]
fn orders_health_sockets_and_logs_survive() {
    let (web, tcp) = (FakeBackend::answering(Answer::ok("ok")), echo());
    let mut world = World::new("state");
    // No check comes for an hour: what the new process knows, it was told.
    let text = world.text(1, &web, &tcp).replace("interval: 1s", "interval: 1h, initial: up");
    let text = format!("{text}access_log: access.json\nupgrade: {{ drain: 20s }}\n");
    world.write(&text);
    world.run();
    let first = world.newest();
    assert!(world.weir(&["drain", "app", "one"]).status.success());
    let orders = |world: &World| backend(&world.status());
    assert_eq!(orders(&world).0, "draining");
    assert_eq!(RawClient::connect(world.web).get("/").status(), 503);

    let unchecked = text.replace(", initial: up", "");
    world.write(&unchecked);
    kill_process(first, Signal::USR2).unwrap();
    wait_until("another process serves", || world.pids().len() == 2);
    assert_eq!(orders(&world), ("draining".into(), 1.into(), "operator".into(), "up".into()));
    assert!(world.weir(&["enable", "app", "one"]).status.success());
    assert_eq!(RawClient::connect(world.web).get("/").text(), "ok");
    wait_until("the first process has nothing left and ends", || !is_there(first));
    assert!(world.child.as_mut().unwrap().wait().unwrap().success());

    // A value that the file has changed since counts more than an order.
    assert!(world.weir(&["disable", "app", "one"]).status.success());
    world.write(&unchecked.replace("name: one }", "name: one, weight: 3 }"));
    assert_eq!(world.upgrade().0, 0);
    wait_until("it is written down", || world.pids().len() == 3);
    assert_eq!(orders(&world), ("disabled".into(), 3.into(), "operator".into(), "up".into()));

    UnixStream::connect(world.folder.join("tcp.sock")).unwrap();
    let count = world.pids().len();
    kill_process(world.newest(), Signal::TERM).unwrap();
    wait_until("all have ended", || world.pids().iter().all(|pid| !is_there(*pid)));
    assert_eq!(count, 3);
    let lines = fs::read_to_string(world.folder.join("access.json")).unwrap();
    let statuses: Vec<_> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["status"].as_u64().unwrap_or_default())
        .filter(|status| *status > 0)
        .collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == 503).count(),
        1,
        "both processes write to one file"
    );
    assert!(statuses.iter().filter(|status| **status == 200).count() >= 2, "{statuses:?}");
}

#[test]
fn what_the_new_configuration_binds_and_does_not_bind() {
    let (web, tcp) = (FakeBackend::answering(Answer::ok("ok")), echo());
    let mut world = World::new("binds");
    let text = world.text(2, &web, &tcp);
    world.write(&text);
    world.run();
    let other = crate::world::free();
    let mut session = RawClient::connect(world.tcp);
    assert_eq!(session.send("x").read_exact(1), b"x");
    // Another address for TCP, and another place for operators.
    let next = text.replace(&world.tcp.to_string(), &other.to_string()).replace(", 'unix:tcp.sock'", "");
    world.write(&next.replace("unix:admin.sock", "unix:other.sock"));
    // The file no longer says where the running process is.
    let output = world.weir(&["upgrade", "--admin", "unix:admin.sock", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    wait_until("it is written down", || world.pids().len() == 2);
    assert_eq!(told["pid"], world.newest().as_raw_pid());
    assert_eq!(told["drain_ms"], 3_600_000);
    assert!(RawClient::try_connect(world.tcp).is_err(), "nobody listens there any more");
    assert_eq!(RawClient::connect(other).send("y").read_exact(1), b"y");
    assert_eq!(session.send("z").read_exact(1), b"z", "the old process still has it");
    assert!(!world.folder.join("tcp.sock").exists() && world.folder.join("other.sock").exists());
    wait_until("the old place for operators is gone", || !world.folder.join("admin.sock").exists());
    assert_eq!(world.status()["listeners"][1]["name"], "web");
}

#[test]
fn orders_that_come_while_another_process_starts_are_not_lost() {
    let (web, tcp) = (FakeBackend::answering(Answer::ok("ok")), echo());
    let mut world = World::new("orders");
    world.write(&world.text(1, &web, &tcp));
    world.run();
    let real = env!("CARGO_BIN_EXE_weir");
    world.install_script(&format!(
        "#!/bin/sh\ntouch started\nwhile [ ! -e continue ]; do sleep 0.05; done\nexec {real} \"$@\"\n"
    ));
    kill_process(world.newest(), Signal::USR2).unwrap();
    wait_until("the new one is started", || world.folder.join("started").exists());
    assert!(world.weir(&["disable", "app", "one"]).status.success());
    fs::write(world.folder.join("continue"), "").unwrap();
    wait_until("another process serves", || world.pids().len() == 2);
    assert_eq!(backend(&world.status()).0, "disabled");
    assert_eq!(RawClient::connect(world.web).get("/").status(), 503);
}

#[test]
fn what_does_not_end_in_time_is_cut_and_counted() {
    let (web, tcp) = (FakeBackend::answering(Answer::ok("ok")), echo());
    let mut world = World::new("cut");
    let text = world.text(1, &web, &tcp);
    world.write(&format!("{text}upgrade: {{ drain: 300ms }}\n"));
    world.run();
    let mut session = RawClient::connect(world.tcp);
    assert_eq!(session.send("x").read_exact(1), b"x");
    assert_eq!(world.upgrade().0, 0);
    assert!(session.closed());
    wait_until("it is counted", || {
        world.log().contains("stopped; 1 connection was cut (tcp 1); in flight to backends: 1")
    });

    // One that is asked to end has `shutdown.drain`, and ends at once when it is asked again.
    world.write(&format!("{text}upgrade: {{ drain: none }}\n"));
    wait_until("it is written down", || world.pids().len() == 2);
    let second = world.newest();
    assert_eq!(world.upgrade().0, 0);
    let pids = || world.pids().len();
    wait_until("it is written down", || pids() == 3);
    wait_until("what has no connection left ends", || !is_there(second));
    let third = world.newest();
    let mut session = RawClient::connect(world.tcp);
    assert_eq!(session.send("x").read_exact(1), b"x");
    assert_eq!(world.upgrade().0, 0);
    wait_until("it is written down", || pids() == 4);
    kill_process(third, Signal::TERM).unwrap();
    wait_until("it has heard", || {
        world.log().contains("stopping: another process serves; 1 connection is open")
    });
    assert_eq!(session.send("x").read_exact(1), b"x");
    kill_process(third, Signal::TERM).unwrap();
    assert!(session.closed());
    wait_until("it ends", || !is_there(third));
}

#[test]
fn what_was_discovered_stays_although_nobody_answers_any_more() {
    let (web, tcp) = (FakeBackend::answering(Answer::ok("ok")), echo());
    let mut world = World::new("found");
    let written = format!("backends: [{{ address: '{}', name: one }}]", web.address());
    world.write(&world.text(1, &web, &tcp).replace(&written, "discover: { file: backends.json }"));
    let found =
        |name: &str, more: &str| format!(r#"{{ "address": "{}", "name": "{name}"{more} }}"#, web.address());
    let list = format!("[{}, {}]", found("one", ""), found("two", r#", "weight": 3, "state": "draining""#));
    fs::write(world.folder.join("backends.json"), list).unwrap();
    world.run();
    assert!(world.weir(&["enable", "app", "two"]).status.success());
    assert!(world.weir(&["disable", "app", "one"]).status.success());
    fs::write(world.folder.join("backends.json"), "nonsense").unwrap();
    // The second time, the answer of the first process is known to nobody but the second.
    for round in 2..4 {
        assert_eq!(world.upgrade().0, 0);
        wait_until("it is written down", || world.pids().len() == round);
        assert_eq!(RawClient::connect(world.web).get("/").text(), "ok");
        let status = world.status();
        let told = |index: usize| {
            let backend = &status["pools"][0]["backends"][index];
            (
                backend["name"].clone(),
                backend["state"].clone(),
                backend["weight"].clone(),
                backend["health"].clone(),
            )
        };
        assert_eq!(told(0), ("one".into(), "disabled".into(), 1.into(), "up".into()));
        assert_eq!(told(1), ("two".into(), "active".into(), 3.into(), "up".into()));
    }
}

#[test]
fn tls_sessions_are_taken_up_again_by_the_next_process() {
    let (web, tcp) = (FakeBackend::answering(Answer::ok("ok")), echo());
    let mut world = World::new("tickets");
    let authority = Authority::new("Root");
    authority.server(&["a.test"]).write(&world.folder, "site");
    let secure = crate::world::free();
    let listener = format!(
        "listeners:\n  secure: {{ bind: '{secure}', protocol: https, pool: app, tls: {{ certificates: [{{ cert: site.pem, key: site.key }}] }} }}"
    );
    world.write(&world.text(2, &web, &tcp).replace("listeners:", &listener));
    world.run();
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let client = TlsClient::with(&authority, "a.test", None, &[version], &[]);
        let resumed = || {
            let mut connection = RawClient::connect_tls(secure, &client);
            assert_eq!(connection.get("/").text(), "ok");
            connection.tls().unwrap().resumed
        };
        assert!(!resumed());
        assert!(resumed());
        let before = world.pids().len();
        assert_eq!(world.upgrade().0, 0);
        wait_until("it is written down", || world.pids().len() == before + 1);
        for _ in 0..4 {
            assert!(resumed(), "{version:?}");
        }
    }
}
