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
fn a_reload_changes_the_target_and_the_format() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let weir = Logged::http(&[backend.address()], "first $target", "");
    let mut client = RawClient::connect(weir.address());
    assert_eq!(client.get("/1").status(), 200);
    let second = crate::support::path("second");
    let text = weir.text.replace("first $target", "second $target");
    let text = text.replace(&weir.path().display().to_string(), &second.display().to_string());
    let outcome = weir.app.reload_text(&text).unwrap();
    assert!(outcome.summary.contains("access_log"), "{}", outcome.summary);
    assert_eq!(client.get("/2").status(), 200);
    // One that cannot be opened changes nothing.
    let broken = text.replace(&second.display().to_string(), "/run/weir-nowhere/access.log");
    let refusal = weir.app.reload_text(&broken.replace("second $target", "third $target")).unwrap_err();
    assert!(refusal.error.contains("/run/weir-nowhere/access.log"), "{}", refusal.error);
    assert_eq!(client.get("/3").status(), 200);
    // Without a log, then with one again.
    let without = text.lines().filter(|line| !line.starts_with("access_log")).collect::<Vec<_>>().join("\n");
    weir.app.reload_text(&without).unwrap();
    assert_eq!(client.get("/unseen").status(), 200);
    weir.app.reload_text(&text).unwrap();
    assert_eq!(client.get("/4").status(), 200);
    assert_eq!(weir.lines().len(), 1);
    assert_eq!(fs::read_to_string(&second).unwrap(), "second /2\nsecond /3\nsecond /4\n");
    fs::remove_file(second).unwrap();
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
