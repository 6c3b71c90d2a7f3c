//! Answers of the admin API.

use std::{fmt::Write as _, time::SystemTime};

use serde::Serialize;

use super::wire::Request;
use crate::trouble::Trouble;

/// What is answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    /// The methods that there are, for an answer that refuses another one.
    allow: Option<&'static str>,
}

impl Answer {
    /// Text of this type.
    pub(super) const fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status, content_type, body, allow: None }
    }

    /// A line of text.
    pub(super) fn text(status: u16, line: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{line}\n").into_bytes())
    }

    /// A value as JSON.
    pub(super) fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(status, "application/json", body),
            // Only maps with keys that are no text fail, and there are none.
            Err(error) => Self::text(500, &error.to_string()),
        }
    }

    /// What is wrong and what to do about it, as JSON.
    pub(super) fn error(status: u16, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::json(status, &Trouble::new(cause, remedy))
    }

    /// What goes over the wire. `head_only` answers HEAD, `close` says that nothing more is read.
    pub(super) fn bytes(&self, head_only: bool, close: bool) -> Vec<u8> {
        let Self { status, content_type, body, allow } = self;
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(*status));
        // Writing to a String cannot fail.
        let _ = write!(head, "Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now()));
        let _ = write!(head, "Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len());
        head.push_str("Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
        if let Some(methods) = allow {
            let _ = write!(head, "Allow: {methods}\r\n");
        }
        if *status == 401 {
            head.push_str("WWW-Authenticate: Bearer realm=\"weir\"\r\n");
        }
        if close {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if !head_only {
            bytes.extend_from_slice(body);
        }
        bytes
    }
}

/// Answers one of these methods, GET standing for HEAD as well; any other one is 405.
pub(super) fn allowed(request: &Request, methods: &'static str) -> Result<(), Answer> {
    let asked = if request.method == "HEAD" { "GET" } else { &*request.method };
    if methods.split(", ").any(|method| method == asked) {
        return Ok(());
    }
    let remedy = format!("use {methods}");
    let refused = Answer::error(405, format!("{} is not served under this path", request.method), remedy);
    Err(Answer { allow: Some(methods), ..refused })
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
