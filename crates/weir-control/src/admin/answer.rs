//! Answers of the admin API.

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Bytes,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS},
};
use serde::Serialize;

/// What is answered.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    allow: bool,
}

#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
    remedy: &'a str,
}

impl Answer {
    /// A line of text.
    pub(super) fn text(status: u16, line: &str) -> Self {
        let body = format!("{line}\n").into_bytes();
        Self { status, content_type: "text/plain; charset=utf-8", body, allow: false }
    }

    /// A value as JSON.
    pub(super) fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self { status: 200, content_type: "application/json", body, allow: false },
            // Only maps with keys that are no text fail, and there are none.
            Err(error) => Self::text(500, &error.to_string()),
        }
    }

    /// What is wrong and what to do about it, as JSON.
    pub(super) fn error(status: u16, error: &str, remedy: &str) -> Self {
        Self { status, ..Self::json(&Refusal { error, remedy }) }
    }

    /// The response.
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.allow {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

/// Answers GET and HEAD; any other method is 405.
pub(super) fn allowed<B>(request: &Request<B>, answer: impl FnOnce() -> Answer) -> Answer {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer();
    }
    Answer { allow: true, ..Answer::text(405, "this is only for reading: use GET") }
}
