//! What operators ask of a backend while the process runs.
//!
//! An order holds until the file's own value for the backend changes: it remembers what the file said when it was
//! given, and counts for nothing beside any other value. So a reload keeps it without copying anything.

use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use crate::time::Moment;

/// Whether a backend may be given work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It takes traffic as long as it is healthy.
    #[default]
    Active,
    /// Nothing new; what it has may finish, and clients that are bound to it may come back.
    Draining,
    /// Nothing new from anybody; what it has may finish.
    Disabled,
}

impl State {
    /// Every state, in the order of how much they allow.
    pub const ALL: [Self; 3] = [Self::Active, Self::Draining, Self::Disabled];

    /// The word used in the file, the API, and status.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
        }
    }

    /// The state that is called so.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// A value that an operator set, and the file's value at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order<T> {
    /// What was set.
    pub value: T,
    /// What the file said then.
    pub file: T,
}

impl<T: Copy + PartialEq> Order<T> {
    /// The value that counts beside what the file says now.
    pub(crate) fn beside(order: Option<Self>, file: T) -> T {
        order.filter(|order| order.file == file).map_or(file, |order| order.value)
    }
}

/// Everything that was set for one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Its state.
    pub state: Option<Order<State>>,
    /// Its weight.
    pub weight: Option<Order<u32>>,
    /// When one of them was last set.
    pub since: Moment,
}

/// The orders for one backend, read by whoever prepares a set of eligible backends.
#[derive(Debug, Default)]
pub struct OrderBook {
    orders: ArcSwap<Orders>,
    /// True once anything was set: most backends never hear of an operator, and are then asked for one byte only.
    used: AtomicBool,
}

impl OrderBook {
    /// What is set now.
    pub fn orders(&self) -> Orders {
        if self.used.load(Ordering::Acquire) { **self.orders.load() } else { Orders::default() }
    }

    /// Changes what is set; the caller then calls [`super::PoolStatus::touch`] for the pool. `change` may be called
    /// again if somebody else changes it at the same time.
    pub fn update(&self, change: impl Fn(Orders) -> Orders) {
        self.orders.rcu(|orders| change(**orders));
        if **self.orders.load() != Orders::default() {
            self.used.store(true, Ordering::Release);
        }
    }
}
