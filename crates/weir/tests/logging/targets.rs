//! Targets that take nothing, or not any more: traffic goes on, and what is lost is counted.

use std::{
    fs::{self, File, OpenOptions},
    net::UdpSocket,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::Command,
};

use weir_testkit::{Answer, FakeBackend, RawClient, wait_until};

use crate::support::{Logged, path};

fn file(backend: &FakeBackend, target: &str) -> String {
    format!(
        "workers: 1\nlisteners: {{ web: {{ bind: '127.0.0.1:0', protocol: http, pool: app }} }}\n\
         pools: {{ app: {{ backends: ['{}'] }} }}\naccess_log: {{ path: '{target}', format: '$target $header_x' }}\n",
        backend.address()
    )
}

/// Opened for reading and never read.
fn unread_pipe(path: &Path) -> File {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(nonblocking).open(path).unwrap()
}

#[test]
fn a_blocked_pipe_does_not_hold_up_requests() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let path = path("pipe");
    let pipe = unread_pipe(&path);
    let weir = Logged::launch(&file(&backend, &path.display().to_string()));
    let mut client = RawClient::connect(weir.address());
    let large = "x".repeat(30 * 1024);
    let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {large}\r\n\r\n");
    // More than a pipe, the writer and its queue hold together: the rest is dropped, and every request is served.
    let mut count = 0u64;
    while weir.dropped() == 0 {
        assert_eq!(client.send(&request).final_response("GET").status(), 200);
        count += 1;
        assert!(count < 5_000, "nothing was ever dropped: lines wait without bound");
    }
    for _ in 0..100 {
        assert_eq!(client.send(&request).final_response("GET").status(), 200);
    }
    wait_until("it is said", || {
        weir.said.lock().unwrap().iter().any(|line| line.contains("the access log is behind"))
    });
    // The end does not wait for the pipe either.
    weir.stop();
    drop(pipe);
    fs::remove_file(path).unwrap();
}

#[test]
fn a_full_disk_does_not_hold_up_requests() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let weir = Logged::launch(&file(&backend, "/dev/full"));
    let mut client = RawClient::connect(weir.address());
    for _ in 0..200 {
        assert_eq!(client.get("/").status(), 200);
    }
    wait_until("all are counted", || weir.dropped() == 200);
    let reports = || {
        let said = weir.said.lock().unwrap();
        said.iter().filter(|line| line.contains("No space left")).count()
    };
    wait_until("it is said", || reports() > 0);
    assert_eq!(client.get("/").status(), 200);
    wait_until("that one is counted", || weir.dropped() == 201);
    assert_eq!(reports(), 1);
    weir.stop();
}

#[test]
fn syslog_gets_a_datagram_per_line() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = format!("syslog:udp://{}", server.local_addr().unwrap());
    let weir = Logged::launch(&file(&backend, &target));
    let mut client = RawClient::connect(weir.address());
    for number in 0..5 {
        assert_eq!(client.get(&format!("/{number}")).status(), 200);
    }
    let mut room = [0; 500];
    for number in 0..5 {
        let count = server.recv(&mut room).unwrap();
        let said = String::from_utf8_lossy(&room[..count]).into_owned();
        assert!(said.starts_with("<134>1 ") && said.ends_with(&format!(" access - /{number} -")), "{said}");
    }
    weir.stop();
}

#[test]
fn a_syslog_that_is_not_there_stops_nothing() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let weir = Logged::launch(&file(&backend, "syslog:/nowhere/log"));
    let mut client = RawClient::connect(weir.address());
    for _ in 0..20 {
        assert_eq!(client.get("/").status(), 200);
    }
    wait_until("all are counted", || weir.dropped() == 20);
    weir.stop();
}

#[test]
fn a_file_that_cannot_be_opened_is_told_at_the_start() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let error = weir::app::App::from_text(&file(&backend, "/run/weir-nowhere/access.log")).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("`access_log` cannot be written to /run/weir-nowhere/access.log"), "{text}");
    assert!(text.contains("its folder must exist"), "{text}");
}

#[test]
fn a_fifo_that_nobody_reads_is_told_as_that() {
    let fifo = path("access.fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let error = weir::app::App::from_text(&file(&backend, &fifo.display().to_string())).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("nobody reads the FIFO"), "{text}");
    std::fs::remove_file(fifo).unwrap();
}
