//! Back-pressure: who reads slowly slows the sender down; weir does not take in what it cannot pass on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use weir_testkit::{FakeBackend, RawClient, wait_until};

use crate::support::Setup;

/// Far more than all kernel buffers between the two ends hold.
const BODY: usize = 64 << 20;
/// What kernels set aside for the four sockets on the way at most, and a little for weir.
const IN_TRANSIT: usize = 24 << 20;
const PIECE: usize = 64 << 10;

/// Waits until a count does not change any more.
fn settled(count: &AtomicUsize) -> usize {
    let mut last = (0, 0);
    wait_until("nothing moves any more", || {
        std::thread::sleep(Duration::from_millis(50));
        let now = count.load(Ordering::SeqCst);
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
        now > 0 && last.1 >= 10
    });
    last.0
}

#[test]
fn a_client_that_does_not_read_stops_the_backend() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let backend = FakeBackend::custom(move |mut connection| {
        if connection.read_request().is_none() {
            return;
        }
        connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n"));
        let piece = vec![b'x'; PIECE];
        while count.load(Ordering::SeqCst) < BODY && connection.send(&piece) {
            count.fetch_add(PIECE, Ordering::SeqCst);
        }
        connection.read_to_end();
    });
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect_narrow(weir.address(), 16 << 10);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let taken = settled(&sent);
    assert!(taken < IN_TRANSIT, "{taken} bytes were taken from the backend with nobody reading");
    let response = client.final_response("GET");
    assert!(response.complete && response.body.len() == BODY, "{response}");
}

#[test]
fn a_backend_that_does_not_read_stops_the_client() {
    let (backend, go) = {
        let go = Arc::new(AtomicUsize::new(0));
        let gone = Arc::clone(&go);
        let backend = FakeBackend::custom(move |mut connection| {
            wait_until("the test lets the backend read", || gone.load(Ordering::SeqCst) == 1);
            if connection.read_request().is_some() {
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        });
        (backend, go)
    };
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {BODY}\r\n\r\n"));
    let body = vec![b'x'; BODY];
    let taken = client.send_until_stuck(&body, Duration::from_millis(500));
    assert!(taken < IN_TRANSIT, "{taken} bytes were taken from the client with nobody reading");
    go.store(1, Ordering::SeqCst);
    client.send(&body[taken..]);
    assert_eq!(client.final_response("POST").text(), "ok");
    let request = backend.only_request();
    assert!(request.complete && request.body.len() == BODY, "{request}");
}

#[test]
fn a_pipeline_waits_in_the_kernel() {
    // The first answer does not come, so the requests behind it are not read without bound.
    let backend = FakeBackend::custom(|mut connection| {
        connection.read_head();
        connection.read_to_end();
    });
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    let flood = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".repeat(BODY / 32);
    let taken = client.send_until_stuck(flood.as_bytes(), Duration::from_millis(500));
    assert!(taken < IN_TRANSIT, "{taken} bytes of pipelined requests were taken in");
}
