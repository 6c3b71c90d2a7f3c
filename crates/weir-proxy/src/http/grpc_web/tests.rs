//! Heads are translated, and nothing else in them changes; trailers become a frame.

use proptest::prelude::*;

use super::*;

fn request(lines: &str) -> (Option<WebCall>, String) {
    let mut head = format!("POST /shop.Cart/Add HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
    let call = translate_request(&mut head);
    (call, String::from_utf8(head).unwrap())
}

#[test]
fn a_request_becomes_one_of_grpc() {
    let call = |asks, reads| Some(WebCall { asks, reads });
    for (kind, plain, form) in [
        ("application/grpc-web", "application/grpc", Form::Binary),
        ("application/grpc-web+proto", "application/grpc+proto", Form::Binary),
        ("Application/gRPC-Web-Text+proto; x=y", "application/grpc+proto; x=y", Form::Text),
        ("application/grpc-web-text", "application/grpc", Form::Text),
    ] {
        let (said, head) = request(&format!("X-A: b\r\nContent-Type: {kind}\r\nX-Grpc-Web: 1\r\n"));
        assert_eq!(said, call(form, form), "{kind}");
        assert_eq!(
            head,
            format!(
                "POST /shop.Cart/Add HTTP/1.1\r\nHost: a\r\nX-A: b\r\nContent-Type: {plain}\r\nX-Grpc-Web: 1\r\n\r\n"
            )
        );
    }
    for none in ["", "Content-Type: application/grpc\r\n", "Content-Type: application/json\r\n", "X: y\r\n"] {
        let (said, head) = request(none);
        assert_eq!(said, None);
        assert!(head.ends_with(&format!("Host: a\r\n{none}\r\n")), "it stays as it is: {head}");
    }
}

#[test]
fn a_client_may_want_another_form_than_it_writes() {
    let web = "content-type: application/grpc-web\r\n";
    let text = "content-type: application/grpc-web-text\r\n";
    for (lines, asks, reads) in [
        (format!("{web}accept: application/grpc-web-text\r\n"), Form::Binary, Form::Text),
        (format!("{text}accept: */*, application/grpc-web+proto;q=1\r\n"), Form::Text, Form::Binary),
        (format!("{text}accept: */*\r\n"), Form::Text, Form::Text),
    ] {
        assert_eq!(request(&lines).0, Some(WebCall { asks, reads }), "{lines}");
    }
}

#[test]
fn the_length_of_text_is_not_that_of_its_content() {
    let (_, head) = request("content-length: 8\r\ncontent-type: application/grpc-web-text\r\n");
    assert!(!head.contains("length"), "{head}");
    let (_, head) = request("content-length: 8\r\ncontent-type: application/grpc-web\r\n");
    assert!(head.contains("content-length: 8\r\n"), "{head}");
}

fn answer(lines: &str, reads: Form, whole: bool) -> (Option<Answered>, String) {
    let mut head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n").into_bytes();
    let answered = translate_answer(&mut head, reads, whole);
    let head = String::from_utf8(head).unwrap();
    (answered, head.strip_suffix("\r\n").expect("an empty line").to_owned())
}

#[test]
fn an_answer_becomes_one_of_grpc_web() {
    let lines = "content-length: 5\r\ncontent-type: application/grpc+proto\r\nx: y\r\n";
    assert_eq!(
        answer(lines, Form::Binary, false),
        (
            Some(Answered::Content),
            "HTTP/1.1 200 OK\r\ncontent-type: application/grpc-web+proto\r\nx: y\r\n".into()
        )
    );
    let (_, head) = answer(lines, Form::Text, false);
    assert!(head.contains("content-type: application/grpc-web-text+proto\r\n"), "{head}");
    let page = "content-type: text/html\r\ncontent-length: 5\r\n";
    assert_eq!(answer(page, Form::Text, false), (None, format!("HTTP/1.1 200 OK\r\n{page}")));
}

#[test]
fn trailers_alone_are_the_content() {
    let lines = "content-type: application/grpc\r\nGrpc-Status: 5\r\nx: y\r\ngrpc-message: no such thing\r\n";
    let (answered, head) = answer(lines, Form::Binary, true);
    let said = b"grpc-status:5\r\ngrpc-message:no such thing\r\n";
    let content = [&[0x80, 0, 0, 0, said.len() as u8], &said[..]].concat();
    assert_eq!(answered, Some(Answered::Whole(content.clone())));
    assert_eq!(
        head,
        "HTTP/1.1 200 OK\r\ncontent-type: application/grpc-web\r\nx: y\r\nContent-Length: 48\r\n"
    );
    let (answered, _) = answer(lines, Form::Text, true);
    let Some(Answered::Whole(mut text)) = answered else { panic!("it is whole") };
    let length = text::Decoder::default().decode(&mut text).unwrap();
    assert_eq!(&text[..length], content);
}

proptest! {
    #[test]
    fn a_frame_says_all_trailers(
        trailers in proptest::collection::vec(("[A-Za-z][A-Za-z0-9-]{0,10}", "[!-~]([ -~]{0,20}[!-~])?"), 0..5),
    ) {
        let line = |(name, value): &(String, String)| format!("{name}: {value}\r\n");
        let frame = trailer_frame(trailers.iter().map(line).collect::<String>().as_bytes());
        prop_assert_eq!(frame[0], TRAILERS);
        let length = u32::from_be_bytes(frame[1..FRAME_HEAD].try_into().unwrap());
        let said = std::str::from_utf8(&frame[FRAME_HEAD..]).unwrap();
        prop_assert_eq!(length as usize, said.len());
        let expected = trailers.iter().map(|(name, value)| format!("{}:{value}\r\n", name.to_lowercase()));
        prop_assert_eq!(said, expected.collect::<String>());
    }

    #[test]
    fn no_head_breaks_it(head in "([a-zA-Z-]{0,12}:? ?(application/grpc-web|application/grpc)?[ -~]{0,9}\r?\n?){0,5}", whole: bool) {
        let mut text = head.clone().into_bytes();
        let _ = translate_request(&mut text);
        let mut text = head.into_bytes();
        let _ = translate_answer(&mut text, Form::Text, whole);
    }
}
