//! The backends of the demo: small services of its own, on loopback and on a thread of their own.
//!
//! They do as little as shows a balancer: no request body is understood, only passed over.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    runtime::Builder,
    sync::oneshot,
    time::sleep,
};
use weir_model::balance::Seed;

/// Names and addresses of the backends of one pool.
pub(super) type Addresses = [(&'static str, SocketAddr); 2];

/// The backend that breaks.
pub(super) const ZOMBIE: &str = "app-zombie";
/// The backend that takes its time.
const SLOW: &str = "api-slow";

/// Everything that weir balances over. It serves until this is dropped.
#[derive(Debug)]
pub(super) struct Backends {
    pub(super) app: Addresses,
    pub(super) api: Addresses,
    pub(super) echo: Addresses,
    /// While true, the zombie is one: its port is open, its answers are 500.
    pub(super) broken: Arc<AtomicBool>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What one of them does.
#[derive(Debug, Clone)]
enum Service {
    /// Answers requests after so many milliseconds; with 500 while it is broken.
    Web { millis: RangeInclusive<u64>, broken: Arc<AtomicBool> },
    /// Sends each line back with its name in front.
    Echo,
}

impl Backends {
    /// Binds all of them to free ports of loopback and starts to serve.
    pub(super) fn start() -> Result<Self> {
        let (broken, never) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let web = |millis, broken: &Arc<AtomicBool>| Service::Web { millis, broken: broken.clone() };
        let mut services = Vec::new();
        let mut bind = |name: &'static str, service| -> Result<_> {
            let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
            let socket = socket.with_context(|| format!("no port for the backend {name}"))?;
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            services.push((name, socket, service));
            Ok((name, address))
        };
        let app = [bind("app-1", web(2..=6, &never))?, bind(ZOMBIE, web(2..=6, &broken))?];
        let api = [bind("api-1", web(3..=8, &never))?, bind(SLOW, web(80..=150, &never))?];
        let echo = [bind("echo-1", Service::Echo)?, bind("echo-2", Service::Echo)?];
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime =
            Builder::new_current_thread().enable_all().build().context("no runtime for backends")?;
        let thread = std::thread::Builder::new().name("demo-backends".to_owned()).spawn(move || {
            runtime.block_on(async {
                for (name, socket, service) in services {
                    tokio::spawn(accept(name, socket, service));
                }
                // An error is the other end's being dropped, which is how it stops.
                let _ = stopped.await;
            });
        })?;
        Ok(Self { app, api, echo, broken, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(name: &'static str, socket: TcpListener, service: Service) -> io::Result<()> {
    let socket = tokio::net::TcpListener::from_std(socket)?;
    let mut seed = u64::from(socket.local_addr()?.port());
    loop {
        let Ok((stream, _)) = socket.accept().await else {
            // Out of files: asking again at once would not help.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        stream.set_nodelay(true)?;
        seed += 1;
        let (stream, seed, service) = (BufReader::new(stream), Seed::new(seed), service.clone());
        tokio::spawn(async move {
            match service {
                Service::Web { millis, broken } => web(name, stream, millis, &broken, seed).await,
                Service::Echo => echo(name, stream).await,
            }
        });
    }
}

/// Answers the requests of one connection until it ends.
async fn web(
    name: &str,
    mut stream: BufReader<TcpStream>,
    millis: RangeInclusive<u64>,
    broken: &AtomicBool,
    mut seed: Seed,
) -> io::Result<()> {
    while let Some(request) = read_request(&mut stream).await? {
        let (status, body) = if broken.load(Ordering::Relaxed) {
            ("500 Internal Server Error", format!("{name} is broken\n"))
        } else {
            let spread = millis.end() - millis.start() + 1;
            sleep(Duration::from_millis(millis.start() + seed.below(spread))).await;
            ("200 OK", format!("hello from {name}; you asked for {}\n", request.target))
        };
        let mut answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\nx-backend: {name}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if !request.is_head {
            answer.push_str(&body);
        }
        stream.write_all(answer.as_bytes()).await?;
        if request.is_last {
            break;
        }
    }
    Ok(())
}

/// What a request asks for.
struct Request {
    target: String,
    is_head: bool,
    is_last: bool,
}

/// Reads the head of the next request and passes over its body; none at the end of the connection.
async fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let is_head = words.next() == Some("HEAD");
    let mut request = Request { target: words.next().unwrap_or("/").to_owned(), is_head, is_last: false };
    let mut body = 0;
    loop {
        let mut field = String::new();
        if stream.read_line(&mut field).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let field = field.trim_end().to_ascii_lowercase();
        match field.split_once(':').map(|(name, value)| (name, value.trim())) {
            None if field.is_empty() => break,
            Some(("content-length", length)) => body = length.parse().unwrap_or(0),
            Some(("connection", "close")) => request.is_last = true,
            // Nothing of it is read: the next request could not be found behind it.
            Some(("transfer-encoding", _)) => request.is_last = true,
            _ => {}
        }
    }
    tokio::io::copy(&mut (&mut *stream).take(body), &mut tokio::io::sink()).await?;
    Ok(Some(request))
}

/// Sends the lines of one connection back until it ends.
async fn echo(name: &str, mut stream: BufReader<TcpStream>) -> io::Result<()> {
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        stream.write_all(format!("{name}: {line}").as_bytes()).await?;
        line.clear();
    }
    Ok(())
}
