//! The loop that accepts connections, and the orders that start and end one.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::mpsc::Sender,
};

use rustix::process::{Resource, getrlimit};
use tokio::{
    net::TcpStream,
    sync::{mpsc::UnboundedReceiver, oneshot, watch},
};
use weir_model::{listener::Protocol, snapshot::BindKey, time::Millis};

use super::Entrance;
use crate::{
    conn::Conn,
    error::is_exhaustion,
    http, l4,
    telemetry::Level,
    worker::{Phase, Worker},
};

/// How long accepting pauses when the process is out of files.
const PAUSE: Millis = Millis(100);
/// Connections that are taken from a queue that is about to be closed: more than any queue holds.
const MOST_WAITING: usize = 1 << 16;

/// What a worker is told to serve, or to serve no more.
#[derive(Debug)]
pub enum Order {
    /// Accept from this socket. The sender is dropped once that has begun.
    Open(BindKey, TcpListener, Sender<()>),
    /// Accept what waits at this address, and close the socket. The sender is dropped once it is closed.
    Close(BindKey, Sender<()>),
}

/// Does what it is told, until the process drains or nobody can tell it anything any more.
pub(crate) async fn obey(
    worker: Rc<Worker>,
    mut orders: UnboundedReceiver<Order>,
    phase: watch::Receiver<Phase>,
) {
    let mut open: HashMap<BindKey, oneshot::Sender<Sender<()>>> = HashMap::new();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Open(key, socket, done) => match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => {
                    let (close, closed) = oneshot::channel();
                    open.insert(key.clone(), close);
                    tokio::task::spawn_local(accept(worker.clone(), key, socket, phase.clone(), closed));
                    drop(done);
                }
                Err(error) => {
                    let text = format!("worker {} cannot accept from {key}: {error}", worker.index);
                    worker.journal.say(Level::Warn, text);
                }
            },
            Order::Close(key, done) => {
                if let Some(close) = open.remove(&key) {
                    // If the loop has ended already, so has its socket, and the sender goes with this.
                    let _ = close.send(done);
                }
            }
        }
    }
}

/// Accepts until the process drains, or the address is bound no more. What waits in the queue by then is still served.
async fn accept(
    worker: Rc<Worker>,
    key: BindKey,
    socket: tokio::net::TcpListener,
    mut phase: watch::Receiver<Phase>,
    mut closed: oneshot::Receiver<Sender<()>>,
) {
    let mut told = false;
    let pause = worker.wheel.timer();
    let Some(mut entrance) = worker.entrance(&key) else { return };
    let done = loop {
        let accepted = tokio::select! {
            biased;
            accepted = socket.accept() => accepted,
            _ = phase.wait_for(|phase| *phase >= Phase::Draining) => break None,
            done = &mut closed => break done.ok(),
        };
        match accepted {
            Ok((stream, peer)) => {
                told = false;
                serve(&worker, &key, &mut entrance, stream, peer);
            }
            Err(error) if is_exhaustion(&error) => {
                if !std::mem::replace(&mut told, true) {
                    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
                    let name = &entrance.listener().name;
                    let text =
                        format!("listener={name} accepting pauses: {error} (the limit is {most} files)");
                    worker.journal.say(Level::Warn, text);
                }
                pause.sleep(PAUSE).await;
            }
            // The connection is already gone again (ECONNABORTED and its like): nothing to serve.
            Err(_) => {}
        }
    };
    // The runtime may not have heard of the last ones yet, so the system itself is asked.
    if let Ok(socket) = socket.into_std() {
        for _ in 0..MOST_WAITING {
            match accept_waiting(&socket) {
                Ok((stream, peer)) => serve(&worker, &key, &mut entrance, stream, peer),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => break,
            }
        }
    }
    drop(done);
}

fn accept_waiting(socket: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = socket.accept()?;
    stream.set_nonblocking(true)?;
    Ok((TcpStream::from_std(stream)?, peer))
}

/// Serves a connection on a task of its own.
fn serve(
    worker: &Rc<Worker>,
    key: &BindKey,
    entrance: &mut Rc<Entrance>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    // A new snapshot may have given the address to a listener that speaks something else.
    worker.keep_up();
    if entrance.is_leaving()
        && let Some(current) = worker.entrance(key)
    {
        *entrance = current;
    }
    let conn = Conn::new(worker.clone(), entrance.clone(), stream, peer);
    match entrance.protocol() {
        Protocol::Http => drop(tokio::task::spawn_local(http::serve(conn))),
        Protocol::Tcp => drop(tokio::task::spawn_local(l4::serve(conn))),
    }
}
