//! The facts of one client connection.

use std::{cell::OnceCell, future::poll_fn, net::SocketAddr, rc::Rc, task::Poll};

use weir_model::{
    balance::Flow,
    listener::Listener,
    route::{ConnectionFacts, ProtocolNames},
    status::ListenerCounters,
    time::Millis,
};

use crate::{
    io::Stream,
    listener::{Counted, Entrance},
    timer::Timer,
    tls::hello::Hello,
    view::{Held, View},
    worker::{Phase, Worker},
};

/// Bytes that are read and thrown away before a connection with something unread is closed.
const MOST_LINGER: usize = 256 * 1024;

/// One client connection. It holds no buffer, and nothing of a snapshot: what it is served by, it asks for anew.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) stream: Stream,
    pub(crate) peer: SocketAddr,
    pub(crate) timer: Timer,
    pub(crate) worker: Rc<Worker>,
    entrance: Rc<Entrance>,
    /// What it said when it began TLS, if it has.
    pub(crate) hello: Option<Box<Hello>>,
    /// Where it was counted when it came, and will be when it ends.
    status: Counted,
    /// The client's address as text, made when it is first asked for.
    address: OnceCell<Box<str>>,
}

impl Conn {
    pub(crate) fn new(worker: Rc<Worker>, entrance: Rc<Entrance>, stream: Stream, peer: SocketAddr) -> Self {
        let status = entrance.status();
        status.shards.of(worker.index).accepted.add(1);
        worker.came();
        let (timer, address) = (worker.wheel.timer(), OnceCell::new());
        Self { stream, peer, timer, worker, entrance, hello: None, status, address }
    }

    /// The view that it is served by now, and its listener in there.
    #[inline]
    pub(crate) fn scene(&self) -> (Rc<View>, Held) {
        let view = self.worker.view();
        // After the view: a new one may have made the address a thing of the past.
        let view = self.entrance.last_view().unwrap_or(view);
        (view, self.entrance.listener())
    }

    /// The client's address as text.
    #[inline]
    pub(crate) fn address_text(&self) -> &str {
        self.address.get_or_init(|| self.peer.ip().to_canonical().to_string().into())
    }

    /// What routes may ask about it.
    pub(crate) fn facts(&self) -> ConnectionFacts<'_> {
        ConnectionFacts {
            source: self.peer.ip().to_canonical(),
            server_name: self.hello.as_ref().and_then(|hello| hello.server_name.as_deref()),
            alpn: self.hello.as_ref().map_or(ProtocolNames(&[]), |hello| hello.alpn()),
        }
    }

    /// Both its ends.
    pub(crate) fn flow(&self) -> Flow {
        Flow { source: self.peer, destination: self.stream.local_address().ok() }
    }

    /// This worker's counters of the listener.
    #[inline]
    pub(crate) fn counters<'l>(&self, listener: &'l Listener) -> &'l ListenerCounters {
        listener.status.shards.of(self.worker.index)
    }

    /// The counters that it was counted by when it came.
    pub(crate) fn own_counters(&self) -> &ListenerCounters {
        self.status.shards.of(self.worker.index)
    }

    /// How long the listener lets a connection be idle.
    #[inline]
    pub(crate) fn idle_timeout(&self) -> Millis {
        self.entrance.listener().timeouts.idle
    }

    /// How long the listener waits for what comes before the protocol.
    pub(crate) fn handshake_timeout(&self) -> Millis {
        self.entrance.listener().timeouts.handshake
    }

    /// Ends our direction, if the client takes what is left to be said.
    pub(crate) async fn finish(&self, length: Millis) {
        _ = self.timer.limit(length, poll_fn(|cx| self.stream.poll_finish(cx))).await;
    }

    /// Ends our direction and reads on for a while: closing with unread bytes would reset the connection, and the client
    /// might never see what it was told last (RFC 9112 section 9.6).
    pub(crate) async fn linger(&self, length: Millis) {
        self.finish(length).await;
        let mut room = self.worker.spare.buffer();
        self.timer.set_after(length);
        let mut left = MOST_LINGER;
        while left > 0 {
            let read = poll_fn(|cx| match self.stream.poll_fill(cx, &mut room) {
                Poll::Pending if self.timer.poll_elapsed(cx) => Poll::Ready(Ok(0)),
                other => other,
            });
            match read.await {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    room.consume(count);
                    left = left.saturating_sub(count);
                }
            }
        }
    }

    /// True once it is to carry one more exchange at most: the process is about to stop, or its address is bound no
    /// more. An exchange that began before that learns it here.
    #[inline]
    pub(crate) fn is_leaving(&self) -> bool {
        self.worker.keep_up();
        self.worker.phase.get() >= Phase::Announcing || self.entrance.is_leaving()
    }

    /// True once it is to end as soon as nothing is under way.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.worker.phase.get() >= Phase::Draining || self.entrance.is_over()
    }

    /// True once its address has been bound no more for so long that even what is under way is to end.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.entrance.is_over()
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.own_counters().closed.add(1);
        self.worker.went();
    }
}
