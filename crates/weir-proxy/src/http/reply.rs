//! Answers that weir gives itself: refusals, redirects, fixed responses.

use std::{borrow::Cow, io, sync::Arc};

use weir_model::{
    route::{Action, Redirect, Respond, Route},
    template::Template,
};

use super::{
    exchange::{Ended, Exchange},
    request::{BodyLength, RequestHead},
    serve::After,
    write::{field, write_date, write_fields, write_length},
};
use crate::{
    buffer::Buffer,
    duplex::Duplex,
    error::{Cause, ProxyError},
    telemetry::Record,
};

/// The reason phrase of a status.
pub(crate) const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

fn write_status(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// True if a field of this name is among these lines.
fn has_field(lines: &[u8], name: &[u8]) -> bool {
    let named = |line: &[u8]| {
        line.split(|byte| *byte == b':').next().is_some_and(|said| said.eq_ignore_ascii_case(name))
    };
    lines.split(|byte| *byte == b'\n').any(named)
}

/// Writes what the route answers by itself, without the fields about the connection and the body.
pub(crate) fn write_answer(
    out: &mut Vec<u8>,
    head: &[u8],
    request: &RequestHead,
    route: &Route,
    (secure, local, known): (bool, &[u8], Option<&Record<'_>>),
) {
    let status = match &route.action {
        Action::Redirect(redirect) => redirect.code,
        Action::Respond(respond) => respond.status,
        Action::Pool(_) | Action::Split(_) => 0,
    };
    let known = known.map(|known| Record { status, ..*known });
    let known = known.as_ref();
    let edits = &route.response_headers;
    match &route.action {
        Action::Redirect(redirect) if !edits.drops(b"Location") => {
            field(out, b"Location", &location(redirect, head, request, (secure, local)));
        }
        Action::Respond(respond) => {
            let kept = |field: &&(Arc<str>, Template)| !edits.drops(field.0.as_bytes());
            write_fields(out, respond.headers.iter().filter(kept), known);
            if let Some(content_type) = respond.body.content_type.filter(|_| !edits.drops(b"Content-Type")) {
                field(out, b"Content-Type", content_type.as_bytes());
            }
        }
        Action::Redirect(_) | Action::Pool(_) | Action::Split(_) => {}
    }
    write_fields(out, edits.set.iter().chain(&edits.add), known);
}

/// Where a redirect leads: what it does not say is kept from the request, or from the address that it came to if it names no
/// host.
fn location(
    redirect: &Redirect,
    head: &[u8],
    request: &RequestHead,
    (secure, local): (bool, &[u8]),
) -> Vec<u8> {
    let scheme = redirect.scheme.as_deref().unwrap_or(if secure { "https" } else { "http" });
    let unknown = redirect.host.is_none() && request.host.is_empty() && local.is_empty();
    // Where nothing is known of the authority, the path alone is a reference too (RFC 9110 section 10.2.2).
    let mut out = if unknown { Vec::new() } else { format!("{scheme}://").into_bytes() };
    match &redirect.host {
        Some(host) => out.extend_from_slice(host.as_bytes()),
        None if request.host.is_empty() => {
            let port = local.iter().rposition(|byte| *byte == b':').unwrap_or(local.len());
            out.extend_from_slice(&local[..port]);
        }
        None => out.extend_from_slice(&request.host),
    }
    let usual = if scheme == "https" { 443 } else { 80 };
    let kept = || {
        // A port belongs to the scheme and host it was written for.
        let same = redirect.scheme.is_none() && redirect.host.is_none();
        let authority = if request.host.is_empty() { local } else { request.authority.of(head) };
        let port = authority.rsplit(|byte| *byte == b':').next()?;
        std::str::from_utf8(port).ok()?.parse::<u16>().ok().filter(|_| same)
    };
    if let Some(port) = redirect.port.or_else(kept).filter(|port| *port != usual) {
        out.extend_from_slice(format!(":{port}").as_bytes());
    }
    out.extend_from_slice(&redirect.path.apply(request.path.of(head)));
    if let Some(query) = request.query {
        out.push(b'?');
        out.extend_from_slice(query.of(head));
    }
    out
}

impl Exchange<'_> {
    /// Answers as the route says.
    pub(crate) async fn answer(&mut self, input: &mut Buffer) -> Ended {
        let listener = self.listener.clone();
        let route = self.route.map(|number| &listener.routes.routes()[number]);
        let (status, body) = match route.map(|route| &route.action) {
            Some(Action::Redirect(redirect)) => (redirect.code, Cow::default()),
            Some(Action::Respond(respond)) => (respond.status, self.body(respond)),
            _ => (500, Cow::default()),
        };
        let after = self.after_own_answer(input);
        let fields = std::mem::take(&mut self.text);
        let sent = self.send(status, &fields, &body, after).await;
        self.text = fields;
        sent.map_or_else(|error| Ended { after: After::Close, error: Some(error) }, Ended::well)
    }

    /// Shows an authority that issues certificates what it asks for (RFC 8555 section 8.3).
    pub(super) async fn prove(&mut self, input: &mut Buffer, proof: &str) -> Ended {
        let after = self.after_own_answer(input);
        let sent =
            self.send(200, b"Content-Type: application/octet-stream\r\n", proof.as_bytes(), after).await;
        sent.map_or_else(|error| Ended { after: After::Close, error: Some(error) }, Ended::well)
    }

    /// Answers a request that may be passed on no more as if it had been meant for weir (RFC 9110 section 7.6.2).
    pub(super) async fn answer_as_last(&mut self, input: &mut Buffer) -> Ended {
        let after = self.after_own_answer(input);
        let sent = self.send(200, b"", b"", after).await;
        sent.map_or_else(|error| Ended { after: After::Close, error: Some(error) }, Ended::well)
    }

    /// The body of a fixed response, with its values.
    fn body<'r>(&self, respond: &'r Respond) -> Cow<'r, [u8]> {
        if let Some(text) = respond.body.text.as_literal() {
            return Cow::Borrowed(text.as_bytes());
        }
        let mut body = Vec::new();
        if let Some(kept) = &self.kept {
            self.known(kept, &kept.request, |known| {
                let known = Record { status: respond.status, ..known };
                respond.body.text.render(&known, respond.body.escape, "", &mut body);
            });
        }
        Cow::Owned(body)
    }

    /// Tells the client what went wrong, if it can still be told. `unread` says what becomes of a connection whose
    /// request was not read to its end.
    pub(crate) async fn refuse(&mut self, error: ProxyError, after: After) -> Ended {
        let status = error.cause.status();
        if status == 0 || status == 499 {
            self.status = status;
            return Ended { after: After::Close, error: Some(error) };
        }
        if self.asked.call.is_some() {
            return Box::pin(self.refuse_call(error, after)).await;
        }
        let listener = self.listener.clone();
        let plain = format!("{status} {}\n", reason(status));
        let (content_type, body) = match listener.error_page(status) {
            Some(page) => (page.content_type, &*page.body),
            None => ("text/plain; charset=utf-8", plain.as_bytes()),
        };
        let mut fields = format!("Content-Type: {content_type}\r\n").into_bytes();
        if status == 405 {
            fields.extend_from_slice(b"Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n");
        }
        if self.listener.debug_headers {
            field(&mut fields, b"weir-error", error.cause.code().as_bytes());
        }
        // Whether the client got it or not, the error to record is the one it was about.
        let sent = self.send(status, &fields, body, after).await;
        Ended { after: sent.unwrap_or(After::Close), error: Some(error) }
    }

    /// What becomes of the connection when the backend was never asked: a body that has come whole is skipped.
    pub(crate) fn after_own_answer(&self, input: &mut Buffer) -> After {
        let keep = self.asked.keep_alive && !self.conn.is_leaving();
        match self.asked.body {
            BodyLength::None if keep => After::Keep,
            BodyLength::None if input.is_empty() => After::Close,
            BodyLength::Length(length) if keep && length <= input.len() as u64 => {
                input.consume(length as usize);
                After::Keep
            }
            _ => After::Linger,
        }
    }

    /// Sends an answer of our own, and says what becomes of the connection then: what has come behind the request meanwhile would
    /// make the close a reset, which takes the end of the answer with it (RFC 9112 section 9.6).
    pub(super) async fn send(
        &mut self,
        status: u16,
        fields: &[u8],
        body: &[u8],
        after: After,
    ) -> Result<After, ProxyError> {
        let mut text = self.conn.worker.room.texts.take();
        let out = &mut text;
        out.clear();
        write_status(out, status);
        let drops = |route: &Route| route.response_headers.drops(b"Date");
        if !has_field(fields, b"Date") && !self.route().is_some_and(drops) {
            write_date(out);
        }
        out.extend_from_slice(fields);
        // The length of a 304 would be that of another answer (RFC 9110 section 8.6).
        if !(matches!(status, 204 | 304) || body.is_empty() && self.asked.call.is_some()) {
            write_length(out, body.len() as u64);
        }
        if self.listener.debug_headers {
            self.write_debug_fields(out);
        }
        if after != After::Keep {
            out.extend_from_slice(b"Connection: close\r\n");
        } else if self.asked.http10 {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        out.extend_from_slice(b"\r\n");
        let head = out.len();
        let content = if self.asked.head || status == 204 || status == 304 { &b""[..] } else { body };
        out.extend_from_slice(content);
        self.note_sent(out.len() as u64, content.len() as u64);
        self.status = status;
        let conn = self.conn;
        conn.counters(&self.listener).bytes_out.add(out.len() as u64);
        let sent = self.tell(self.client.send_answer(out, head)).await;
        conn.worker.room.give_text(text);
        sent?;
        let unread = after == After::Close && !self.client.is_stream() && conn.stream.has_unread();
        Ok(if unread { After::Linger } else { after })
    }

    /// Sends an interim response (RFC 9110 section 15.2).
    #[cold]
    pub(super) async fn send_interim(&mut self, text: &[u8]) -> Result<(), ProxyError> {
        self.tell(self.client.send_interim(text)).await?;
        if let Duplex::Bytes(_) = self.client {
            let sent = text.len() as u64;
            self.conn.counters(&self.listener).bytes_out.add(sent);
            self.note_sent(sent, 0);
        }
        Ok(())
    }

    /// Has something said to the client, who has `timeouts.send_idle` to take it.
    pub(super) async fn tell(&self, saying: impl Future<Output = io::Result<()>>) -> Result<(), ProxyError> {
        let saying = async { saying.await.map_err(|error| ProxyError::from_client(&error)) };
        let told = self.timer.limit(self.listener.timeouts.send_idle, self.conn.unless_cut(saying)).await;
        told.unwrap_or_else(|_| Err(Cause::ClientTimeoutSend.into()))
    }
}
