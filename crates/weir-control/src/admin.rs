//! The admin API: tells operators, probes and Prometheus what is happening, and does what operators ask.
//!
//! ```text
//!  door (TCP or unix) ──> wire (strict HTTP/1.1) ──> guard (who may?) ──> status, backend, config, explain, reload, metrics
//! ```
//!
//! It runs on the control thread and never touches the data path: it reads counters, and leaves orders that workers
//! find when they look.

mod answer;
mod backend;
mod bounds;
mod config;
mod crowd;
mod door;
mod guard;
mod status;
mod wire;

use std::{fmt, sync::Arc, time::Duration};

use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
    task::JoinSet,
};
use weir_model::{
    listener::Address,
    snapshot::{Snapshot, SnapshotCell},
    time::Moment,
};

use crate::{
    explain::{Explanation, Question},
    health::{Clock, Log},
    metrics::{self, Beside, Format},
    reload::Reloader,
    trouble::Trouble,
    upgrade::Upgrader,
};
use answer::{Answer, allowed};
pub use bounds::Bounds;
use crowd::Crowd;
pub use door::Door;
use door::{DoorSocket, Listening};
use guard::Need;
use wire::{Read, Request, Wire};

/// Says what would become of a request; the binary knows how.
pub type Explain = Arc<dyn Fn(&Snapshot, &Question) -> Result<Explanation, Trouble> + Send + Sync>;

/// Some time that people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// What the clock on the wall showed, or will show, at a moment.
    At(Moment),
    /// So many seconds after the beginning of 1970.
    Unix(u64),
}

/// Says it as RFC 3339.
pub type Stamp = fn(When) -> String;

/// What the admin API answers from.
#[derive(Clone)]
pub struct Admin {
    /// The published snapshot, and through it every status.
    pub cell: Arc<SnapshotCell>,
    /// Where listeners are really bound.
    pub bounds: Bounds,
    /// The version of the program.
    pub version: &'static str,
    /// The way to reload, and how the reloads so far went.
    pub reloader: Reloader,
    /// The way to have the program replaced in place.
    pub upgrader: Upgrader,
    /// Whether traffic is welcome; if not, why, in one sentence. The binary asks its workers.
    pub readiness: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// Says what would become of a request.
    pub explain: Explain,
    /// The codes of all causes of failures, by their numbers.
    pub causes: Arc<[&'static str]>,
    /// Where it is written down what operators changed.
    pub log: Log,
    /// The clock.
    pub clock: Clock,
    /// The clock for people.
    pub stamp: Stamp,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Answers at a door, until `handed_over`: then those who are connected are answered to their end, and somebody else answers
/// newcomers, perhaps at the very same door: then `handed_over` is true. To stop it, with all its connections, drop it.
///
/// # Errors
/// If the socket cannot be used.
pub async fn serve(door: Door, admin: Admin, handed_over: impl Future<Output = bool>) -> std::io::Result<()> {
    let Door { socket, address } = door;
    let room = Room { crowd: Crowd::new(), bound: address.into(), admin: admin.into() };
    let mut connections = JoinSet::new();
    match socket {
        DoorSocket::Ip(socket) => {
            let socket = tokio::net::TcpListener::from_std(socket)?;
            tokio::select! {
                () = accept(&socket, &mut connections, room) => {}
                _ = handed_over => {}
            }
        }
        DoorSocket::Unix(socket, path) => {
            let socket = tokio::net::UnixListener::from_std(socket)?;
            tokio::select! {
                () = accept(&socket, &mut connections, room) => {}
                same = handed_over => if same {
                    path.leave();
                },
            }
        }
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// What every connection needs.
#[derive(Clone)]
struct Room {
    crowd: Crowd,
    bound: Arc<Address>,
    admin: Arc<Admin>,
}

async fn accept(listening: &impl Listening, connections: &mut JoinSet<()>, room: Room) {
    loop {
        match listening.next().await {
            Ok(stream) => {
                // Above the limit the others wait in the accept queue.
                let Some(permit) = room.crowd.enter().await else { return };
                connections.spawn(connection(Wire::new(stream), permit, room.clone()));
            }
            // Out of files, or a client that is already gone: neither goes away by asking again at once.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection<S>(mut wire: Wire<S>, permit: OwnedSemaphorePermit, room: Room)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let read = room.crowd.waiting(wire.read()).await;
        let (answer, head_only, close) = match read.unwrap_or(Read::Closed) {
            Read::Request(request) => {
                let answer = room.answer(&request).await.unwrap_or_else(|refusal| refusal);
                (answer, request.method == "HEAD", !request.keep_alive)
            }
            Read::Refused(refused) => {
                (Answer::error(refused.status, refused.sentence, refused.remedy()), false, true)
            }
            Read::Closed => break,
        };
        if !wire.send(&answer.bytes(head_only, close)).await {
            break;
        }
        if close {
            wire.close().await;
            break;
        }
    }
    drop(permit);
}

impl Room {
    async fn answer(&self, request: &Request) -> Result<Answer, Answer> {
        let admin = &self.admin;
        // Decoded after the path was taken apart: a name may hold a slash.
        let segments: Vec<_> = request.path[1..]
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        match segments[..] {
            ["livez"] => {
                allowed(request, "GET")?;
                Ok(Answer::text(200, "alive"))
            }
            ["readyz"] => {
                allowed(request, "GET")?;
                Ok((admin.readiness)()
                    .map_or_else(|why| Answer::text(503, &why), |()| Answer::text(200, "ready")))
            }
            ["metrics"] => {
                allowed(request, "GET")?;
                self.guard(request, Need::Metrics)?;
                Ok(self.metrics(request))
            }
            [""] => {
                allowed(request, "GET")?;
                Ok(Answer::text(200, PLACES))
            }
            ["api", ref rest @ ..] => self.api(request, rest).await,
            _ => Err(Answer::error(404, "there is nothing under this path", PLACES)),
        }
    }

    fn guard(&self, request: &Request, need: Need) -> Result<(), Answer> {
        // What the file says now counts, not what it said when the door was opened.
        let snapshot = self.admin.cell.load();
        guard::check(request, &self.bound, snapshot.process.admin_token.as_ref(), need)
    }

    async fn api(&self, request: &Request, path: &[&str]) -> Result<Answer, Answer> {
        let need = if matches!(&*request.method, "GET" | "HEAD") { Need::Read } else { Need::Write };
        self.guard(request, need)?;
        let admin = &self.admin;
        match path {
            ["status"] => {
                allowed(request, "GET")?;
                Ok(Answer::json(200, &status::of(admin)))
            }
            ["config"] => {
                allowed(request, "GET")?;
                Ok(Answer::json(200, &config::of(&admin.cell.load())))
            }
            ["reload"] => {
                allowed(request, "POST")?;
                // Answered when it is done, one way or the other.
                let outcome = admin.reloader.reload().await;
                Ok(outcome
                    .map_or_else(|refusal| Answer::json(422, &refusal), |done| Answer::json(200, &done)))
            }
            ["upgrade"] => {
                allowed(request, "POST")?;
                // Answered when another process serves, or when it is certain that none will.
                let outcome = admin.upgrader.upgrade().await;
                Ok(outcome
                    .map_or_else(|trouble| Answer::json(422, &trouble), |done| Answer::json(200, &done)))
            }
            ["explain"] => {
                allowed(request, "GET")?;
                let told = Question::from_query(request.query.as_deref().unwrap_or_default())
                    .and_then(|question| (admin.explain)(&admin.cell.load(), &question));
                told.map(|told| Answer::json(200, &told)).map_err(|trouble| Answer::json(400, &trouble))
            }
            ["pools", pool, "backends", name] => {
                allowed(request, "GET, PUT")?;
                backend::answer(admin, request, pool, name)
            }
            _ => Err(Answer::error(404, "there is nothing under this path", PLACES)),
        }
    }

    fn metrics(&self, request: &Request) -> Answer {
        let admin = &self.admin;
        let format = Format::of(request.fields("accept"));
        let reloads = admin.reloader.record();
        let beside = Beside { version: admin.version, causes: &admin.causes, reloads: &reloads };
        let page = metrics::render(&admin.cell.load(), &beside, format);
        Answer::new(200, format.content_type(), page.into_bytes())
    }
}

const PLACES: &str = "there are /livez, /readyz, /metrics, /api/status, /api/config, /api/explain?url=URL, \
    /api/reload, /api/upgrade and /api/pools/POOL/backends/BACKEND";

#[cfg(test)]
mod tests;
