//! One client connection that speaks HTTP/1: exchange after exchange, with nothing held in between.

use std::{
    future::poll_fn,
    io::{self, ErrorKind},
    task::Poll,
};

use weir_model::{listener::Listener, time::Millis};

use super::{
    exchange::exchange,
    lines::{HeadEnd, find_end},
    parse::request_line,
    request::{RequestHead, refusal},
};
use crate::{
    buffer::Buffer,
    clock,
    conn::Conn,
    error::{Cause, ProxyError},
    http2,
};

/// Line ends that may precede a request line (RFC 9112 section 2.2 asks for one).
const MOST_LEADING_BYTES: usize = 16;
/// How long a client may take to read the end of the answer, with a request of its own unread.
const LINGER: Millis = Millis::secs(2);

/// What becomes of the connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may come.
    Keep,
    /// It ends, with nothing of what the client sent unread.
    Close,
    /// It ends; the client may still be sending, and must get to read the answer first.
    Linger,
    /// It ends in a way that shows the client that the answer is incomplete.
    Reset,
    /// It began with the preface of HTTP/2, which has not been used.
    Multiplex,
}

/// What a connection has been used for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    /// Somebody has asked something.
    pub(super) any: bool,
    /// Bytes of line ends that have come since, and are none of a request.
    stray: usize,
}

impl Served {
    /// It has just been asked something.
    pub(super) const ASKED: Self = Self { any: true, stray: 0 };
}

/// How long a connection stays ready for its next request before it lets go of the room for an exchange.
const WARM: Millis = Millis(100);

/// Serves one connection to its end. Between requests it holds no buffer, and soon no exchange either: what is left
/// then is this future.
pub(crate) async fn serve(conn: Conn, mut served: Served) {
    if conn.tls().is_multiplexed() {
        let early = conn.worker.spare.buffer();
        return Box::pin(http2::serve(conn, early)).await;
    }
    while wait_for_request(&conn, served, conn.idle_timeout()).await == Wait::Readable {
        let mut input = conn.worker.spare.buffer();
        let after = Box::pin(exchanges(&conn, &mut served, &mut input)).await;
        if after == After::Keep {
            continue;
        }
        if after == After::Multiplex {
            return Box::pin(http2::serve(conn, input)).await;
        }
        // Mostly there is nothing to wait for.
        if after != After::Close || !conn.stream.finish() {
            Box::pin(end(&conn, after)).await;
        }
        return;
    }
}

/// Serves what has been read of a connection before it was known to be HTTP; says if and how it goes on.
pub(crate) async fn begin(conn: &Conn, served: &mut Served, early: &mut Buffer) -> After {
    let after = exchanges(conn, served, early).await;
    if after != After::Close || !conn.stream.finish() {
        end(conn, after).await;
    }
    after
}

/// Ends a connection as its last exchange has left it.
async fn end(conn: &Conn, after: After) {
    match after {
        After::Keep | After::Multiplex => {}
        After::Close => conn.finish(LINGER).await,
        After::Linger => conn.linger(LINGER).await,
        After::Reset => conn.stream.abort(),
    }
}

/// What came of waiting for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Readable,
    TooLong,
    /// The connection broke, or is to end.
    Over,
}

/// Waits until the client sends something.
fn wait_for_request(conn: &Conn, served: Served, length: Millis) -> impl Future<Output = Wait> {
    conn.timer.set_after(length);
    poll_fn(move |cx| match conn.stream.poll_readable(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Wait::Readable),
        Poll::Ready(Err(_)) => Poll::Ready(Wait::Over),
        Poll::Pending if conn.timer.poll_elapsed(cx) => Poll::Ready(Wait::TooLong),
        // Who connected and has not been served yet is about to ask.
        Poll::Pending if served.any && conn.is_over() => Poll::Ready(Wait::Over),
        Poll::Pending => Poll::Pending,
    })
}

/// Serves exchanges until nothing more has come for a while. The first of them may have come already.
async fn exchanges(conn: &Conn, served: &mut Served, input: &mut Buffer) -> After {
    loop {
        let after = exchange(conn, input, served).await;
        if after != After::Keep {
            return after;
        }
        if conn.is_over() && served.any && (conn.cut().is_some() || !conn.has_more(input)) {
            return After::Close;
        }
        // What has come already is answered, the last of it with the word that nothing more will be.
        if input.is_empty() {
            let (idle, warm) = (conn.idle_timeout(), WARM.min(conn.idle_timeout()));
            match wait_for_request(conn, *served, warm).await {
                Wait::Readable => {}
                Wait::TooLong if warm < idle => return After::Keep,
                Wait::TooLong | Wait::Over => return After::Close,
            }
        }
    }
}

/// Why there is no head.
pub(crate) enum NoHead {
    /// The client closed before it sent a byte of one, or has begun a line end for too long.
    Closed,
    /// Line ends are all that has come; what will is still to be waited for.
    LineEnds,
    /// It sent something that is not one, or too slowly.
    Bad(ProxyError),
}

/// Reads a request head into `input` and parses it; returns its length.
pub(crate) async fn read_head(
    conn: &Conn,
    listener: &Listener,
    input: &mut Buffer,
    request: &mut RequestHead,
    served: &mut Served,
) -> Result<usize, NoHead> {
    let limit = listener.limits.header_bytes;
    let deadline = clock::now() + listener.timeouts.header;
    let (mut scanned, mut line_seen, mut tried) = (0, false, false);
    loop {
        if input.filled().starts_with(b"\r\n") {
            pass_line_ends(input, served)?;
        }
        // A head usually comes whole and is parsed at once. One that does not is parsed again only when its end has been
        // seen: however it trickles in, it is parsed twice at most.
        let mut end = if tried { find_end(input.filled(), &mut scanned) } else { HeadEnd::Missing };
        if matches!(end, HeadEnd::At(_)) || !tried && !matches!(input.filled(), b"" | b"\r") {
            let length = request.parse(input.filled(), listener.limits.headers).map_err(NoHead::Bad)?;
            end = length.map_or_else(|| find_end(input.filled(), &mut scanned), HeadEnd::At);
            tried = true;
        }
        match end {
            HeadEnd::At(length) if length <= limit => return Ok(length),
            HeadEnd::BadLineEnd => return Err(NoHead::Bad(Cause::ClientBadLineEnd.into())),
            HeadEnd::Missing if input.len() < limit => {}
            HeadEnd::At(_) | HeadEnd::Missing => return Err(NoHead::Bad(too_large(input.filled(), limit))),
        }
        if !line_seen && memchr::memchr(b'\n', input.filled()).is_some() {
            // What can never become a request is refused at its first line, without waiting for the rest.
            request_line(input.filled()).map_err(|bad| NoHead::Bad(refusal(bad, input.filled())))?;
            line_seen = true;
        }
        if !input.has_space() {
            input.grow((input.len() + 1).max(limit));
        }
        conn.timer.set(deadline);
        let read = poll_fn(|cx| match conn.stream.poll_fill(cx, input) {
            Poll::Pending if conn.timer.poll_elapsed(cx) => Poll::Ready(Err(ErrorKind::TimedOut.into())),
            Poll::Pending if conn.cut().is_some() => Poll::Ready(Ok(0)),
            Poll::Pending if served.any && conn.is_over() && is_nothing(input) => Poll::Ready(Ok(0)),
            other => other,
        });
        let read = read.await;
        if !matches!(read, Ok(1..)) {
            return Err(if is_nothing(input) {
                NoHead::Closed
            } else {
                NoHead::Bad(broken_off(read, conn.cut()))
            });
        }
    }
}

/// Line ends before a request line are none of the request (RFC 9112 section 2.2). Where nothing stands behind them, nothing has
/// been asked yet.
#[cold]
fn pass_line_ends(input: &mut Buffer, served: &mut Served) -> Result<(), NoHead> {
    while input.filled().starts_with(b"\r\n") {
        input.consume(2);
        served.stray += 2;
    }
    match served.stray {
        ..=MOST_LEADING_BYTES if input.is_empty() => Err(NoHead::LineEnds),
        ..=MOST_LEADING_BYTES => Ok(()),
        _ => Err(NoHead::Bad(Cause::ClientBadRequestLine.into())),
    }
}

/// True if no more than the beginning of a line end has come.
#[cold]
fn is_nothing(input: &Buffer) -> bool {
    matches!(input.filled(), b"" | b"\r")
}

/// Why there is no more of a head that has begun.
#[cold]
fn broken_off(read: io::Result<usize>, cut: Option<Cause>) -> ProxyError {
    match (read, cut) {
        (Ok(_), Some(cut)) => cut.into(),
        (Ok(_), None) => ProxyError::with(Cause::ClientAborted, "in the request head"),
        (Err(error), _) if error.kind() == ErrorKind::TimedOut => Cause::ClientTimeoutHeader.into(),
        (Err(error), _) => ProxyError::from_client(&error),
    }
}

/// True if the head of another request has come whole behind the last one.
#[cold]
pub(super) fn has_another(input: &Buffer) -> bool {
    let bytes = input.filled();
    let begun = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    memchr::memmem::find(&bytes[begun..], b"\r\n\r\n").is_some()
}

/// A head that is too large is a target that is too long if its first line alone is.
#[cold]
pub(super) fn too_large(bytes: &[u8], limit: usize) -> ProxyError {
    let line = memchr::memchr(b'\n', &bytes[..bytes.len().min(limit)]);
    if line.is_some() { Cause::ClientHeaderTooLarge.into() } else { Cause::ClientUriTooLong.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_output<A, F>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_is_small() {
        let size = size_of_output(|conn: Conn| serve(conn, Served::default()));
        println!("idle connection: {size} bytes");
        assert!(size <= 512, "{size} bytes");
    }
}
