//! The health checking protocol of gRPC: `grpc.health.v1.Health/Check`, one call over a fresh connection.
//!
//! Its two messages are a text and a number, so that they are written and read here (Protocol Buffers, "Encoding").

use bytes::Bytes;
use http::{Request, Uri, header, uri};
use weir_model::{grpc, health::GrpcProbe, time::Millis};

use super::http2::{self, Answer};
use crate::io::Stream;

/// Bytes of an answer; what servers say here has seven.
const MOST: usize = 4096;
/// What stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Letters that are shown of what a server says.
const SHOWN: usize = 200;

/// Asks and judges.
pub(super) async fn ask(
    stream: Stream,
    question: &GrpcProbe,
    (host, secure): (&str, bool),
    timeout: Millis,
) -> Result<String, String> {
    let request = request(host, secure, timeout).ok_or_else(|| format!("`{host}` cannot be asked for"))?;
    let content = Some(message(&question.service));
    judge(&http2::ask(stream, (request, content), MOST, |_, _| false).await?, &question.service)
}

fn request(host: &str, secure: bool, timeout: Millis) -> Option<Request<()>> {
    let uri = Uri::builder()
        .scheme(if secure { uri::Scheme::HTTPS } else { uri::Scheme::HTTP })
        .authority(host)
        .path_and_query("/grpc.health.v1.Health/Check")
        .build();
    let request = Request::post(uri.ok()?)
        .version(http::Version::HTTP_2)
        .header(header::TE, "trailers")
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::USER_AGENT, "weir-health")
        // Eight digits at most.
        .header("grpc-timeout", format!("{}m", timeout.0.min(99_999_999)));
    request.body(()).ok()
}

/// `HealthCheckRequest { string service = 1; }` behind its prefix. The name has at most 255 bytes.
fn message(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(1 << 3 | 2);
        varint(service.len() as u64, &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0; PREFIX];
    framed[1..].copy_from_slice(&(message.len() as u32).to_be_bytes());
    framed.append(&mut message);
    framed.into()
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn judge(answer: &Answer, service: &str) -> Result<String, String> {
    let head = &answer.head;
    let kind = head.headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if head.status != http::StatusCode::OK || !grpc::is_call(kind) {
        return Err(format!("it does not speak gRPC: answered {}", head.status.as_u16()));
    }
    // Where there is nothing but a status, it stands in the head.
    let said = if head.headers.contains_key("grpc-status") { &head.headers } else { &answer.trailers };
    let Some(status) = said.get("grpc-status") else {
        return Err("its answer has no grpc-status".to_owned());
    };
    match grpc::status(status.as_bytes()) {
        0 => serving(&answer.body, service),
        status => {
            let text = said.get("grpc-message").map_or(&b""[..], |value| value.as_bytes());
            Err(refused(status, text, service))
        }
    }
}

/// Why there was no answer to the question.
fn refused(status: u8, text: &[u8], service: &str) -> String {
    let meaning = match status {
        grpc::UNIMPLEMENTED => "it does not offer grpc.health.v1.Health: ".to_owned(),
        grpc::NOT_FOUND => format!("it knows no service `{service}`: "),
        _ => String::new(),
    };
    let mut refused = match status {
        grpc::OTHER => format!("{meaning}an unknown grpc-status"),
        _ => format!("{meaning}grpc-status {status} ({})", grpc::word(status)),
    };
    let text = String::from_utf8_lossy(text);
    let text: String = text.chars().filter(|letter| !letter.is_control()).take(SHOWN).collect();
    if !text.is_empty() {
        refused.push_str(": ");
        refused.push_str(&text);
    }
    refused
}

/// What `HealthCheckResponse { ServingStatus status = 1; }` says.
fn serving(body: &[u8], service: &str) -> Result<String, String> {
    let message = body
        .split_at_checked(PREFIX)
        .filter(|(prefix, message)| prefix[0] == 0 && prefix[1..] == (message.len() as u32).to_be_bytes());
    let Some(status) = message.and_then(|(_, message)| first_number(message)) else {
        return Err("its answer is not one of grpc.health.v1.Health".to_owned());
    };
    match status {
        1 => Ok("answered SERVING".to_owned()),
        2 => Err("answered NOT_SERVING".to_owned()),
        3 => Err(format!("answered SERVICE_UNKNOWN: it knows no service `{service}`")),
        0 => Err("answered UNKNOWN".to_owned()),
        other => Err(format!("answered with the status {other}, which the protocol does not know")),
    }
}

/// The number of field 1, which is 0 if it is not there; other fields are passed over. None if that is no message.
fn first_number(mut message: &[u8]) -> Option<u64> {
    let mut found = 0;
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        let skipped = match (key >> 3, key & 7) {
            (0, _) => return None,
            (1, 0) => {
                found = take_varint(&mut message)?;
                0
            }
            (_, 0) => take_varint(&mut message).map(|_| 0)?,
            (_, 1) => 8,
            (_, 2) => take_varint(&mut message)?,
            (_, 5) => 4,
            _ => return None,
        };
        message = message.get(usize::try_from(skipped).ok()?..)?;
    }
    Some(found)
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_question_is_a_message_of_one_text() {
        assert_eq!(&message("")[..], [0; 5]);
        assert_eq!(&message("a.B")[..], b"\0\0\0\0\x05\x0a\x03a.B");
        let long = "x".repeat(200);
        assert_eq!(&message(&long)[..8], [0, 0, 0, 0, 203, 0x0a, 200, 1]);
    }

    #[test]
    fn answers_are_read_as_the_protocol_says() {
        let judged = |message: &[u8]| {
            let mut body = vec![0, 0, 0, 0, message.len() as u8];
            body.extend_from_slice(message);
            serving(&body, "a.B")
        };
        assert_eq!(judged(&[8, 1]), Ok("answered SERVING".into()));
        assert_eq!(judged(&[8, 2]), Err("answered NOT_SERVING".into()));
        assert_eq!(judged(&[8, 3]), Err("answered SERVICE_UNKNOWN: it knows no service `a.B`".into()));
        assert_eq!(judged(&[]), Err("answered UNKNOWN".into()));
        assert_eq!(
            judged(&[8, 0x87, 1]).unwrap_err(),
            "answered with the status 135, which the protocol does not know"
        );
        // Fields of other kinds: a text, a number, four bytes, eight bytes; the last one of a name counts.
        assert_eq!(
            judged(b"\x12\x02hi\x18\x96\x01\x25abcd\x31abcdefgh\x08\x02\x08\x01"),
            Ok("answered SERVING".into())
        );
        for wrong in [&[8][..], &[8, 0x80], &[0x12, 9, 1], &[0x0b, 1], &[0, 1], &[0x31, 1], &[0xff; 12]] {
            assert_eq!(
                judged(wrong),
                Err("its answer is not one of grpc.health.v1.Health".into()),
                "{wrong:?}"
            );
        }
        for body in [
            &b""[..],
            b"\0\0\0\0",
            b"\x01\0\0\0\x02\x08\x01",
            b"\0\0\0\0\x03\x08\x01",
            b"\0\0\0\0\x01\x08\x01",
        ] {
            assert!(serving(body, "").is_err(), "{body:?}");
        }
    }

    #[test]
    fn what_was_refused_is_said_in_words() {
        assert_eq!(
            refused(12, b"unknown service", ""),
            "it does not offer grpc.health.v1.Health: grpc-status 12 (unimplemented): unknown service"
        );
        assert_eq!(refused(5, b"", "a.B"), "it knows no service `a.B`: grpc-status 5 (not_found)");
        assert_eq!(refused(17, b"a\nb", ""), "an unknown grpc-status: ab");
    }

    proptest! {
        #[test]
        fn no_answer_harms(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = serving(&body, "");
            let mut framed = vec![0, 0, 0, 0, body.len() as u8];
            framed.extend_from_slice(&body);
            let _ = serving(&framed, "");
        }
    }
}
