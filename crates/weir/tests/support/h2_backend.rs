//! A backend that speaks HTTP/2, by the `h2` crate: what it does with a request stands in its path.

use std::{
    future::poll_fn,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server, server::SendResponse};
use http::{HeaderMap, HeaderValue, Method, Request, Response, request::Parts};
use tokio::net::{TcpListener, TcpStream};

/// What it has seen and done.
#[derive(Default)]
pub(crate) struct Seen {
    /// Connections that it has accepted.
    pub(crate) accepted: AtomicUsize,
    /// Those that are open.
    pub(crate) open: AtomicUsize,
    /// Requests, with what was sent of them.
    pub(crate) requests: Mutex<Vec<Parts>>,
    /// Streams that were reset while it waited.
    pub(crate) reset: Mutex<Vec<Reason>>,
    /// Bytes of a large answer that weir has taken.
    pub(crate) sent: AtomicUsize,
    /// Lets answers to `/held` go.
    pub(crate) released: AtomicBool,
    /// Requests that it still sends away without a look at them.
    pub(crate) refusals: AtomicUsize,
}

/// A backend on a thread of its own.
pub(crate) struct H2Backend {
    address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
}

/// How it behaves as a whole.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manner {
    /// Requests at once on one connection; 0 is any.
    pub(crate) streams: u32,
    /// After so many requests a connection is told to go; 0 is never.
    pub(crate) goes_after: usize,
    /// It takes WebSockets by RFC 8441.
    pub(crate) sockets: bool,
}

impl H2Backend {
    pub(crate) fn start() -> Self {
        Self::with(Manner::default())
    }

    pub(crate) fn with(manner: Manner) -> Self {
        let seen = Arc::<Seen>::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = seen.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    shared.accepted.fetch_add(1, Ordering::SeqCst);
                    shared.open.fetch_add(1, Ordering::SeqCst);
                    let seen = shared.clone();
                    tokio::task::spawn_local(async move {
                        connection(stream, manner, seen.clone()).await;
                        seen.open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            });
        });
        Self { address, seen }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn accepted(&self) -> usize {
        self.seen.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<Parts> {
        self.seen.requests.lock().unwrap().clone()
    }
}

async fn connection(stream: TcpStream, manner: Manner, seen: Arc<Seen>) {
    let mut settings = server::Builder::new();
    if manner.streams > 0 {
        settings.max_concurrent_streams(manner.streams);
    }
    if manner.sockets {
        settings.enable_connect_protocol();
    }
    let Ok(mut connection) = settings.handshake::<_, Bytes>(stream).await else { return };
    let mut count = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        count += 1;
        if count == manner.goes_after {
            connection.graceful_shutdown();
        }
        tokio::task::spawn_local(answer(request, respond, Rc::new(()), seen.clone()));
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, _: Rc<()>, seen: Arc<Seen>) {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    seen.requests.lock().unwrap().push(parts.clone());
    let refused = seen.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if refused.is_ok() {
        respond.send_reset(Reason::REFUSED_STREAM);
        return;
    }
    match path.as_str() {
        "/echo" => echo(body, respond).await,
        "/shop.Cart/Echo" => call(body, respond).await,
        "/shop.Cart/Fail" => {
            let head =
                Response::builder().header("content-type", "application/grpc").header("grpc-status", "5");
            let head = head.header("grpc-message", "no such cart").header("x-own", "stays").body(()).unwrap();
            drop(respond.send_response(head, true));
        }
        "/shop.Cart/Page" => {
            let head = Response::builder().status(403).header("content-type", "text/plain").body(()).unwrap();
            let mut stream = respond.send_response(head, false).unwrap();
            stream.send_data(Bytes::from_static(b"go away"), true).unwrap();
        }
        "/shop.Cart/Drip" => {
            let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut stream = respond.send_response(head, false).unwrap();
            stream.send_data(Bytes::from_static(b"\0\0\0\0\x01a"), false).unwrap();
            while !seen.released.load(Ordering::SeqCst) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            stream.send_data(Bytes::from_static(b"\0\0\0\0\x01b"), true).unwrap();
        }
        "/length" => {
            let head = Response::builder().header("content-length", "5").body(()).unwrap();
            let last = parts.method == Method::HEAD;
            let mut stream = respond.send_response(head, last).unwrap();
            if !last {
                stream.send_data(Bytes::from_static(b"hello"), true).unwrap();
            }
        }
        "/empty" => drop(respond.send_response(Response::new(()), true)),
        "/none" => drop(respond.send_response(Response::builder().status(204).body(()).unwrap(), true)),
        "/interim" => {
            let hint = Response::builder().status(103).header("link", "</a>").body(()).unwrap();
            respond.send_informational(hint).unwrap();
            whole(respond, b"after");
        }
        "/large" => large(respond, &seen).await,
        "/broken" => {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"part"), false).unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
        "/reset" => respond.send_reset(Reason::INTERNAL_ERROR),
        "/held" => loop {
            if seen.released.load(Ordering::SeqCst) {
                return whole(respond, b"held");
            }
            let waited = tokio::time::sleep(std::time::Duration::from_millis(5));
            tokio::select! {
                reset = poll_fn(|cx| respond.poll_reset(cx)) => {
                    if let Ok(reason) = reset {
                        seen.reset.lock().unwrap().push(reason);
                    }
                    return;
                }
                () = waited => {}
            }
        },
        // A tunnel has no path.
        "/socket" | "" => echo(body, respond).await,
        _ => whole(respond, b"ok"),
    }
}

fn whole(mut respond: SendResponse<Bytes>, text: &'static [u8]) {
    if let Ok(mut stream) = respond.send_response(Response::new(()), false) {
        let _ = stream.send_data(Bytes::from_static(text), true);
    }
}

/// Sends back what comes, trailers included.
async fn echo(mut body: RecvStream, mut respond: SendResponse<Bytes>) {
    let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        if send(&mut stream, data, |_| {}).await.is_none() {
            return;
        }
    }
    let mut trailers = HeaderMap::new();
    if let Ok(Some(came)) = body.trailers().await {
        trailers = came;
    }
    trailers.insert("x-end", HeaderValue::from_static("yes"));
    let _ = stream.send_trailers(trailers);
}

/// A call that answers with what it was asked, and says that all is well.
async fn call(mut body: RecvStream, mut respond: SendResponse<Bytes>) {
    let head = Response::builder().header("content-type", "application/grpc+proto").body(()).unwrap();
    let Ok(mut stream) = respond.send_response(head, false) else { return };
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        if send(&mut stream, data, |_| {}).await.is_none() {
            return;
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-end", HeaderValue::from_static("yes"));
    let _ = stream.send_trailers(trailers);
}

/// How much `/large` is.
pub(crate) const LARGE: usize = 8 * 1024 * 1024;

async fn large(mut respond: SendResponse<Bytes>, seen: &Seen) {
    let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
    for _ in 0..LARGE / piece.len() {
        let note = |count| _ = seen.sent.fetch_add(count, Ordering::SeqCst);
        if send(&mut stream, piece.clone(), note).await.is_none() {
            return;
        }
    }
    let _ = stream.send_data(Bytes::new(), true);
}

/// Sends as the other end takes.
async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes, note: impl Fn(usize)) -> Option<()> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = match stream.capacity() {
            0 => poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?,
            room => room,
        };
        let part = data.split_to(room.min(data.len()));
        note(part.len());
        stream.send_data(part, false).ok()?;
    }
    Some(())
}
