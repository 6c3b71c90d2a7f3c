//! The log and the counters say what the client was sent, and no more.

use weir_testkit::{Answer, FakeBackend, RawClient, wait_until};

use crate::support::Logged;

/// What the log says of the bytes that went out: all of them, and those of the content.
fn logged(weir: Logged) -> (u64, u64) {
    let objects = weir.objects();
    assert_eq!(objects.len(), 1, "{objects:?}");
    let number = |key: &str| objects[0][key].as_u64().unwrap();
    (number("bytes_out"), number("body_bytes_out"))
}

/// What the counters of its listener say.
fn counted(weir: &Logged) -> u64 {
    weir.app.snapshot().listeners[0].status.shards.sum(|counters| counters.bytes_out.value())
}

#[test]
fn interim_responses_are_bytes_as_well() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let backend = FakeBackend::answering(Answer::bytes([interim, interim, last].concat()));
    let weir = Logged::http(&[backend.address()], "json", "");
    let mut client = RawClient::connect(weir.address());
    // The second is told to go on by weir itself, for what it sends has come already.
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na");
    let (received, _) = client.read_to_end();
    assert!(String::from_utf8_lossy(&received).starts_with("HTTP/1.1 100 "), "{received:?}");
    wait_until("it is over", || weir.app.open_connections() == 0);
    assert_eq!(counted(&weir), received.len() as u64);
    assert_eq!(logged(weir), (received.len() as u64, 2));
}

#[test]
fn of_what_is_cut_only_that_counts_which_was_sent() {
    // More than the kernel's buffers hold.
    let body = vec![b'x'; 32 << 20];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let backend = FakeBackend::answering(Answer::bytes([head.into_bytes(), body].concat()));
    let keys = "    timeouts: { send_idle: 300ms }\n";
    let weir = Logged::start("http", &[backend.address()], "json", "", keys);
    let mut client = RawClient::connect_narrow(weir.address(), 4096);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    wait_until("the backend has been let go", || backend.accepted() == 1 && backend.open() == 0);
    wait_until("it is over", || weir.app.open_connections() == 0);
    let sent = counted(&weir);
    let (all, content) = logged(weir);
    assert_eq!(all, sent);
    assert!(content < all, "{content} of {all}");
}
