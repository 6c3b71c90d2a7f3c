//! The admin API: a small HTTP server that tells operators and probes what is happening. It changes nothing yet.
//!
//! Off loopback, `/api` needs a token; since tokens cannot be configured yet, it answers 403 there. The probes
//! `/livez` and `/readyz` answer everywhere.

mod answer;
mod guard;
mod status;

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use weir_model::snapshot::SnapshotCell;

use answer::{Answer, allowed};
pub use status::Origin;

/// Connections at once; operators are few, and a crowd must not take files from traffic.
const CONNECTIONS: usize = 128;
/// For a request's head, and between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const HEAD_BYTES: usize = 16 * 1024;

/// What the admin API answers from.
#[derive(Clone)]
pub struct Admin {
    /// The published snapshot, and through it every status.
    pub cell: Arc<SnapshotCell>,
    /// The version of the program.
    pub version: &'static str,
    /// Where the running configuration came from.
    pub origin: Arc<dyn Fn() -> Origin + Send + Sync>,
    /// Whether traffic is welcome; if not, why, in one sentence. The binary asks its workers.
    pub readiness: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Answers on a bound socket. Never returns; to stop it, with all its connections, drop it.
///
/// # Errors
/// If the socket's own address cannot be read.
pub async fn serve(listener: TcpListener, admin: Admin) -> io::Result<()> {
    let local = listener.local_addr()?;
    let admin = Arc::new(admin);
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // Above the limit new connections wait in the accept queue.
        let Ok(permit) = permits.clone().acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((stream, _)) => _ = connections.spawn(connection(stream, permit, local, admin.clone())),
            // Out of files, or a client that is already gone: neither goes away by asking again at once.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, permit: OwnedSemaphorePermit, local: SocketAddr, admin: Arc<Admin>) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = route(&request, local, &admin);
        async move { Ok::<_, std::convert::Infallible>(answer.into_response()) }
    });
    // A connection that breaks concerns only its client.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    drop(permit);
}

fn route<B>(request: &Request<B>, local: SocketAddr, admin: &Admin) -> Answer {
    let path = request.uri().path();
    match path {
        "/livez" => allowed(request, || Answer::text(200, "alive")),
        "/readyz" => allowed(request, || match (admin.readiness)() {
            Ok(()) => Answer::text(200, "ready"),
            Err(reason) => Answer::text(503, &reason),
        }),
        "/api/status" => match guard::check(request, local) {
            Ok(()) => allowed(request, || Answer::json(&status::of(admin))),
            Err(refusal) => refusal,
        },
        _ if path.starts_with("/api/") => match guard::check(request, local) {
            Ok(()) => Answer::error(404, "there is nothing under this path", "there is `/api/status`"),
            Err(refusal) => refusal,
        },
        _ => Answer::text(404, "there is nothing under this path; there are /livez, /readyz and /api/status"),
    }
}

#[cfg(test)]
mod tests;
