//! However an exchange ends, it leaves one line, and that says why.

use serde_json::Value;
use weir_testkit::{Answer, FakeBackend, RawClient, wait_until};

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
