//! One JSON object per line, with the names of the variables as keys. A key whose value is not known is left out.

use weir_model::template::Escape;

use super::{
    record::{Attempt, Outcome, Record},
    values::{put_number, put_seconds},
};
use crate::telemetry::time;

/// Appends `,"key":`.
fn key(name: &'static str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a text, unless it is empty.
fn text(name: &'static str, value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        key(name, out);
        out.push(b'"');
        Escape::Json.put(value, out);
        out.push(b'"');
    }
}

fn number(name: &'static str, value: u64, out: &mut Vec<u8>) {
    key(name, out);
    put_number(value, out);
}

fn seconds(name: &'static str, micros: u64, out: &mut Vec<u8>) {
    key(name, out);
    put_seconds(micros, out);
}

/// Appends the object.
pub(super) fn write(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    time::put_rfc3339(record.began, out);
    out.push(b'"');
    text("listener", record.listener.as_bytes(), out);
    client(record, out);
    if let Some(request) = &record.request {
        let (method, target, protocol) = request.parts();
        text("request_id", record.request_id, out);
        text("method", method, out);
        text("host", request.host, out);
        text("target", target, out);
        text("protocol", protocol, out);
        text("referer", request.field("referer"), out);
        text("user_agent", request.field("user-agent"), out);
    } else {
        text("protocol", b"TCP", out);
    }
    text("route", record.route.as_bytes(), out);
    text("pool", record.pool_name().as_bytes(), out);
    text("backend", record.backend_name().as_bytes(), out);
    if record.status > 0 {
        number("status", u64::from(record.status), out);
    }
    if let Some(error) = record.error {
        text("cause", error.cause.code().as_bytes(), out);
        text("sentence", error.to_string().as_bytes(), out);
    }
    number("bytes_in", record.bytes_in, out);
    number("bytes_out", record.bytes_out, out);
    number("body_bytes_out", record.body_bytes_out, out);
    if record.request.is_some() {
        seconds("head_time", record.head_time, out);
    }
    seconds("duration", record.duration, out);
    attempts(record, out);
    out.push(b'}');
}

fn client(record: &Record<'_>, out: &mut Vec<u8>) {
    text("client_address", record.client.as_bytes(), out);
    if record.is_direct() {
        number("client_port", u64::from(record.peer_port), out);
    } else {
        text("peer_address", record.peer.as_bytes(), out);
    }
}

/// Every backend that was asked, in order.
fn attempts(record: &Record<'_>, out: &mut Vec<u8>) {
    if record.attempts.is_empty() {
        return;
    }
    key("attempts", out);
    for (index, each) in record.attempts.iter().enumerate() {
        out.push(if index == 0 { b'[' } else { b',' });
        attempt(record, each, out);
    }
    out.push(b']');
}

fn attempt(record: &Record<'_>, attempt: &Attempt, out: &mut Vec<u8>) {
    let backend = record.pool.and_then(|pool| pool.backends.get(attempt.backend));
    out.extend_from_slice(b"{\"backend\":\"");
    Escape::Json.put(backend.map_or("", |backend| &backend.name).as_bytes(), out);
    out.push(b'"');
    let times = [
        ("queue_time", attempt.queue_time().filter(|time| *time > 0)),
        ("connect_time", attempt.connect_time().filter(|_| !attempt.reused)),
        ("response_time", attempt.response_time()),
        ("duration", (attempt.ended > 0).then(|| attempt.ended.saturating_sub(attempt.began))),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            seconds(name, time, out);
        }
    }
    if attempt.reused {
        out.extend_from_slice(b",\"reused\":true");
    }
    match attempt.outcome {
        Outcome::None => {}
        Outcome::Answered(0) => out.extend_from_slice(b",\"connected\":true"),
        Outcome::Answered(status) => number("status", u64::from(status), out),
        Outcome::Failed(cause) => text("cause", cause.code().as_bytes(), out),
    }
    out.push(b'}');
}
