//! Bodies in every framing, both ways.

use weir_testkit::{Answer, End, FakeBackend, RawClient, wait_until};

use crate::support::Setup;

/// Something long that is not all the same.
fn long(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

fn chunked(body: &[u8], chunk: usize, trailer: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in body.chunks(chunk) {
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
    out
}

#[test]
fn requests_with_a_length_arrive_whole() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    for length in [0, 1, 4095, 4096, 16_384, 100_000, 3_000_000] {
        let body = long(length);
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n"));
        client.send(&body);
        assert_eq!(client.final_response("POST").text(), "ok");
        let request = backend.requests().pop().unwrap();
        assert!(request.body == body, "{length} bytes: {request}");
        assert_eq!(request.all("content-length"), [length.to_string()]);
    }
}

#[test]
fn chunked_requests_arrive_whole_with_their_trailers() {
    let backend = FakeBackend::answering(Answer::ok("ok"));
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    for (length, chunk) in [(0, 1), (5, 1), (3000, 7), (100_000, 4096), (2_000_000, 700_001)] {
        let body = long(length);
        client
            .send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n");
        client.send(chunked(&body, chunk, "X-Sum: 42\r\n"));
        assert_eq!(client.final_response("POST").text(), "ok");
        let request = backend.requests().pop().unwrap();
        assert!(request.body == body && request.complete, "{length} bytes in chunks of {chunk}: {request}");
        assert_eq!(request.trailer("x-sum"), Some("42"), "{length} bytes in chunks of {chunk}");
        assert!(!request.has("content-length"));
    }
}

/// Answers `/FRAMING/LENGTH` with a body of that length, framed so.
fn in_every_framing() -> FakeBackend {
    FakeBackend::answering_each(|request| {
        let (framing, length) = request.target()[1..].split_once('/').unwrap();
        let body = long(length.parse().unwrap());
        let answer = |fields: &str, body: &[u8]| {
            Answer::bytes([format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes(), body].concat())
        };
        match framing {
            "length" => answer(&format!("Content-Length: {length}\r\n"), &body),
            "chunked" => answer("Transfer-Encoding: chunked\r\n", &chunked(&body, 5000, "X-Sum: 42\r\n")),
            _ => answer("", &body).then_close(),
        }
    })
}

#[test]
fn responses_arrive_whole_in_every_framing() {
    let backend = in_every_framing();
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    for length in [0usize, 1, 5000, 70_000, 3_000_000] {
        for framing in ["length", "chunked", "close"] {
            let response = client.get(&format!("/{framing}/{length}"));
            assert!(response.body == long(length) && response.complete, "{framing}/{length}: {response}");
            // A client of HTTP/1.1 need not lose its connection because a backend ends its own.
            assert!(!response.lists("connection", "close"), "{framing}/{length}: {response}");
            if framing == "chunked" {
                assert_eq!(response.trailer("x-sum"), Some("42"), "{framing}/{length}");
            }
        }
    }
}

#[test]
fn http_1_0_clients_never_see_chunks() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n";
    let backend = FakeBackend::answering(Answer::bytes(answer));
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let response = client.response_head().unwrap();
    assert!(!response.has("transfer-encoding") && !response.has("content-length"), "{response}");
    assert_eq!(client.read_to_end(), (b"hello".to_vec(), End::Closed));
}

#[test]
fn answers_without_a_body_have_none() {
    let backend = FakeBackend::answering_each(|request| {
        Answer::bytes(match request.target() {
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "/head-chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext",
        })
    });
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    for (method, target, status) in
        [("HEAD", "/head", 200), ("HEAD", "/head-chunked", 200), ("GET", "/204", 204), ("GET", "/304", 304)]
    {
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        let response = client.final_response(method);
        assert_eq!((response.status(), response.body.len()), (status, 0), "{target}");
        match target {
            // What a GET would have brought may be said.
            "/head" => assert_eq!(response.header("content-length"), Some("5")),
            "/304" => assert_eq!(response.header("etag"), Some("\"x\"")),
            "/204" => assert!(!response.has("content-length") && !response.has("transfer-encoding")),
            _ => {}
        }
        assert_eq!(client.get("/next").text(), "next", "after {target}");
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn an_answer_before_the_end_of_the_request_is_delivered() {
    // The backend refuses an upload at once and does not look at the rest of it.
    let backend = FakeBackend::custom(|mut connection| {
        if connection.read_head().is_some() {
            connection.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
            connection.read_to_end();
        }
    });
    let weir = Setup::http(&[backend.address()]).start();
    let mut client = RawClient::connect(weir.address());
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\nabc");
    let response = client.final_response("POST");
    assert_eq!((response.status(), response.text().as_str()), (403, "no"));
    // The rest of the body must not be taken for a request.
    assert!(response.lists("connection", "close"), "{response}");
    client.send("GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert!(client.response("GET").is_none());
    // Nor may the backend's connection be used again, with half a request on it.
    assert_eq!(RawClient::connect(weir.address()).get("/").status(), 403);
    assert_eq!(backend.accepted(), 2);
}

#[test]
fn an_upload_is_counted_while_it_goes_on() {
    let backend = FakeBackend::echo();
    let weir = Setup::http(&[backend.address()]).start();
    let listener = weir.app().snapshot().listeners[0].clone();
    let came = || listener.status.shards.sum(|shard| shard.bytes_in.value()) as usize;
    let body = vec![b'x'; 300_000];
    let mut before = 0;
    for framing in ["Content-Length: 600000", "Transfer-Encoding: chunked"] {
        let mut client = RawClient::connect(weir.address());
        let head = format!("POST / HTTP/1.1\r\nHost: a.test\r\n{framing}\r\n\r\n");
        let chunked = framing.contains("chunked");
        let (size, end, last) = if chunked { ("493e0\r\n", "\r\n", "0\r\n\r\n") } else { ("", "", "") };
        let half = [size.as_bytes(), &body, end.as_bytes()].concat();
        client.send(&head).send(&half);
        wait_until("half of it is counted", || came() >= before + body.len());
        client.send(&half).send(last);
        assert_eq!(client.final_response("POST").status(), 200);
        wait_until("all of it is counted", || came() >= before + head.len() + 2 * body.len());
        assert!(came() < before + head.len() + 2 * body.len() + 10_000, "and once only");
        before = came();
    }
}
