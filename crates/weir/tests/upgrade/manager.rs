//! A service manager, as systemd is one: what it is told, and sockets that it opens.

use std::{
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener},
    },
    process::{Command, Stdio},
};

use rustix::process::{Signal, kill_process};
use weir_testkit::{Answer, DEADLINE, End, FakeBackend, RawClient, wait_until};

use crate::world::{World, echo, is_there};

/// Hears what the process says.
struct Ear(UnixDatagram);

impl Ear {
    fn of(world: &World) -> Self {
        let socket = UnixDatagram::bind(world.folder.join("notify.sock")).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(socket)
    }

    /// The next message that has this in it, and how many signs of life came before it.
    #[track_caller]
    fn hears(&self, part: &str) -> (String, usize) {
        let (mut room, mut alive) = ([0; 1000], 0);
        loop {
            let count =
                self.0.recv(&mut room).unwrap_or_else(|error| panic!("never heard of {part}: {error}"));
            let said = String::from_utf8(room[..count].to_vec()).unwrap();
            if said == "WATCHDOG=1" {
                alive += 1;
            }
            if said.contains(part) {
                return (said, alive);
            }
            assert_eq!(said, "WATCHDOG=1", "instead of {part}");
        }
    }
}

#[test]
fn the_manager_hears_of_every_step() {
    let (web, tcp) = (FakeBackend::answering(Answer::ok("ok")), echo());
    let mut world = World::new("notify");
    world.write(&world.text(1, &web, &tcp));
    let ear = Ear::of(&world);
    let mut command = world.command();
    command.env("NOTIFY_SOCKET", world.folder.join("notify.sock")).env("WATCHDOG_USEC", "200000");
    world.child = Some(command.spawn().unwrap());
    let first = world.newest();
    let (said, _) = ear.hears("READY=1");
    assert!(said.contains("STATUS=serving generation 1: 2 listeners, 2 pools"), "{said}");
    assert!(said.contains(&format!("MAINPID={}", first.as_raw_pid())), "{said}");
    ear.hears("WATCHDOG=1");
    ear.hears("WATCHDOG=1");

    kill_process(first, Signal::HUP).unwrap();
    let (said, _) = ear.hears("RELOADING=1");
    let micros = said.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(micros.parse::<u64>().unwrap() > 0);
    ear.hears("STATUS=serving generation 2");
    // One that is refused is over as well.
    world.write("listeners: {");
    kill_process(first, Signal::HUP).unwrap();
    ear.hears("RELOADING=1");
    ear.hears("STATUS=serving generation 2");

    world.write(&world.text(1, &web, &tcp));
    kill_process(first, Signal::USR2).unwrap();
    let (one, _) = ear.hears("MAINPID=");
    let (two, _) = ear.hears("MAINPID=");
    wait_until("it is written down", || world.pids().len() == 2);
    let line = format!("MAINPID={}", world.newest().as_raw_pid());
    assert!(world.newest() != first && one.contains(&line) && two.contains(&line), "{one}\n{two}");
    ear.hears("WATCHDOG=1");
    kill_process(world.newest(), Signal::TERM).unwrap();
    ear.hears("STOPPING=1");
}

/// Starts the program as a service manager does: open sockets from 3 on, and how many there are in the environment.
fn run_with_sockets(world: &mut World, first: OwnedFd, second: OwnedFd) {
    const SCRIPT: &str = "exec 3<&0 4>&1 </dev/null >/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:b \
                          exec ./weir run -c weir.yaml";
    let log = std::fs::File::create(world.folder.join("log")).unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT]).current_dir(&world.folder).stderr(log);
    command.stdin(Stdio::from(first)).stdout(Stdio::from(second));
    world.child = Some(command.spawn().unwrap());
}

#[test]
fn sockets_of_the_manager_are_used_and_passed_on() {
    let (web, tcp) = (FakeBackend::answering(Answer::ok("ok")), echo());
    let mut world = World::new("activation");
    // More workers than sockets: they share.
    world.write(
        &world
            .text(3, &web, &tcp)
            .replace("unix:tcp.sock", &format!("unix:{}/tcp.sock", world.folder.display())),
    );
    let http = TcpListener::bind(world.web).unwrap();
    let unix = UnixListener::bind(world.folder.join("tcp.sock")).unwrap();
    // Clients may come before there is a process.
    let mut early = RawClient::connect(world.web);
    early.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    run_with_sockets(&mut world, http.try_clone().unwrap().into(), unix.try_clone().unwrap().into());
    assert_eq!(early.final_response("GET").text(), "ok");
    assert_eq!(early.read_to_end(), (Vec::new(), End::Closed));
    for _ in 0..20 {
        assert_eq!(RawClient::connect(world.web).get("/").text(), "ok");
    }
    wait_until("the other listener is bound as ever", || RawClient::try_connect(world.tcp).is_ok());

    assert_eq!(world.upgrade().0, 0);
    wait_until("it is written down", || world.pids().len() == 2);
    wait_until("the first one ends", || !is_there(world.pids()[0]));
    for _ in 0..20 {
        assert_eq!(RawClient::connect(world.web).get("/").text(), "ok");
    }
    kill_process(world.newest(), Signal::TERM).unwrap();
    wait_until("it has ended", || !is_there(world.newest()));
    // The manager still has them: who comes now waits for the next process.
    RawClient::connect(world.web);
    http.set_nonblocking(true).unwrap();
    assert!(http.accept().is_ok());
    assert!(!world.log().contains("no listener is bound to"), "{}", world.log());
}

#[test]
fn one_socket_for_both_families_is_enough() {
    let web = FakeBackend::answering(Answer::ok("ok"));
    let mut world = World::new("families");
    // As systemd opens `ListenStream=PORT`. Where there is no IPv6, there is nothing to see.
    let Ok(both) = TcpListener::bind("[::]:0") else { return };
    let port = both.local_addr().unwrap().port();
    let text = format!(
        "workers: 2\nadmin: {{ bind: 'unix:admin.sock' }}\nshutdown: {{ announce: 0s }}
listeners: {{ web: {{ bind: ':{port}', protocol: http, pool: app }} }}
pools: {{ app: {{ backends: ['{}'] }} }}
",
        web.address()
    );
    world.write(&text);
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    let line = format!("no listener is bound to {}", unused.local_addr().unwrap());
    run_with_sockets(&mut world, both.into(), unused.into());
    let get = || RawClient::connect(format!("127.0.0.1:{port}").parse().unwrap()).get("/");
    assert_eq!(get().text(), "ok");
    let forwarded = web.requests().pop().unwrap();
    assert_eq!(forwarded.header("x-forwarded-for"), Some("127.0.0.1"));
    wait_until("what is not used is said", || world.log().contains(&line));
    for _ in 0..2 {
        let output = world.weir(&["reload"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(world.upgrade().0, 0);
        assert_eq!(get().text(), "ok");
    }
}
