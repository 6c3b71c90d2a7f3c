//! One JSON object per line, with the names of the variables as keys. A key whose value is not known is left out.

use weir_model::template::Escape;

use super::{
    record::{Attempt, Outcome, Record},
    values::{put_number, put_seconds},
};
use crate::telemetry::time;

/// `,"name":`, made while compiling: one copy per key.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// Appends a text, unless it is empty.
#[inline]
fn text(key: &'static str, value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        out.extend_from_slice(key.as_bytes());
        out.push(b'"');
        Escape::Json.put(value, out);
        out.push(b'"');
    }
}

#[inline]
fn number(key: &'static str, value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    put_number(value, out);
}

#[inline]
fn seconds(key: &'static str, micros: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    put_seconds(micros, out);
}

/// Appends the object.
pub(super) fn write(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    time::put_rfc3339(record.began, out);
    out.push(b'"');
    text(key!("listener"), record.listener.as_bytes(), out);
    client(record, out);
    tls(record, out);
    if let Some(request) = &record.request {
        let (method, target, protocol) = request.parts();
        text(key!("request_id"), record.request_id, out);
        text(key!("method"), method, out);
        text(key!("host"), request.host, out);
        text(key!("target"), target, out);
        text(key!("protocol"), protocol, out);
        text(key!("referer"), request.field("referer"), out);
        text(key!("user_agent"), request.field("user-agent"), out);
    } else {
        text(key!("protocol"), b"TCP", out);
    }
    text(key!("route"), record.route.as_bytes(), out);
    text(key!("pool"), record.pool_name().as_bytes(), out);
    text(key!("backend"), record.backend_name().as_bytes(), out);
    if record.status > 0 {
        number(key!("status"), u64::from(record.status), out);
    }
    if let Some(status) = record.grpc_status {
        number(key!("grpc_status"), u64::from(status), out);
    }
    if let Some(error) = record.error {
        text(key!("cause"), error.cause.code().as_bytes(), out);
        text(key!("sentence"), error.to_string().as_bytes(), out);
    }
    number(key!("bytes_in"), record.bytes_in, out);
    number(key!("bytes_out"), record.bytes_out, out);
    number(key!("body_bytes_out"), record.body_bytes_out, out);
    if record.request.is_some() {
        seconds(key!("head_time"), record.head_time, out);
    }
    seconds(key!("duration"), record.duration, out);
    attempts(record, out);
    out.push(b'}');
}

fn client(record: &Record<'_>, out: &mut Vec<u8>) {
    text(key!("client_address"), record.client.as_bytes(), out);
    if record.is_direct() {
        number(key!("client_port"), u64::from(record.peer_port), out);
    } else {
        text(key!("peer_address"), record.peer.as_bytes(), out);
    }
}

/// What a connection in clear text has nothing of.
fn tls(record: &Record<'_>, out: &mut Vec<u8>) {
    let known = &record.tls;
    if let Some(name) = known.server_name() {
        text(key!("sni"), name.as_bytes(), out);
    }
    if !known.ends_here() {
        return;
    }
    text(key!("tls_version"), known.version().as_bytes(), out);
    text(key!("tls_cipher"), known.cipher().as_bytes(), out);
    if let Some(agreed) = known.protocols().next() {
        text(key!("alpn"), agreed, out);
    }
    if let Some(client) = known.identity() {
        text(key!("client_cert_subject"), client.subject.as_bytes(), out);
        text(key!("client_cert_fingerprint"), client.fingerprint.as_bytes(), out);
    }
}

/// Every backend that was asked, in order.
fn attempts(record: &Record<'_>, out: &mut Vec<u8>) {
    if record.attempts.is_empty() {
        return;
    }
    out.extend_from_slice(key!("attempts").as_bytes());
    for (index, each) in record.attempts.iter().enumerate() {
        out.push(if index == 0 { b'[' } else { b',' });
        attempt(record, each, out);
    }
    out.push(b']');
}

fn attempt(record: &Record<'_>, attempt: &Attempt, out: &mut Vec<u8>) {
    let backend = record.pool.and_then(|pool| pool.backends.get(attempt.backend));
    let name = attempt.gone.as_deref().or_else(|| backend.map(|backend| &*backend.name));
    out.extend_from_slice(b"{\"backend\":\"");
    Escape::Json.put(name.unwrap_or("").as_bytes(), out);
    out.push(b'"');
    let times = [
        (key!("queue_time"), attempt.queue_time().filter(|time| *time > 0)),
        (key!("connect_time"), attempt.connect_time().filter(|_| !attempt.reused)),
        (key!("response_time"), attempt.response_time()),
        (key!("duration"), (attempt.ended > 0).then(|| attempt.ended.saturating_sub(attempt.began))),
    ];
    for (key, time) in times {
        if let Some(time) = time {
            seconds(key, time, out);
        }
    }
    if attempt.reused {
        out.extend_from_slice(b",\"reused\":true");
    }
    match attempt.outcome {
        Outcome::None => {}
        Outcome::Answered(0) => out.extend_from_slice(b",\"connected\":true"),
        Outcome::Answered(status) => number(key!("status"), u64::from(status), out),
        Outcome::Failed(cause) => text(key!("cause"), cause.code().as_bytes(), out),
    }
    out.push(b'}');
}
