//! The common log format of NCSA httpd, and the combined one: what log analysers read.
//!
//! Quotes, backslashes, control characters, `<`, `>` and everything that is not ASCII are written as `\xXX`, as nginx
//! does, so that no parser can mistake the end of a field.

use weir_model::template::Escape;

use super::{record::Record, values::put_number};
use crate::telemetry::time;

/// `client - - [time] "request line" status bytes`.
pub(super) fn write_common(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(record.client.as_bytes());
    // Identity and user: nobody was asked who they are.
    out.extend_from_slice(b" - - [");
    time::put_clf(record.began, out);
    out.extend_from_slice(b" +0000] \"");
    match &record.request {
        Some(request) => Escape::Line.put(request.line, out),
        None => {
            out.extend_from_slice(b"TCP ");
            Escape::Line.put(record.listener.as_bytes(), out);
            out.extend_from_slice(b" -");
        }
    }
    out.extend_from_slice(b"\" ");
    // Parsers insist on three digits.
    match record.status {
        0 => out.extend_from_slice(b"000"),
        status => put_number(u64::from(status), out),
    }
    out.push(b' ');
    match record.body_bytes_out {
        0 => out.push(b'-'),
        bytes => put_number(bytes, out),
    }
}

/// The same, with referrer and user agent behind it.
pub(super) fn write_combined(record: &Record<'_>, out: &mut Vec<u8>) {
    write_common(record, out);
    for name in ["referer", "user-agent"] {
        out.extend_from_slice(b" \"");
        match record.request.map_or(&b""[..], |request| request.field(name)) {
            b"" => out.push(b'-'),
            value => Escape::Line.put(value, out),
        }
        out.push(b'"');
    }
}
