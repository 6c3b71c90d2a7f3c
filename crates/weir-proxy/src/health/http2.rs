//! One request by HTTP/2 over a fresh connection, for probes.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, client};
use http::{HeaderMap, Request, response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::http::broken;
use crate::io::Stream;

/// Bytes of the head of an answer, as HPACK counts them.
const HEAD_BYTES: u32 = 32 * 1024;

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: response::Parts,
    /// What came of the body until it was enough.
    pub(super) body: Vec<u8>,
    /// The fields behind the body; none if it was not read to its end.
    pub(super) trailers: HeaderMap,
}

/// Asks, and reads until the answer is complete, its body has `most` bytes, or what has come of it is `enough`.
pub(super) async fn ask(
    stream: Stream,
    (request, content): (Request<()>, Option<Bytes>),
    most: usize,
    enough: impl Fn(&response::Parts, &[u8]) -> bool,
) -> Result<Answer, String> {
    let mut settings = client::Builder::new();
    settings.enable_push(false).max_header_list_size(HEAD_BYTES).initial_max_send_streams(1);
    let (requests, mut connection) =
        settings.handshake(Alone(stream)).await.map_err(|error| in_words(&error))?;
    let asked = async {
        let mut requests = requests.ready().await.map_err(|error| in_words(&error))?;
        let (answer, mut body) =
            requests.send_request(request, content.is_none()).map_err(|error| in_words(&error))?;
        if let Some(content) = content {
            body.send_data(content, true).map_err(|error| in_words(&error))?;
        }
        let (head, mut body) = answer.await.map_err(|error| in_words(&error))?.into_parts();
        read(head, &mut body, most, enough).await
    };
    let outcome = {
        let mut asked = pin!(asked);
        let mut over = false;
        // What goes wrong with the connection is told to whoever waits for the answer.
        poll_fn(|cx| {
            over = over || Pin::new(&mut connection).poll(cx).is_ready();
            asked.as_mut().poll(cx)
        })
        .await
    };
    // The backend is told that this was all, as far as it takes that at once.
    poll_fn(|cx| Poll::Ready(_ = Pin::new(&mut connection).poll(cx))).await;
    outcome
}

async fn read(
    head: response::Parts,
    body: &mut RecvStream,
    most: usize,
    enough: impl Fn(&response::Parts, &[u8]) -> bool,
) -> Result<Answer, String> {
    let mut answer = Answer { head, body: Vec::new(), trailers: HeaderMap::new() };
    while !enough(&answer.head, &answer.body) {
        let Some(content) = body.data().await else {
            let trailers = body.trailers().await.map_err(|error| in_words(&error))?;
            answer.trailers = trailers.unwrap_or_default();
            break;
        };
        let content = content.map_err(|error| in_words(&error))?;
        let room = most - answer.body.len();
        answer.body.extend_from_slice(&content[..content.len().min(room)]);
        if content.len() >= room {
            break;
        }
        body.flow_control().release_capacity(content.len()).map_err(|error| in_words(&error))?;
    }
    Ok(answer)
}

/// What went wrong, in words without a full stop.
fn in_words(error: &h2::Error) -> String {
    if let Some(error) = error.get_io() {
        return match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
                "it closed the connection without an answer".to_owned()
            }
            _ => broken(error),
        };
    }
    match error.reason() {
        Some(Reason::NO_ERROR) if error.is_go_away() => "it takes no more requests (GOAWAY)".to_owned(),
        Some(Reason::HTTP_1_1_REQUIRED) => "it wants to be asked by HTTP/1.1".to_owned(),
        Some(reason) if error.is_remote() => format!("it refused the request by HTTP/2: {reason}"),
        _ => format!("it does not speak HTTP/2: {error}"),
    }
}

/// A stream that nobody else holds, as the `h2` crate wants it. The task that holds it may move between threads.
struct Alone(Stream);

impl AsyncRead for Alone {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_readable(cx))?;
            if let Some(read) = self.0.read_now(into.initialize_unfilled()) {
                into.advance(read?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Alone {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, &[IoSlice::new(from)])
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_finish(cx).map(Ok)
    }
}
