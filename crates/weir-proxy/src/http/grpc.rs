//! Calls of gRPC: requests like any other, but that their outcome stands at the end of the answer, that they say themselves
//! how long they may take, and that who made them understands no other answer than one of gRPC.

use weir_model::{
    grpc,
    time::{Millis, Moment},
};

use super::{
    exchange::{Ended, Exchange},
    grpc_web::{self, WebCall},
    kept::ResponseFields,
    request::RequestHead,
    response::ResponseHead,
    serve::After,
};
use crate::{
    clock,
    error::{Cause, ProxyError, Side},
    telemetry::Fields,
};

/// What has to be known of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// When its caller wants it to be over; [`Moment::NEVER`] if that was not said.
    deadline: Moment,
    /// How it came and is answered, if it is one of gRPC-Web.
    pub(super) web: Option<WebCall>,
}

/// The call that this request is, if it is one.
pub(super) fn call(request: &RequestHead, head: &[u8]) -> Option<Call> {
    let field = |name: &[u8]| {
        let mut lines = request.lines.iter();
        let found = lines.find(|line| line.name.of(head).eq_ignore_ascii_case(name));
        found.map(|line| line.value.of(head))
    };
    if !grpc::is_call(field(b"content-type")?) {
        return None;
    }
    Some(Call { deadline: deadline(field(b"grpc-timeout")), web: None })
}

/// The same, of a request that was one of gRPC-Web, where this field says how long it may take.
pub(super) fn web_call(web: WebCall, timeout: Option<&[u8]>) -> Call {
    Call { deadline: deadline(timeout), web: Some(web) }
}

fn deadline(said: Option<&[u8]>) -> Moment {
    said.and_then(timeout).map_or(Moment::NEVER, |timeout| clock::now() + timeout)
}

/// A time-out as gRPC writes it: up to eight digits and a unit.
fn timeout(text: &[u8]) -> Option<Millis> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(Millis(match unit {
        b'H' => number * 3_600_000,
        b'M' => number * 60_000,
        b'S' => number * 1000,
        b'm' => number,
        b'u' => number.div_ceil(1000),
        b'n' => number.div_ceil(1_000_000),
        _ => return None,
    }))
}

impl Exchange<'_> {
    /// Notes that this is a call, and that it may be over sooner than its route says.
    pub(super) fn begin_call(&mut self, call: Call) {
        self.asked.call = Some(call);
        self.deadline = self.deadline.min(call.deadline);
    }

    /// What a failure means to a caller whose time is over: a backend that knows that too ends the call by itself, and may do so
    /// before our timer is looked at.
    pub(super) fn in_time(&self, error: ProxyError) -> ProxyError {
        match &self.asked.call {
            Some(call) if error.cause.side() == Side::Backend && clock::now() >= call.deadline => {
                Cause::CallDeadline.into()
            }
            _ => error,
        }
    }

    /// What it means that [`Exchange::deadline`] has come.
    pub(super) fn out_of_time(&self) -> Cause {
        match &self.asked.call {
            Some(call) if call.deadline <= self.deadline => Cause::CallDeadline,
            _ => Cause::TimeoutRoute,
        }
    }

    /// Notes the status of a call whose answer is a head alone.
    pub(super) fn note_call_head(&mut self, response: &ResponseHead, head: &[u8]) {
        if self.asked.call.is_some() {
            let said = ResponseFields { response, head }.first("grpc-status").map(grpc::status);
            self.grpc_status = said.or_else(|| match response.status {
                200 => None,
                status => Some(grpc::of_http(status)),
            });
        }
    }

    /// Notes the status that these trailers say.
    pub(super) fn note_call_trailers(&mut self, trailers: &[u8]) {
        if self.asked.call.is_some() {
            self.grpc_status = self.grpc_status.or_else(|| status_in(trailers));
        }
    }

    /// The status of HTTP that an answer amounts to.
    #[inline]
    pub(super) fn amounts_to(&self, status: u16) -> u16 {
        match self.grpc_status {
            Some(said) if status == 200 => grpc::http(said),
            _ => status,
        }
    }

    /// Tells a caller what went wrong: in an answer that is nothing but its end.
    pub(super) async fn refuse_call(&mut self, error: ProxyError, after: After) -> Ended {
        let mut fields = b"Content-Type: application/grpc\r\n".to_vec();
        self.write_call_status(&error, &mut fields);
        let mut body = Vec::new();
        if let Some(web) = self.asked.call.and_then(|call| call.web) {
            body = grpc_web::translate_refusal(&mut fields, web.reads);
        }
        if self.listener.debug_headers {
            super::write::field(&mut fields, b"weir-error", error.cause.code().as_bytes());
        }
        let sent = self.send(200, &fields, &body, after).await;
        Ended { after: sent.unwrap_or(After::Close), error: Some(error) }
    }

    /// Writes the end of a call that failed.
    pub(super) fn write_call_status(&mut self, error: &ProxyError, out: &mut Vec<u8>) {
        let status = error.cause.grpc_status();
        self.grpc_status = Some(status);
        out.extend_from_slice(b"grpc-status: ");
        out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
        out.extend_from_slice(b"\r\ngrpc-message: ");
        percent_encode(error.cause.sentence(), out);
        out.extend_from_slice(b"\r\n");
    }
}

/// The status that trailers say.
fn status_in(trailers: &[u8]) -> Option<u8> {
    trailers.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
        name.eq_ignore_ascii_case(b"grpc-status").then(|| grpc::status(value[1..].trim_ascii()))
    })
}

/// Writes a message as gRPC wants it: what is not printable ASCII, and the percent sign, as hexadecimal.
fn percent_encode(text: &str, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'%' | 0..0x20 | 0x7f.. => {
                out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
            plain => out.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs_are_numbers_with_a_unit() {
        let cases = [
            ("1H", Some(3_600_000)),
            ("2M", Some(120_000)),
            ("99999999S", Some(99_999_999_000)),
            ("100m", Some(100)),
            ("1500u", Some(2)),
            ("1n", Some(1)),
            ("0m", Some(0)),
            ("", None),
            ("m", None),
            ("123456789m", None),
            ("1x", None),
            ("-1m", None),
            ("1 m", None),
        ];
        for (text, expected) in cases {
            assert_eq!(timeout(text.as_bytes()).map(|timeout| timeout.0), expected, "{text}");
        }
    }

    #[test]
    fn the_status_is_found_among_trailers() {
        assert_eq!(status_in(b"x: 1\r\nGrpc-Status: 14\r\ngrpc-message: a: b\r\n"), Some(14));
        assert_eq!(status_in(b"x: 1\r\n"), None);
        assert_eq!(status_in(b""), None);
    }

    #[test]
    fn messages_are_percent_encoded() {
        let mut out = Vec::new();
        percent_encode("50 % \u{e4}\n", &mut out);
        assert_eq!(out, b"50 %25 %C3%A4%0A");
    }
}
