//! New programs that do not come to serve: the old one goes on, and says why.

use std::{fs, path::Path, thread};

use rustix::process::{Pid, Signal, kill_process};
use weir_testkit::{Answer, FakeBackend, RawClient, wait_until};

use crate::world::{World, echo, is_there};

#[test]
fn whatever_the_new_program_does_the_old_one_goes_on() {
    let (web, tcp) = (FakeBackend::answering(Answer::ok("ok")), echo());
    let mut world = World::new("failing");
    let good = world.text(2, &web, &tcp);
    world.write(&good);
    world.run();
    let pid = world.newest();
    let mut session = RawClient::connect(world.tcp);
    assert_eq!(session.send("x").read_exact(1), b"x");
    let mut kept = RawClient::connect(world.web);
    let mut goes_on = |why: &str| {
        let answer = kept.get("/");
        assert_eq!((answer.status(), answer.header("connection")), (200, None), "{why}");
        assert_eq!(RawClient::connect(world.web).get("/").status(), 200, "{why}");
        assert_eq!(session.send("x").read_exact(1), b"x");
        assert!(is_there(pid) && world.pids() == [pid], "{why}");
        assert!(world.folder.join("tcp.sock").exists() && world.folder.join("admin.sock").exists(), "{why}");
    };
    let fails = |with: &[&str]| {
        let (code, said) = world.upgrade();
        assert!(code == 1 && with.iter().all(|part| said.contains(part)), "{with:?}: {code} {said}");
        wait_until("it is written down", || world.log().contains("upgrade failed, this process goes on: "));
        fs::write(world.folder.join("log"), "").unwrap();
    };

    world.write(&format!("{good}wurkers: 2\n").replace("protocol: tcp", "protocol: gopher"));
    fails(&[
        "the new process cannot serve",
        "unknown key `wurkers`",
        "did you mean `workers`?",
        "this process goes on",
    ]);
    goes_on("a broken configuration");

    // An address that somebody else has.
    let taken = std::net::TcpListener::bind("127.0.0.61:0").unwrap();
    let more =
        format!("  more: {{ bind: '{}', protocol: http, pool: app }}\npools:", taken.local_addr().unwrap());
    world.write(&good.replace("pools:", &more));
    fails(&["cannot be bound", "more"]);
    goes_on("an address that is taken");
    world.write(&good);

    world.install(Path::new("/bin/false"));
    fails(&["the new process ended before it could serve: exit code 1"]);
    goes_on("a program that ends");

    world.install_script("no program\n");
    fails(&["./weir` cannot be started: "]);
    goes_on("a file that cannot be run");

    world.install_script("#!/bin/sh\necho $$ > pid\nexec sleep 1000\n");
    thread::scope(|scope| {
        let failing = scope.spawn(|| fails(&["killed by signal 9"]));
        let sleeper = || fs::read_to_string(world.folder.join("pid")).ok()?.trim().parse().ok();
        wait_until("it was started", || sleeper().is_some());
        kill_process(Pid::from_raw(sleeper().unwrap()).unwrap(), Signal::KILL).unwrap();
        failing.join().unwrap();
    });
    goes_on("a program that is killed before it is ready");

    world.install_script("#!/bin/sh\necho '{\"hello\": 1}' >&0\nexec sleep 1000\n");
    fails(&["the new process speaks another language"]);
    goes_on("a program that says something else");

    world.install_script("#!/bin/sh\necho '{\"ready\": {\"version\": \"9\"}}' >&0\nread word\nexit 3\n");
    fails(&["the new process ended before it could serve: exit code 3"]);
    goes_on("a program that ends when it gets the word");

    world.install_script("#!/bin/sh\necho '{\"failed\": {\"error\": \"no\"}}' >&0\nexec sleep 1000\n");
    fails(&["the new process cannot serve: no"]);
    goes_on("a program that says that it cannot, and stays");

    fs::remove_file(world.folder.join("weir")).unwrap();
    fails(&["./weir` cannot be started: "]);
    goes_on("no program at all");

    world.install(Path::new(env!("CARGO_BIN_EXE_weir")));
    let (code, said) = world.upgrade();
    assert!(code == 0 && said.contains(" serves with weir "), "{said}");
    assert_eq!(kept.get("/").header("connection"), Some("close"));
    assert_eq!(session.send("x").read_exact(1), b"x");
    assert_eq!(RawClient::connect(world.web).get("/").header("connection"), None);
}

#[test]
fn who_is_told_to_stop_meanwhile_stops() {
    let (web, tcp) = (FakeBackend::answering(Answer::ok("ok")), echo());
    let mut world = World::new("stopped");
    world.write(&world.text(1, &web, &tcp));
    world.run();
    world.install_script("#!/bin/sh\necho $$ > pid\nexec sleep 1000\n");
    kill_process(world.newest(), Signal::USR2).unwrap();
    let sleeper = || fs::read_to_string(world.folder.join("pid")).ok()?.trim().parse().ok();
    wait_until("the new one was started", || sleeper().is_some());
    kill_process(world.newest(), Signal::TERM).unwrap();
    assert!(world.child.as_mut().unwrap().wait().unwrap().success());
    let sleeper = Pid::from_raw(sleeper().unwrap()).unwrap();
    wait_until("the new one was ended", || !is_there(sleeper));
    assert!(world.log().contains("stopped; nothing was cut"), "{}", world.log());
}
