//! However an exchange ends, it leaves one line, and that says why.

use std::{sync::atomic::Ordering, thread, time::Duration};

use serde_json::Value;
use weir_testkit::{Answer, BlackHole, End, FakeBackend, RawClient, Refusing, wait_until};

use crate::support::Logged;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// What happened to each of them, in order of the words.
fn outcomes(objects: &[Value]) -> Vec<String> {
    let outcome =
        |object: &Value| format!("{} {}", object["status"], object["cause"].as_str().unwrap_or("-"));
    let mut all: Vec<_> = objects.iter().map(outcome).collect();
    all.sort_unstable();
    all
}

#[test]
fn trailers_that_are_too_much_are_called_that() {
    let large = format!("X: {}\r\n", "x".repeat(9000));
    let many = "X: y\r\n".repeat(65);
    for (trailers, said) in [
        (large.as_str(), "(its trailers are larger than 8 KiB)"),
        (many.as_str(), "(more than 64 trailer fields)"),
        ("no field\r\n", "(a trailer field is malformed)"),
    ] {
        let message = format!("Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n{trailers}\r\n");
        let backend = FakeBackend::answering(Answer::bytes(format!("HTTP/1.1 200 OK\r\n{message}")));
        let weir = Logged::http(&[backend.address()], "json", "");
        assert_eq!(RawClient::connect(weir.address()).send(GET).final_response("GET").status(), 502);
        let request = format!("POST / HTTP/1.1\r\nHost: a.test\r\n{message}");
        let mut whole = RawClient::connect(weir.address());
        assert_eq!(whole.send(&request).final_response("POST").status(), 400);
        // The trailers come when the rest is on its way.
        let mut parts = RawClient::connect(weir.address());
        parts.send_split(request.as_bytes(), &[request.len() - trailers.len() - 2]);
        assert_eq!(parts.final_response("POST").status(), 400);
        let objects = weir.objects();
        assert_eq!(objects.len(), 3);
        for object in &objects {
            let sentence = object["sentence"].as_str().unwrap();
            assert!(sentence.ends_with(said), "{sentence}");
            assert!(object["cause"].as_str().unwrap().ends_with("_bad_chunk"), "{object}");
        }
    }
}

#[test]
fn that_the_budget_for_retries_is_used_up_is_said() {
    let backends = [FakeBackend::answering(Answer::close()), FakeBackend::answering(Answer::close())];
    let weir = Logged::http(&backends.each_ref().map(FakeBackend::address), "json", "");
    let mut client = RawClient::connect(weir.address());
    for _ in 0..50 {
        assert_eq!(client.send(GET).final_response("GET").status(), 502);
    }
    let refused = weir.app.snapshot().pools[0].status.retries.sum(|shard| shard.refused.value());
    let objects = weir.objects();
    let said = |object: &&Value| {
        object["sentence"]
            .as_str()
            .unwrap()
            .ends_with("(not tried again: the pool's budget for retries is used up)")
    };
    assert!(refused > 0);
    assert_eq!(objects.iter().filter(said).count() as u64, refused);
}

#[test]
fn half_a_head_is_not_called_no_answer_at_all() {
    for (begun, said) in
        [("", "without an answer"), ("HTTP/1.1 200 OK\r\nContent-Le", "(a part of a head had come)")]
    {
        let backend = FakeBackend::answering(Answer::bytes(begun).then_close());
        let weir = Logged::http(&[backend.address()], "json", "");
        assert_eq!(RawClient::connect(weir.address()).send(GET).final_response("GET").status(), 502);
        let objects = weir.objects();
        assert_eq!(objects[0]["cause"], "backend_closed");
        assert!(objects[0]["sentence"].as_str().unwrap().ends_with(said), "{objects:?}");
    }
}

#[test]
fn a_switch_that_is_none_leaves_one_line_that_says_why() {
    let ask = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for (fields, switch, said) in [
        ("", ask, "without being asked to"),
        (ask, "Connection: Upgrade\r\nUpgrade: tls\r\n", "(it was asked for another protocol)"),
        (ask, "Connection: Upgrade\r\n", "(it does not say to which protocol)"),
    ] {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{switch}\r\n");
        let backend = FakeBackend::answering(Answer::bytes(answer));
        let weir = Logged::http(&[backend.address()], "json", "");
        let heard = weir.said.clone();
        let mut client = RawClient::connect(weir.address());
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"));
        assert_eq!(client.final_response("GET").status(), 502);
        wait_until("it is over", || weir.app.open_connections() == 0);
        let objects = weir.objects();
        assert_eq!(outcomes(&objects), ["502 backend_unasked_upgrade"]);
        assert!(objects[0]["sentence"].as_str().unwrap().contains(said), "{objects:?}");
        let failed =
            heard.lock().unwrap().iter().filter(|line| line.contains("failed")).cloned().collect::<Vec<_>>();
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert!(failed[0].contains(said), "{failed:?}");
    }
}

#[test]
fn a_head_that_is_cut_at_the_end_is_answered_and_logged() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let weir = Logged::http(&[backend.address()], "json", "");
    let mut kept = RawClient::connect(weir.address());
    assert_eq!(kept.get("/").status(), 200);
    let mut fresh = RawClient::connect(weir.address());
    let mut silent = RawClient::connect(weir.address());
    for client in [&mut kept, &mut fresh] {
        client.send("GET / HT");
    }
    wait_until("all are there", || weir.app.open_connections() == 3);
    let objects = weir.objects();
    assert_eq!(kept.final_response("GET").status(), 503);
    assert_eq!(fresh.final_response("GET").status(), 503);
    assert!(silent.closed());
    assert_eq!(outcomes(&objects), ["200 -", "503 process_stopped", "503 process_stopped"]);
}

#[test]
fn an_answer_of_our_own_that_is_cut_at_the_end_is_logged() {
    let text = format!(
        "workers: 1\nlisteners:\n  web:\n    bind: 127.0.0.1:0\n    protocol: http\n    routes:\n      \
         - respond: {{ body: {} }}\n",
        "x".repeat(16 << 20)
    );
    let weir = Logged::from_text(&text, "format: json");
    let mut client = RawClient::connect_narrow(weir.address(), 4096);
    assert_eq!(client.send(GET).read_exact(12), b"HTTP/1.1 200");
    assert_eq!(outcomes(&weir.objects()), ["200 process_stopped"]);
}

#[test]
fn who_leaves_the_queue_after_a_failure_has_left_it() {
    let (refusing, hanging) = (Refusing::new(), FakeBackend::answering(Answer::hang()));
    let text = format!(
        "workers: 1\nlisteners: {{ web: {{ bind: '127.0.0.1:0', protocol: http, pool: app }} }}\npools:\n  app:\n    \
         balance: first\n    limits: {{ queue_timeout: 1h }}\n    backends: ['{}', {{ address: '{}', max_connections: 1 }}]\n",
        refusing.address(),
        hanging.address()
    );
    let weir = Logged::from_text(&text, "format: json");
    let pool = weir.app.snapshot().pools[0].clone();
    let ask = || {
        let mut client = RawClient::connect(weir.address());
        client.send(GET);
        client
    };
    let _first = ask();
    wait_until("the other one is taken", || hanging.requests().len() == 1);
    let [leaves, mut stays] = [ask(), ask()];
    let waiting = |count| pool.status.pending.load(Ordering::SeqCst) == count;
    wait_until("they wait", || waiting(2));
    leaves.reset();
    wait_until("one of them has left", || waiting(1));
    let objects = weir.objects();
    assert_eq!(stays.final_response("GET").status(), 503);
    assert_eq!(outcomes(&objects), ["499 client_aborted", "503 process_stopped", "503 process_stopped"]);
}

#[test]
fn a_request_of_a_bind_that_went_is_answered() {
    let hangs = FakeBackend::answering(Answer::hang());
    let weir = Logged::http(&[hangs.address()], "json", "shutdown: { drain: 100ms }\n");
    let mut client = RawClient::connect(weir.address());
    client.send(GET);
    wait_until("it is under way", || !hangs.requests().is_empty());
    weir.app.reload_text(&weir.text.replace("127.0.0.1:0", "127.0.0.2:0")).unwrap();
    assert_eq!(client.final_response("GET").status(), 503);
    assert_eq!(outcomes(&weir.objects()), ["503 bind_closed"]);
}

/// One backend that answers `ok`, behind a listener with these time-outs.
fn with_timeouts(timeouts: &str) -> (FakeBackend, Logged) {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let keys = format!("    timeouts: {{ {timeouts} }}\n");
    let weir = Logged::start("http", &[backend.address()], "json", "", &keys);
    (backend, weir)
}

#[test]
fn line_ends_are_no_request() {
    let (_backend, weir) = with_timeouts("header: 200ms, idle: 1h");
    let mut clients = ["\r\n", "\r\n\r\n", "\r"].map(|stray| {
        let mut client = RawClient::connect(weir.address());
        client.send(format!("{GET}{stray}"));
        assert_eq!(client.final_response("GET").text(), "ok");
        client
    });
    let mut fresh = RawClient::connect(weir.address());
    fresh.send("\r\n");
    // More than a head may take.
    thread::sleep(Duration::from_millis(600));
    assert_eq!(clients[0].get("/").text(), "ok", "it goes on");
    assert_eq!(fresh.get("/").text(), "ok", "so does one that has not been served");
    clients[0].send("\r\n");
    for client in &mut clients {
        assert_eq!(client.finish().read_to_end().0, b"", "nothing is answered");
    }
    // As many as may precede a request are none each time, and one more is too many.
    let mut counted = RawClient::connect(weir.address());
    for _ in 0..3 {
        counted.send_split(&b"\r\n".repeat(8), &[2, 4, 6, 8, 10, 12, 14]);
        assert_eq!(counted.get("/").text(), "ok");
    }
    counted.send_split(&b"\r\n".repeat(9), &[2, 4, 6, 8, 10, 12, 14, 16]);
    assert_eq!(counted.final_response("GET").status(), 400);
    let outcomes = outcomes(&weir.objects());
    assert_eq!(outcomes, [["200 -"; 8].as_slice(), &["400 client_bad_request_line"]].concat());
}

#[test]
fn line_ends_do_not_keep_a_connection_for_longer_than_none() {
    let (_backend, weir) = with_timeouts("header: 1h, idle: 200ms");
    let mut client = RawClient::connect(weir.address());
    assert_eq!(client.send(format!("{GET}\r\n")).final_response("GET").text(), "ok");
    assert_eq!(client.read_to_end(), (Vec::new(), End::Closed));
    assert_eq!(outcomes(&weir.objects()), ["200 -"]);
}

#[test]
fn who_leaves_while_a_backend_is_connected_has_left() {
    let hole = BlackHole::new();
    let weir = Logged::http(&[hole.address()], "json", "    connect_timeout: 1h\n");
    let backend = weir.app.snapshot().pools[0].backends[0].status.clone();
    let mut client = RawClient::connect(weir.address());
    client.send(GET);
    wait_until("it is connected", || backend.active.load(Ordering::SeqCst) == 1);
    client.reset();
    wait_until("it is let go", || backend.active.load(Ordering::SeqCst) == 0);
    assert_eq!(outcomes(&weir.objects()), ["499 client_aborted"]);
    assert_eq!(backend.shards.sum(|counters| counters.errors.value()), 0);
}

#[test]
fn bytes_of_what_is_refused_are_counted() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let weir = Logged::http(&[backend.address()], "json", "");
    let listener = weir.app.snapshot().listeners[0].status.clone();
    let request = "GET / HTTP/9.9\r\nHost: a.test\r\n\r\n";
    let mut client = RawClient::connect(weir.address());
    assert_eq!(client.send(request).final_response("GET").status(), 505);
    let objects = weir.objects();
    assert_eq!(objects[0]["bytes_in"], request.len());
    assert_eq!(listener.shards.sum(|counters| counters.bytes_in.value()), request.len() as u64);
}
