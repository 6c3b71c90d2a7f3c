//! Backends that are told who a connection is for.

use std::fs;

use weir_testkit::{Answer, Connection, FakeBackend, Folder, RawClient, wait_until};

use crate::support::{Setup, Weir};

/// Reads a line without its line break.
fn read_line(connection: &mut Connection) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let byte = connection.read_exact(1);
        if byte.is_empty() {
            break;
        }
        line.extend_from_slice(&byte);
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

/// What a header of version 2 holds behind its signature.
fn read_binary(connection: &mut Connection) -> Vec<u8> {
    let mut head = connection.read_exact(16);
    let length = usize::from(head[14]) << 8 | usize::from(head[15]);
    head.extend_from_slice(&connection.read_exact(length));
    assert_eq!(head[..12], *b"\r\n\r\n\0\r\nQUIT\n");
    head.split_off(12)
}

/// Answers every request with the header that its connection began with.
fn telling(read: impl Fn(&mut Connection) -> String + Send + Sync + 'static) -> FakeBackend {
    FakeBackend::custom(move |mut connection| {
        let said = read(&mut connection);
        while let Some(request) = connection.read_request() {
            match Answer::ok(&said).give(connection, &request) {
                Some(open) => connection = open,
                None => return,
            }
        }
    })
}

#[test]
fn a_backend_is_told_the_client_before_the_first_request() {
    let backend = telling(read_line);
    let weir = Setup::http(&[backend.address()]).pool("send_proxy_protocol: v1").start();
    let mut client = RawClient::connect(weir.address());
    let own = client.local_address().port();
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {}", weir.address().port());
    for _ in 0..2 {
        assert_eq!(client.get("/").text(), expected);
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_connection_that_a_backend_was_told_about_carries_requests_of_one_client_only() {
    let backend = telling(read_line);
    let weir = Setup::http(&[backend.address()]).pool("send_proxy_protocol: v1").start();
    let mut first = RawClient::connect(weir.address());
    let mut second = RawClient::connect(weir.address());
    for _ in 0..3 {
        for client in [&mut first, &mut second] {
            let said = client.get("/").text();
            assert!(said.contains(&format!(" {} ", client.local_address().port())), "{said}");
        }
    }
    assert_eq!(backend.accepted(), 2);
    drop(first);
    wait_until("the connection of the client that has gone is closed", || backend.open() == 1);
    let said = second.get("/").text();
    assert!(said.contains(&format!(" {} ", second.local_address().port())), "{said}");
    assert_eq!(backend.accepted(), 2);
}

#[test]
fn streams_begin_with_the_header_and_nothing_of_them_is_lost() {
    let backend = FakeBackend::custom(|mut connection| {
        let said = read_binary(&mut connection);
        connection.send([said.len() as u8]);
        connection.send(said);
        let (rest, _) = connection.read_to_end();
        connection.send(rest);
    });
    let weir = Setup::tcp(&[backend.address()]).pool("send_proxy_protocol: v2").start();
    let mut client = RawClient::connect(weir.address());
    client.send("hello").finish();
    let (bytes, _) = client.read_to_end();
    let [own, bound] = [client.local_address().port(), weir.address().port()].map(u16::to_be_bytes);
    let mut expected = vec![16, 0x21, 0x11, 0, 12, 127, 0, 0, 1, 127, 0, 0, 1];
    expected.extend_from_slice(&own);
    expected.extend_from_slice(&bound);
    expected.extend_from_slice(b"hello");
    assert_eq!(bytes, expected);
}

#[test]
fn the_id_of_a_connection_is_that_of_its_line_in_the_log() {
    let backend = FakeBackend::custom(|mut connection| {
        let said = read_binary(&mut connection);
        connection.send(&said[16..]);
    });
    let folder = Folder::new("send-proxy");
    let log = folder.join("access.log");
    let weir = Weir::from_text(&format!(
        "listeners: {{ web: {{ bind: '127.0.0.1:0', protocol: tcp, pool: app }} }}\n\
         pools:\n  app:\n    backends: ['{}']\n    send_proxy_protocol: {{ version: v2, tlvs: [unique_id, crc32c] }}\n\
         access_log: {{ path: {}, format: '$request_id' }}\n",
        backend.address(),
        log.display()
    ));
    let mut client = RawClient::connect(weir.address());
    let (tlvs, _) = client.read_to_end();
    assert_eq!((tlvs[..3].to_vec(), tlvs.len()), (vec![5, 0, 36], 39 + 7));
    drop(client);
    let named = String::from_utf8(tlvs[3..39].to_vec()).unwrap();
    wait_until("its line is written", || fs::read_to_string(&log).is_ok_and(|text| text.trim_end() == named));
}

#[test]
fn checks_say_that_they_come_for_nobody() {
    let backend = telling(|connection| {
        let said = read_binary(connection);
        format!("{said:?}")
    });
    let weir = Setup::http(&[backend.address()])
        .pool("send_proxy_protocol: v2")
        .pool("health: { http: { path: /, body: '[32, 0, 0, 0]' }, interval: 1s }")
        .start();
    wait_until("the check has passed", || RawClient::connect(weir.address()).get("/").status() == 200);
    let plain = FakeBackend::answering(Answer::ok("fine"));
    let weir = Setup::http(&[backend.address()])
        .pool("send_proxy_protocol: v2")
        .pool(&format!("health: {{ http: /, port: {}, plain: true, interval: 1s }}", plain.address().port()))
        .start();
    wait_until("the check has passed", || RawClient::connect(weir.address()).get("/").status() == 200);
    assert!(plain.requests().iter().all(|request| request.target() == "/"), "{:?}", plain.requests());
}

#[test]
fn what_one_weir_was_told_it_tells_the_next() {
    let backend = FakeBackend::echo();
    let second =
        Setup::http(&[backend.address()]).listener("accept_proxy_protocol: { trust: [127.0.0.0/8] }").start();
    let first = Setup::tcp(&[second.address()])
        .listener("accept_proxy_protocol: { trust: [127.0.0.0/8] }")
        .pool("send_proxy_protocol: { version: v2, tlvs: [alpn, authority, unique_id, crc32c] }")
        .start();
    let mut client = RawClient::connect(first.address());
    client.send("PROXY TCP4 192.0.2.7 198.51.100.1 5555 443\r\n");
    for _ in 0..2 {
        let seen = client.get("/");
        assert!(seen.text().to_ascii_lowercase().contains("x-forwarded-for: 192.0.2.7\r\n"), "{seen}");
    }
    // Who wants to be known as somebody else has to be trusted to.
    let mut stranger = RawClient::connect(second.address());
    stranger.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(stranger.response("GET").map(|response| response.status()), None);
}

#[test]
fn the_name_that_a_header_gave_to_a_connection_stays() {
    let backend = FakeBackend::custom(|mut connection| {
        let said = read_binary(&mut connection);
        connection.send(&said[4..]);
    });
    let weir = Setup::tcp(&[backend.address()])
        .listener("accept_proxy_protocol: { trust: [127.0.0.0/8] }")
        .pool("send_proxy_protocol: { version: v2, tlvs: [authority, unique_id] }")
        .start();
    let mut client = RawClient::connect(weir.address());
    let addresses = b"\xc0\x00\x02\x07\xc6\x33\x64\x01\x15\xb3\x01\xbb";
    let facts = b"\x02\x00\x06a.test\x05\x00\x04id-7";
    client.send(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x1c").send(addresses).send(facts);
    let (told, _) = client.read_to_end();
    assert_eq!(told, [&addresses[..], facts].concat());
}
