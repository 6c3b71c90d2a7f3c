//! One bound address as a worker sees it: the entrances of all listeners that it belongs to, mostly of one.

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
};

use weir_model::{listener::Listener, snapshot::BindKey, time::Millis};

use super::Entrance;
use crate::view::{Owners, View};

/// One bound address. Which of its entrances a connection belongs to is known at once where there is one that takes everything,
/// and else from its first message.
#[derive(Debug)]
pub(crate) struct Group {
    key: BindKey,
    worker: usize,
    owners: RefCell<Rc<Owners>>,
    /// In the order of the owners.
    entrances: RefCell<Vec<Rc<Entrance>>>,
    /// The address is bound no more: its entrances are those that it had last.
    gone: Cell<bool>,
    /// There are several.
    shared: Cell<bool>,
    /// Something has to be read before the protocol, if only to find out whose the connection is.
    opens: Cell<bool>,
}

impl Group {
    /// An address that belongs to these listeners, at this worker.
    pub(crate) fn new(key: BindKey, owners: &Rc<Owners>, worker: usize) -> Rc<Self> {
        let group = Self {
            key,
            worker,
            owners: RefCell::new(owners.clone()),
            entrances: RefCell::default(),
            gone: Cell::new(false),
            shared: Cell::new(false),
            opens: Cell::new(false),
        };
        let entrances = owners.listeners.iter().map(|listener| Entrance::new(listener.clone(), worker));
        group.entrances.replace(entrances.collect());
        let group = Rc::new(group);
        group.tell();
        group
    }

    /// The entrance that connections are put down to as long as nobody knows better.
    pub(crate) fn first(&self) -> Rc<Entrance> {
        self.entrances.borrow()[0].clone()
    }

    /// True if the address belongs to several listeners.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared.get()
    }

    /// The entrance for clients that ask for this name, or for none.
    pub(crate) fn find(&self, name: Option<&str>) -> Option<Rc<Entrance>> {
        let place = self.owners.borrow().names.find(name)?;
        self.entrances.borrow().get(place).cloned()
    }

    /// True if something has to be read before the protocol.
    pub(crate) fn opens(&self) -> bool {
        self.opens.get()
    }

    /// True once the address is bound no more.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// How long what comes before the protocol may take, while it is not known whose the connection is: the longest that any of
    /// its listeners allows.
    pub(crate) fn handshake_timeout(&self) -> Millis {
        let owners = self.owners.borrow();
        owners.listeners.iter().map(|listener| listener.timeouts.handshake).max().unwrap_or(Millis::NONE)
    }

    /// Whether connections from there begin with a PROXY header; none if no connection does. It is the same for all of its
    /// listeners.
    pub(crate) fn sender(&self, address: IpAddr) -> Option<Sender> {
        let owners = self.owners.borrow();
        let accepted = owners.listeners[0].accept_proxy.as_ref()?;
        Some(Sender { trusted: accepted.trust.contains(address), required: accepted.required })
    }

    /// True if clients begin with TLS. Either all of its listeners speak it, or there is only one.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.owners.borrow().listeners[0].speaks_tls()
    }

    /// A limit that keeps every one of its listeners from taking another connection, if there is one.
    pub(crate) fn limit_reached(&self) -> Option<u32> {
        let owners = self.owners.borrow();
        let mut limits = owners.listeners.iter().map(|listener| reached(listener));
        let first = limits.next().flatten()?;
        limits.all(|limit| limit.is_some()).then_some(first)
    }

    /// Takes its listeners from a new view. Those entrances that the new view has no use for leave, and are returned: their
    /// connections stay with the view `before`.
    pub(crate) fn follow(&self, view: &View, before: &Rc<View>) -> Vec<Rc<Entrance>> {
        let Some(owners) = view.owners(&self.key) else {
            self.gone.set(true);
            let left = self.entrances.borrow().clone();
            left.iter().for_each(|entrance| entrance.leave(before));
            return left;
        };
        let mut next: Vec<_> = owners.listeners.iter().map(|_| None).collect();
        let mut left = Vec::new();
        let successors = self.owners.borrow().successors(owners);
        for (entrance, successor) in self.entrances.borrow().iter().zip(successors) {
            let goes_on = successor.filter(|place| entrance.follow(&owners.listeners[*place]));
            match goes_on {
                Some(place) => next[place] = Some(entrance.clone()),
                None => {
                    entrance.leave(before);
                    left.push(entrance.clone());
                }
            }
        }
        let entrances = next.into_iter().zip(&owners.listeners);
        let entrances = entrances
            .map(|(kept, listener)| kept.unwrap_or_else(|| Entrance::new(listener.clone(), self.worker)));
        self.entrances.replace(entrances.collect());
        self.owners.replace(owners.clone());
        self.tell();
        left
    }

    /// Notes what follows from who its listeners are.
    fn tell(&self) {
        let owners = self.owners.borrow();
        self.shared.set(owners.listeners.len() > 1);
        self.opens.set(owners.listeners.iter().any(|listener| listener.opens()));
    }
}

/// What is asked of whoever connects, where connections begin with PROXY headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    /// Its header is believed.
    pub(crate) trusted: bool,
    /// It has to send one.
    pub(crate) required: bool,
}

/// The limit that keeps a listener from taking another connection, if it does.
pub(crate) fn reached(listener: &Listener) -> Option<u32> {
    let own = listener.max_connections;
    (own != u32::MAX && listener.status.open() >= u64::from(own)).then_some(own)
}
