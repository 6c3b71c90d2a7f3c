//! Where the connections of one entrance are counted. When a reload gives the address to a listener of another name, those that are
//! open are handed on, so that its `max_connections` holds for them too.

use std::{
    cell::{Cell, OnceCell},
    rc::Rc,
    sync::Arc,
};

use weir_model::status::{ListenerCounters, ListenerStatus};

/// The counters of a listener as its connections at one entrance of one worker hold them: counting who holds them takes no
/// atomic operation.
#[derive(Debug)]
pub(crate) struct Counted {
    status: Arc<ListenerStatus>,
    worker: usize,
    /// Connections that are open, and how many of them speak HTTP/2.
    open: Cell<u64>,
    http2: Cell<u64>,
    /// Where they are counted since the address belongs to another listener.
    next: OnceCell<Rc<Self>>,
}

impl Counted {
    pub(super) fn new(status: &Arc<ListenerStatus>, worker: usize) -> Rc<Self> {
        let (status, open, http2, next) =
            (status.clone(), Cell::default(), Cell::default(), OnceCell::default());
        Rc::new(Self { status, worker, open, http2, next })
    }

    pub(super) fn is_of(&self, status: &Arc<ListenerStatus>) -> bool {
        Arc::ptr_eq(&self.status, status)
    }

    /// Hands the connections that are open on to another listener.
    pub(super) fn succeed(&self, status: &Arc<ListenerStatus>) -> Rc<Self> {
        let next = Self::new(status, self.worker);
        let (open, http2) = (self.open.take(), self.http2.take());
        self.counters().closed.add(open);
        self.counters().http2_ended.add(http2);
        next.counters().inherited.add(open);
        next.counters().http2_inherited.add(http2);
        next.open.set(open);
        next.http2.set(http2);
        // Nobody hands on twice: the entrance lets go of this.
        let _ = self.next.set(next.clone());
        next
    }

    fn latest(&self) -> &Self {
        let mut latest = self;
        while let Some(next) = latest.next.get() {
            latest = next;
        }
        latest
    }

    /// This worker's counters of the listener that a connection came in by.
    pub(crate) fn counters(&self) -> &ListenerCounters {
        self.status.shards.of(self.worker)
    }

    /// A connection has come.
    pub(crate) fn came(&self) {
        let now = self.latest();
        now.counters().accepted.add(1);
        now.open.set(now.open.get() + 1);
    }

    /// One of them has ended.
    pub(crate) fn went(&self) {
        let now = self.latest();
        now.counters().closed.add(1);
        now.open.set(now.open.get() - 1);
    }

    /// One of them speaks HTTP/2.
    pub(crate) fn http2_began(&self) {
        let now = self.latest();
        now.counters().http2_begun.add(1);
        now.http2.set(now.http2.get() + 1);
    }

    /// One of those has ended.
    pub(crate) fn http2_ended(&self) {
        let now = self.latest();
        now.counters().http2_ended.add(1);
        now.http2.set(now.http2.get() - 1);
    }
}
