//! The facts of one client connection.

use std::{
    cell::{Cell, OnceCell, RefCell},
    net::SocketAddr,
    rc::Rc,
};

use tokio::net::TcpStream;
use weir_model::{listener::Listener, status::ListenerCounters, time::Millis};

use crate::{
    io::Stream,
    timer::Timer,
    worker::{Held, View, Worker},
};

/// One client connection. It holds no buffer.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) stream: Stream,
    pub(crate) peer: SocketAddr,
    pub(crate) timer: Timer,
    pub(crate) worker: Rc<Worker>,
    /// The client's address as text, made when it is first asked for.
    address: OnceCell<Box<str>>,
    listener: RefCell<Held>,
    /// The generation of the snapshot that `listener` is from.
    generation: Cell<u64>,
}

impl Conn {
    pub(crate) fn new(worker: Rc<Worker>, listener: Held, stream: TcpStream, peer: SocketAddr) -> Self {
        listener.status.shards.of(worker.index).accepted.add(1);
        worker.open.set(worker.open.get() + 1);
        Self {
            stream: Stream::tcp(stream),
            peer,
            timer: worker.wheel.timer(),
            worker,
            address: OnceCell::new(),
            listener: RefCell::new(listener),
            generation: Cell::new(0),
        }
    }

    /// The listener as this view has it; the last known one if it is gone.
    #[inline]
    pub(crate) fn listener(&self, view: &View) -> Held {
        let generation = view.snapshot.generation;
        if self.generation.replace(generation) != generation {
            let mut known = self.listener.borrow_mut();
            if let Some(current) = view.listener(&known.name) {
                *known = current.clone();
            }
        }
        self.listener.borrow().clone()
    }

    /// The client's address as text.
    #[inline]
    pub(crate) fn address_text(&self) -> &str {
        self.address.get_or_init(|| self.peer.ip().to_canonical().to_string().into())
    }

    /// This worker's counters of the listener.
    #[inline]
    pub(crate) fn counters<'l>(&self, listener: &'l Listener) -> &'l ListenerCounters {
        listener.status.shards.of(self.worker.index)
    }

    /// How long the listener lets a connection be idle.
    #[inline]
    pub(crate) fn idle_timeout(&self) -> Millis {
        self.listener.borrow().timeouts.idle
    }

    /// The listener as it was last seen.
    pub(crate) fn known_listener(&self) -> Held {
        self.listener.borrow().clone()
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.listener.get_mut().status.shards.of(self.worker.index).closed.add(1);
        self.worker.open.set(self.worker.open.get() - 1);
    }
}
