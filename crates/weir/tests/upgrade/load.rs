//! Ten upgrades under clients of every kind: none of them may notice.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use rustix::process::{Signal, kill_process};
use weir_testkit::{Answer, End, FakeBackend, RawClient, wait_until};

use crate::world::{World, echo, is_there};

const UPGRADES: usize = 10;

/// Asks again and again, on a connection that is kept as long as the server keeps it, or on one of its own each time.
fn ask(world: &World, kept: bool, stopped: &AtomicBool, done: &AtomicUsize) {
    let mut connection = None;
    while !stopped.load(Ordering::Relaxed) {
        let mut client = connection.take().unwrap_or_else(|| RawClient::connect(world.web));
        let answer = client.get("/");
        assert_eq!((answer.status(), &*answer.text()), (200, "ok"));
        let closes = answer.lists("connection", "close");
        done.fetch_add(1, Ordering::Relaxed);
        if kept && !closes {
            connection = Some(client);
        } else if closes {
            assert_eq!(client.read_to_end(), (Vec::new(), End::Closed), "in order, not with a reset");
        }
    }
}

/// Opens a connection, says something, hears it, and closes.
fn connect(world: &World, stopped: &AtomicBool, done: &AtomicUsize) {
    while !stopped.load(Ordering::Relaxed) {
        let mut client = RawClient::connect(world.tcp);
        assert_eq!(client.send("hello").read_exact(5), b"hello");
        client.finish();
        assert_eq!(client.read_to_end(), (Vec::new(), End::Closed));
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn ten_upgrades_under_load_are_noticed_by_nobody() {
    let (web, tcp) = (FakeBackend::answering(Answer::ok("ok")), echo());
    let mut world = World::new("load");
    world.write(&world.text(2, &web, &tcp));
    world.run();
    let first = world.newest();
    let mut sessions: Vec<_> = (0..5).map(|_| RawClient::connect(world.tcp)).collect();
    let mut says = |what: &str| {
        for session in &mut sessions {
            assert_eq!(session.send(what).read_exact(what.len()), what.as_bytes());
        }
    };
    says("first");

    let (stopped, begun) = (AtomicBool::new(false), Barrier::new(7));
    let done: [AtomicUsize; 3] = Default::default();
    let seen = || done.each_ref().map(|count| count.load(Ordering::Relaxed));
    thread::scope(|scope| {
        let world = &world;
        let (stopped, begun, done) = (&stopped, &begun, &done);
        let clients: Vec<_> = (0..6)
            .map(|index| {
                scope.spawn(move || {
                    begun.wait();
                    match index % 3 {
                        0 => ask(world, true, stopped, &done[0]),
                        1 => ask(world, false, stopped, &done[1]),
                        _ => connect(world, stopped, &done[2]),
                    }
                })
            })
            .collect();
        begun.wait();
        let guard = Stop(stopped);
        for round in 1..=UPGRADES {
            // More workers than before, and fewer.
            world.write(&world.text([2, 1, 3][round % 3], &web, &tcp));
            let before = seen();
            wait_until("everybody is at work", || seen().iter().zip(before).all(|(now, then)| *now > then));
            let (code, said) = world.upgrade();
            assert_eq!(code, 0, "{round}: {said}\n{}", world.log());
            wait_until("it is written down", || world.pids().len() == round + 1);
            says("hello");
        }
        let before = seen();
        wait_until("everybody is still at work", || {
            seen().iter().zip(before).all(|(now, then)| *now > then + 10)
        });
        drop(guard);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    println!(
        "{UPGRADES} upgrades; {:?} requests on kept and new connections, and TCP connections, 0 failed",
        seen()
    );
    says("last");
    assert!(is_there(first), "the first process still carries its sessions");
    drop(sessions);
    wait_until("the old ones end with what they had", || {
        world.pids()[..UPGRADES].iter().all(|pid| !is_there(*pid))
    });
    assert!(!world.log().contains("a worker"), "{}", world.log());
    kill_process(world.newest(), Signal::TERM).unwrap();
    wait_until("the last one ends", || !is_there(world.newest()));
    assert!(!world.folder.join("admin.sock").exists() && !world.folder.join("tcp.sock").exists());
}

/// Ends the clients also where a test fails.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
