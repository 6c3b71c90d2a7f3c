//! Under load: one line per request, none lost and none twice, whatever happens to the file meanwhile.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use weir_testkit::{Answer, FakeBackend, RawClient};

use crate::support::Logged;

/// Sends requests whose targets are numbered, over kept connections, until `enough`; how many got their answer.
fn load(address: SocketAddr, clients: usize, enough: impl Fn(usize) -> bool + Sync) -> usize {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = RawClient::connect(address);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if enough(number) {
                        next.fetch_sub(1, Ordering::Relaxed);
                        return;
                    }
                    assert_eq!(client.get(&format!("/{number}")).status(), 200);
                }
            });
        }
    });
    next.load(Ordering::Relaxed)
}

#[test]
fn there_are_as_many_lines_as_requests() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let weir = Logged::http(&[backend.address()], "$target", "");
    let count = load(weir.address(), 4, |number| number >= 4000);
    assert_eq!((count, weir.dropped()), (4000, 0));
    let lines = weir.lines();
    assert_eq!(lines.len(), count);
    let different: BTreeSet<_> = lines.iter().collect();
    assert_eq!(different.len(), count, "a line stands there twice");
}

#[test]
fn a_rotation_loses_nothing_and_repeats_nothing() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let weir = Logged::http(&[backend.address()], "$target", "");
    let over = AtomicBool::new(false);
    let (count, rotated) = thread::scope(|scope| {
        let rotations = scope.spawn(|| {
            let names = (0..5).map(|number| weir.path().with_extension(format!("log.{number}")));
            let names: Vec<_> = names.collect();
            for name in &names {
                // The one before has taken lines.
                weir_testkit::wait_until("lines are written", || {
                    fs::metadata(weir.path()).is_ok_and(|file| file.len() > 0)
                });
                fs::rename(weir.path(), name).unwrap();
                weir.app.reopen_logs();
                weir_testkit::wait_until("there is a new file", || weir.path().exists());
            }
            over.store(true, Ordering::Relaxed);
            names
        });
        let count = load(weir.address(), 2, |_| over.load(Ordering::Relaxed));
        (count, rotations.join().unwrap())
    });
    assert_eq!(weir.dropped(), 0);
    let mut lines = weir.lines();
    for name in rotated {
        let text = fs::read_to_string(&name).unwrap();
        assert!(text.ends_with('\n'), "a line was torn");
        lines.extend(text.lines().map(str::to_owned));
        fs::remove_file(name).unwrap();
    }
    assert_eq!(lines.len(), count);
    let different: BTreeSet<_> = lines.into_iter().collect();
    assert_eq!(different, (0..count).map(|number| format!("/{number}")).collect());
}
