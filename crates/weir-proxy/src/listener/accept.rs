//! The loop that accepts connections, and the orders that start and end one.

use std::{
    collections::HashMap,
    future::poll_fn,
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::mpsc::Sender,
    task::Poll,
};

use rustix::process::{Resource, getrlimit};
use tokio::sync::{mpsc::UnboundedReceiver, oneshot, watch};
use weir_model::{listener::Protocol, snapshot::BindKey, time::Millis};

use super::{Group, door::Door};
use crate::{
    clock,
    conn::Conn,
    error::is_exhaustion,
    http::{self, Served},
    io::Stream,
    l4, opening,
    telemetry::Level,
    worker::{Phase, Worker},
};

/// How long accepting pauses when the process is out of files.
const PAUSE: Millis = Millis(100);
/// Between two lines that say that accepting pauses.
const SILENCE: Millis = Millis::secs(10);
/// Connections that are taken from a queue that is about to be closed: more than any queue holds.
const MOST_WAITING: usize = 1 << 16;

/// What a worker is told to serve, or to serve no more.
#[derive(Debug)]
pub enum Order {
    /// Accept from these sockets. The sender is dropped once that has begun.
    Open(BindKey, Vec<TcpListener>, Sender<()>),
    /// Accept what waits at this address, and close its sockets. The sender is dropped once they are closed.
    Close(BindKey, Sender<()>),
}

/// Does what it is told, until the process drains or nobody can tell it anything any more.
pub(crate) async fn obey(
    worker: Rc<Worker>,
    mut orders: UnboundedReceiver<Order>,
    phase: watch::Receiver<Phase>,
) {
    let mut open: HashMap<BindKey, Vec<oneshot::Sender<Sender<()>>>> = HashMap::new();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Open(key, sockets, done) => {
                for socket in sockets {
                    match Door::new(socket, key.address()) {
                        Ok(door) => {
                            let (close, closed) = oneshot::channel();
                            open.entry(key.clone()).or_default().push(close);
                            let accept = accept(worker.clone(), key.clone(), door, phase.clone(), closed);
                            tokio::task::spawn_local(accept);
                        }
                        Err(error) => {
                            let text = format!("worker {} cannot accept from {key}: {error}", worker.index);
                            worker.journal.say(Level::Warn, text);
                        }
                    }
                }
                drop(done);
            }
            Order::Close(key, done) => {
                for close in open.remove(&key).into_iter().flatten() {
                    // If the loop has ended already, so has its socket, and the sender goes with this.
                    let _ = close.send(done.clone());
                }
            }
        }
    }
}

/// Accepts until the process drains, or the address is bound no more. What waits in the queue by then is still served;
/// what waits when another process has taken over is served by that one.
async fn accept(
    worker: Rc<Worker>,
    key: BindKey,
    door: Door,
    mut phase: watch::Receiver<Phase>,
    mut closed: oneshot::Receiver<Sender<()>>,
) {
    let pause = worker.wheel.timer();
    let Some(mut group) = worker.group(&key) else { return };
    let done = loop {
        let next = poll_fn(|cx| {
            if let Some(limit) = worker.limit_reached(&group) {
                full(&worker, &group, limit);
                worker.wait_for_room(cx);
                return Poll::Pending;
            }
            door.poll_accept(cx)
        });
        let accepted = tokio::select! {
            biased;
            accepted = next => accepted,
            now = phase.wait_for(|phase| *phase >= Phase::HandedOver) => match now.as_deref() {
                Ok(Phase::HandedOver) => return,
                _ => break None,
            },
            done = &mut closed => break done.ok(),
        };
        match accepted {
            Ok((stream, peer)) => serve(&worker, &key, &mut group, stream, peer),
            Err(error) if is_exhaustion(&error) => {
                exhausted(&worker, &error);
                worker.reserve.release();
                pause.sleep(PAUSE).await;
                while !worker.reserve.fill() {
                    worker.reserve.release();
                    pause.sleep(PAUSE).await;
                }
            }
            // The connection is already gone again (ECONNABORTED and its like): nothing to serve.
            Err(_) => {}
        }
    };
    let _ = door.empty(MOST_WAITING, |stream, peer| serve(&worker, &key, &mut group, stream, peer));
    drop(done);
}

/// What keeps an address from taking another connection, and how many it allows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// `max_connections` of the listener.
    Listener(u32),
    /// `limits.connections` of the process.
    Process(u32),
    /// What the files suffice for that the process may open.
    Files(u32),
}

/// Says why accepting pauses: one worker does for all of them, and not over and over again.
#[cold]
fn full(worker: &Worker, group: &Group, limit: Limit) {
    let first = group.first();
    let listener = first.listener();
    let said = match limit {
        Limit::Listener(_) => &listener.status.full,
        Limit::Process(_) | Limit::Files(_) => &worker.process.full,
    };
    if !said.is_due(clock::now(), SILENCE) {
        return;
    }
    let text = match limit {
        Limit::Listener(count) => {
            let name = &listener.name;
            format!(
                "listener={name} accepting pauses: `max_connections` of {count} is reached; new ones wait"
            )
        }
        Limit::Process(count) => {
            format!("accepting pauses: `limits.connections` of {count} is reached; new ones wait")
        }
        Limit::Files(count) => format!(
            "accepting pauses: the process may open {} files, which is enough for {count} connections; new ones wait",
            most_files()
        ),
    };
    worker.journal.say(Level::Warn, text);
}

/// Says that there are no more files, in the same way.
#[cold]
fn exhausted(worker: &Worker, error: &io::Error) {
    if worker.process.full.is_due(clock::now(), SILENCE) {
        let text = format!("accepting pauses: {error} (the limit is {} files)", most_files());
        worker.journal.say(Level::Warn, text);
    }
}

fn most_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Serves a connection on a task of its own.
fn serve(worker: &Rc<Worker>, key: &BindKey, group: &mut Rc<Group>, stream: Stream, peer: SocketAddr) {
    // A new snapshot may have given the address to a listener that speaks something else.
    drop(worker.view());
    if group.is_gone()
        && let Some(current) = worker.group(key)
    {
        *group = current;
    }
    let conn = Conn::new(worker.clone(), group, stream, peer);
    if group.opens() {
        return drop(tokio::task::spawn_local(opening::serve(conn, group.clone())));
    }
    match conn.protocol() {
        Protocol::Http | Protocol::Https => {
            drop(tokio::task::spawn_local(http::serve(conn, Served::default())));
        }
        Protocol::Tcp | Protocol::Tls => {
            drop(tokio::task::spawn_local(l4::serve(conn, worker.spare.buffer())));
        }
    }
}
