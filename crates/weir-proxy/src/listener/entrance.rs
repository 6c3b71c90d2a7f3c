//! One listener at one bound address as a worker sees it, and what becomes of its connections when it is there no more.
//!
//! ```text
//!            a new snapshot has it        the address is gone, or speaks       shutdown.drain is over
//!            under some listener          another protocol, or is others'
//!   open ──────────────────────> open ──────────────────────────> leaving ─────────────────────> over
//!                                          HTTP: one more exchange on each        what is left is cut
//!                                          connection; TCP and tunnels go on
//! ```

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use weir_model::listener::Protocol;

use super::Counted;
use crate::view::{Held, View};

/// One listener at one bound address. Connections hold it, and through it see the listener as it is now.
#[derive(Debug)]
pub(crate) struct Entrance {
    listener: RefCell<Held>,
    counted: RefCell<Rc<Counted>>,
    /// The last view that knew this address, while connections may still need it.
    last: RefCell<Option<Rc<View>>>,
    stage: Cell<Stage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Open,
    Leaving,
    Over,
}

impl Entrance {
    /// An address that belongs to this listener, at this worker.
    pub(crate) fn new(listener: Held, worker: usize) -> Rc<Self> {
        let counted = Counted::new(&listener.status, worker);
        Rc::new(Self {
            listener: RefCell::new(listener),
            counted: RefCell::new(counted),
            last: RefCell::default(),
            stage: Cell::new(Stage::Open),
        })
    }

    /// The listener that it belongs to, or did last.
    #[inline]
    pub(crate) fn listener(&self) -> Held {
        self.listener.borrow().clone()
    }

    /// What counts the connections that come in now.
    pub(crate) fn counted(&self) -> Rc<Counted> {
        self.counted.borrow().clone()
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.listener.borrow().protocol
    }

    /// The view that its connections are served by, if it is not the worker's current one.
    #[inline]
    pub(crate) fn last_view(&self) -> Option<Rc<View>> {
        self.last.borrow().clone()
    }

    /// Goes on as this listener; false if that speaks something else.
    pub(crate) fn follow(&self, owner: &Held) -> bool {
        let goes_on = owner.goes_on_as(&self.listener.borrow());
        if goes_on {
            let mut counted = self.counted.borrow_mut();
            if !counted.is_of(&owner.status) {
                *counted = counted.succeed(&owner.status);
            }
            self.listener.replace(owner.clone());
        }
        goes_on
    }

    /// No new connection comes here; those that are there stay with the view `before`.
    pub(crate) fn leave(&self, before: &Rc<View>) {
        self.last.replace(Some(before.clone()));
        self.stage.set(Stage::Leaving);
    }

    /// Ends what is left of its connections, and lets go of what they were served by.
    pub(crate) fn end(&self) {
        self.stage.set(Stage::Over);
        let alone = self.listener.borrow().alone(None);
        self.listener.replace(alone);
        self.last.replace(None);
    }

    /// True once its connections are to carry one more exchange at most.
    #[inline]
    pub(crate) fn is_leaving(&self) -> bool {
        self.stage.get() != Stage::Open
    }

    /// True once its connections are to end.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.stage.get() == Stage::Over
    }
}
