//! A client of HTTP/2 on the `h2` crate, asked from plain test code: its connection lives on a runtime of its own.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{SendStream, client, client::SendRequest, ext::Protocol};
use http::{HeaderMap, Request};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::timeout,
};
use weir_testkit::DEADLINE;

/// One connection.
pub(super) struct Client {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    over: Arc<AtomicBool>,
}

/// An answer.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) fields: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) trailers: HeaderMap,
    pub(super) interim: Vec<u16>,
}

impl Reply {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn trailer(&self, name: &str) -> &str {
        self.trailers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A request under way.
pub(super) struct Asked {
    /// The direction of the request, if it was left open.
    pub(super) out: SendStream<Bytes>,
    answer: JoinHandle<Result<Reply, String>>,
}

impl Asked {
    /// True once it is over, in whatever way.
    pub(super) fn is_over(&self) -> bool {
        self.answer.is_finished()
    }
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let (sender, connection) = client::Builder::new().handshake(stream).await.unwrap();
            let over = over.clone();
            tokio::spawn(async move {
                let _ = connection.await;
                over.store(true, Ordering::SeqCst);
            });
            sender
        });
        Self { runtime, sender, over }
    }

    /// True once the connection has ended.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Begins a request; `last` says that no content follows.
    pub(super) fn begin(&self, request: Request<()>, last: bool) -> Result<Asked, String> {
        let sender = self.sender.clone();
        self.runtime.block_on(async {
            let mut sender = sender.ready().await.map_err(|error| error.to_string())?;
            let (mut answer, out) = sender.send_request(request, last).map_err(|error| error.to_string())?;
            let answer = tokio::spawn(async move {
                let mut reply = Reply::default();
                while let Some(interim) = poll_fn(|cx| answer.poll_informational(cx)).await {
                    reply.interim.push(interim.map_err(|error| error.to_string())?.status().as_u16());
                }
                let (head, mut body) = answer.await.map_err(|error| error.to_string())?.into_parts();
                (reply.status, reply.fields) = (head.status.as_u16(), head.headers);
                while let Some(data) = body.data().await {
                    let data = data.map_err(|error| error.to_string())?;
                    let _ = body.flow_control().release_capacity(data.len());
                    reply.body.extend_from_slice(&data);
                }
                reply.trailers =
                    body.trailers().await.map_err(|error| error.to_string())?.unwrap_or_default();
                Ok(reply)
            });
            Ok(Asked { out, answer })
        })
    }

    /// Waits for an answer to its end.
    pub(super) fn wait(&self, asked: Asked) -> Result<Reply, String> {
        let answer = self.runtime.block_on(async { timeout(DEADLINE, asked.answer).await });
        answer.expect("the answer takes too long").unwrap()
    }

    /// Asks, with this content.
    pub(super) fn ask(&self, request: Request<()>, content: Option<&[u8]>) -> Result<Reply, String> {
        let mut asked = self.begin(request, content.is_none())?;
        if let Some(content) = content {
            self.send(&mut asked.out, content, true);
        }
        self.wait(asked)
    }

    /// Sends content as the windows allow.
    pub(super) fn send(&self, out: &mut SendStream<Bytes>, mut content: &[u8], last: bool) {
        self.runtime.block_on(async {
            if content.is_empty() {
                return drop(out.send_data(Bytes::new(), last));
            }
            while !content.is_empty() {
                out.reserve_capacity(content.len());
                let Some(Ok(room)) = poll_fn(|cx| out.poll_capacity(cx)).await else { return };
                let (now, later) = content.split_at(room.min(content.len()));
                content = later;
                if out.send_data(Bytes::copy_from_slice(now), last && later.is_empty()).is_err() {
                    return;
                }
            }
        });
    }

    pub(super) fn get(&self, path: &str) -> Result<Reply, String> {
        self.ask(request("GET", path), None)
    }

    /// Lets the connection work for a moment.
    pub(super) fn pause(&self, length: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(length).await });
    }
}

/// A request for a.test.
pub(super) fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://a.test{path}")).body(()).unwrap()
}

/// A request with fields.
pub(super) fn request_with(method: &str, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = request(method, path);
    for (name, value) in fields {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

/// A WebSocket by RFC 8441.
pub(super) fn socket(path: &str) -> Request<()> {
    let mut request = request_with("CONNECT", path, &[("sec-websocket-version", "13")]);
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    request
}
