//! Probes by HTTP/2 and gRPC against servers of the `h2` crate, and of others.

use ::http::{HeaderMap, Response, request};
use bytes::Bytes;
use h2::{Reason, server};
use weir_model::{health::GrpcProbe, pool::UpstreamProtocol};

use super::*;

/// Answers one request as `answer` says, with trailers if there are any; returns what was asked.
fn served(
    check: &HealthCheck,
    protocol: UpstreamProtocol,
    answer: impl FnOnce(server::SendResponse<Bytes>) + Send + 'static,
) -> (Result<String, String>, (request::Parts, Vec<u8>)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let backend = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            let mut connection = server::handshake(stream).await.unwrap();
            let (request, respond) = connection.accept().await.unwrap().unwrap();
            let (head, mut body) = request.into_parts();
            let mut content = Vec::new();
            let asked = async {
                while let Some(part) = body.data().await {
                    content.extend_from_slice(&part.unwrap());
                }
                answer(respond);
            };
            // The connection carries on until the probe has ended it.
            let both = async { tokio::join!(asked, async { while connection.accept().await.is_some() {} }) };
            both.await;
            (head, content)
        })
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let way = Way { protocol, ..way() };
    let check = HealthCheck { timeout: Millis::secs(10), ..check.clone() };
    let outcome = runtime.block_on(probe(&check, &address.into(), &way));
    (outcome, backend.join().unwrap())
}

fn grpc(service: &str) -> HealthCheck {
    check(Probe::Grpc(GrpcProbe { service: service.into() }))
}

/// An answer of gRPC: its message, and its trailers.
fn says(
    message: &'static [u8],
    trailers: &'static [(&str, &str)],
) -> impl FnOnce(server::SendResponse<Bytes>) {
    move |mut respond| {
        let head = Response::builder().header("content-type", "application/grpc+proto").body(()).unwrap();
        let mut body = respond.send_response(head, false).unwrap();
        body.send_data(Bytes::from_static(message), false).unwrap();
        let mut fields = HeaderMap::new();
        for (name, value) in trailers {
            fields.insert(*name, value.parse().unwrap());
        }
        body.send_trailers(fields).unwrap();
    }
}

#[test]
fn a_server_that_serves_is_asked_by_its_name() {
    let answer = says(b"\0\0\0\0\x02\x08\x01", &[("grpc-status", "0")]);
    let (outcome, (head, content)) = served(&grpc("shop.Cart"), UpstreamProtocol::Auto, answer);
    assert_eq!(outcome, Ok("answered SERVING".into()));
    assert_eq!(head.uri, "http://backend.test:8080/grpc.health.v1.Health/Check");
    assert_eq!(head.method, "POST");
    let field = |name: &str| head.headers[name].to_str().unwrap().to_owned();
    assert_eq!((field("te"), field("content-type")), ("trailers".into(), "application/grpc".into()));
    assert_eq!(field("grpc-timeout"), "10000m");
    assert_eq!(content, b"\0\0\0\0\x0b\x0a\x09shop.Cart");
}

#[test]
fn whatever_else_a_server_says_by_grpc_is_down() {
    let refused = |message, trailers| {
        served(&grpc("a.B"), UpstreamProtocol::H2, says(message, trailers)).0.unwrap_err()
    };
    assert_eq!(refused(b"\0\0\0\0\x02\x08\x02", &[("grpc-status", "0")]), "answered NOT_SERVING");
    assert_eq!(refused(b"\0\0\0\0\x02\x08\x01", &[("x", "y")]), "its answer has no grpc-status");
    assert_eq!(
        refused(b"\0\0\0\0\x02\x08\x01", &[("grpc-status", "14"), ("grpc-message", "going away")]),
        "grpc-status 14 (unavailable): going away"
    );
    assert_eq!(refused(&[0; 8000], &[("grpc-status", "0")]), "its answer has no grpc-status");
    let bare = |fields: &'static [(&str, &str)], status: u16| {
        served(&grpc("a.B"), UpstreamProtocol::Auto, move |mut respond| {
            let mut head = Response::builder().status(status);
            for (name, value) in fields {
                head = head.header(*name, *value);
            }
            respond.send_response(head.body(()).unwrap(), true).unwrap();
        })
        .0
        .unwrap_err()
    };
    const KIND: (&str, &str) = ("content-type", "application/grpc");
    assert_eq!(
        bare(&[KIND, ("grpc-status", "5")], 200),
        "it knows no service `a.B`: grpc-status 5 (not_found)"
    );
    assert_eq!(
        bare(&[KIND, ("grpc-status", "12"), ("grpc-message", "no")], 200),
        "it does not offer grpc.health.v1.Health: grpc-status 12 (unimplemented): no"
    );
    assert_eq!(bare(&[("content-type", "text/html")], 200), "it does not speak gRPC: answered 200");
    assert_eq!(bare(&[], 404), "it does not speak gRPC: answered 404");
    let reset =
        served(&grpc(""), UpstreamProtocol::H2, |mut respond| respond.send_reset(Reason::REFUSED_STREAM));
    assert!(reset.0.unwrap_err().starts_with("it refused the request by HTTP/2: "));
}

#[test]
fn an_http_check_goes_by_what_the_pool_speaks() {
    let with = |status: u16, body: &'static str| {
        move |mut respond: server::SendResponse<Bytes>| {
            let head = Response::builder().status(status).body(()).unwrap();
            let mut content = respond.send_response(head, body.is_empty()).unwrap();
            if !body.is_empty() {
                content.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
            }
        }
    };
    let headers = vec![("x-probe".into(), "1".into())];
    let question = check(Probe::Http(HttpProbe { headers, ..http() }));
    let (outcome, (head, _)) = served(&question, UpstreamProtocol::H2, with(204, ""));
    assert_eq!(outcome, Ok("answered 204".into()));
    assert_eq!(
        (head.method.as_str(), head.uri.to_string()),
        ("GET", "http://backend.test:8080/healthz".into())
    );
    assert_eq!(head.headers["x-probe"], "1");
    assert!(!head.headers.contains_key("connection"));
    let refused = served(&question, UpstreamProtocol::H2, with(503, "sorry")).0.unwrap_err();
    assert_eq!(refused, "answered 503, expected 200-299");
    let ready = || check(Probe::Http(HttpProbe { body: Some("ready".into()), ..http() }));
    assert!(served(&ready(), UpstreamProtocol::H2, with(200, "I am ready")).0.is_ok());
    let refused = served(&ready(), UpstreamProtocol::H2, with(200, "not yet")).0.unwrap_err();
    assert_eq!(refused, "the body of its answer does not hold `ready`");
}

/// What a probe by HTTP/2 makes of a server that says these bytes and closes.
fn strange(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let backend = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let _ = client.read(&mut [0; 4096]);
        let _ = client.write_all(bytes);
        let _ = client.shutdown(std::net::Shutdown::Write);
        let _ = client.read_to_end(&mut Vec::new());
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let check = HealthCheck { timeout: Millis::secs(10), ..grpc("") };
    let outcome = runtime.block_on(probe(&check, &address.into(), &way()));
    backend.join().unwrap();
    outcome.unwrap_err()
}

#[test]
fn who_does_not_speak_http2_is_told_apart() {
    assert!(strange(b"HTTP/1.1 400 Bad Request\r\n\r\n").starts_with("it does not speak HTTP/2: "));
    assert_eq!(strange(b""), "it closed the connection without an answer");
}

#[test]
fn a_probe_by_http2_may_be_spawned() {
    fn may_move<T: Send>(_: T) {}
    let address = Address::Ip("127.0.0.1:1".parse().unwrap());
    may_move(probe(&grpc(""), &address, &way()));
}
