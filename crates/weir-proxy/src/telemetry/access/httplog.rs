//! The line of HAProxy's `option httplog`, and of `option tcplog` for connections, without the syslog header.
//!
//! docs/logging.md says where weir's facts differ from HAProxy's.

use super::{record::Record, termination, values::put_number};
use crate::telemetry::time;

/// Appends the line.
pub(super) fn write(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(record.client.as_bytes());
    out.push(b':');
    put_number(if record.is_direct() { u64::from(record.peer_port) } else { 0 }, out);
    out.extend_from_slice(b" [");
    time::put_clf_millis(record.began, out);
    out.extend_from_slice(b"] ");
    name(record.listener, out);
    out.push(b' ');
    // Like a frontend that answers by itself.
    name(if record.pool.is_some() { record.pool_name() } else { record.listener }, out);
    out.push(b'/');
    name(if record.backend.is_some() { record.backend_name() } else { "<NOSRV>" }, out);
    out.push(b' ');
    timers(record, out);
    if record.request.is_some() {
        out.push(b' ');
        match record.status {
            0 => out.extend_from_slice(b"-1"),
            status => put_number(u64::from(status), out),
        }
    }
    out.push(b' ');
    put_number(record.bytes_out, out);
    let state = termination::state(record);
    if record.request.is_some() {
        out.extend_from_slice(b" - - ");
        out.extend_from_slice(&state);
    } else {
        out.push(b' ');
        out.extend_from_slice(&state[..2]);
    }
    connections(record, out);
    out.extend_from_slice(b" 0/0");
    if let Some(request) = &record.request {
        out.extend_from_slice(b" \"");
        quoted(request.line, out);
        out.push(b'"');
    }
}

/// A name, without the spaces that would begin another field. `<NOSRV>` is HAProxy's own.
fn name(name: &str, out: &mut Vec<u8>) {
    match name {
        "" => out.push(b'-'),
        "<NOSRV>" => out.extend_from_slice(name.as_bytes()),
        _ => encode(name.as_bytes(), b" /", out),
    }
}

/// Everything that could end the quotes, or do harm where the line is shown, as `#XX`.
fn quoted(text: &[u8], out: &mut Vec<u8>) {
    encode(text, b"", out);
}

fn encode(text: &[u8], more: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        if !(0x20..0x7f).contains(&byte) || b"\"#<>".contains(&byte) || more.contains(&byte) {
            out.extend_from_slice(&[b'#', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        } else {
            out.push(byte);
        }
    }
}

/// `TR/Tw/Tc/Tr/Ta`, and `Tw/Tc/Tt` for connections, in milliseconds; -1 for what was never reached.
fn timers(record: &Record<'_>, out: &mut Vec<u8>) {
    let mut timer = |micros: Option<u64>, end: &[u8]| {
        match micros {
            Some(micros) => put_number(micros / 1000, out),
            None => out.extend_from_slice(b"-1"),
        }
        out.extend_from_slice(end);
    };
    let last = record.last_attempt();
    if record.request.is_some() {
        timer(Some(record.head_time), b"/");
    }
    timer(last.and_then(|last| last.queue_time()), b"/");
    timer(last.and_then(|last| last.connect_time()), b"/");
    if record.request.is_some() {
        timer(last.and_then(|last| last.response_time()), b"/");
    }
    timer(Some(record.duration), b"");
}

/// `actconn/feconn/beconn/srv_conn/retries`. Requests in flight stand for connections of pool and backend.
fn connections(record: &Record<'_>, out: &mut Vec<u8>) {
    use std::sync::atomic::Ordering::Relaxed;
    let (of_listener, of_worker) = record.open;
    let in_flight = |backend: &weir_model::pool::Backend| u64::from(backend.status.active.load(Relaxed));
    let of_backend = record.backend().map_or(0, in_flight);
    let of_pool = record.pool.map_or(0, |pool| pool.backends.iter().map(in_flight).sum());
    for (index, count) in [of_worker, of_listener, of_pool, of_backend].into_iter().enumerate() {
        out.push(if index == 0 { b' ' } else { b'/' });
        put_number(count, out);
    }
    out.push(b'/');
    let elsewhere = record.attempts.first().map(|first| first.backend) != record.backend;
    if record.retries() > 0 && elsewhere {
        out.push(b'+');
    }
    put_number(record.retries() as u64, out);
}
