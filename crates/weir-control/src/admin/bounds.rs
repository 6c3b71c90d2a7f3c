//! Where listeners are really bound: what is port 0 in the file has become a port.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use weir_model::{
    listener::{Address, Listener},
    snapshot::BindKey,
};

/// What is bound, as whoever binds it has said last. Held for a moment only, so that nobody who asks waits for a reload.
#[derive(Clone, Debug, Default)]
pub struct Bounds(Arc<Mutex<HashMap<BindKey, Address>>>);

impl Bounds {
    /// Says what is bound now, and nothing else is.
    pub fn set(&self, bound: impl Iterator<Item = (BindKey, Address)>) {
        *self.lock() = bound.collect();
    }

    /// The addresses of a listener in the order of the file; one that is not bound as the file says it.
    pub(super) fn of(&self, listener: &Listener) -> Vec<Address> {
        let bound = self.lock();
        let address = |nth: usize| {
            let key = BindKey::of(listener, nth);
            bound.get(&key).unwrap_or(key.address()).clone()
        };
        (0..listener.binds.len()).map(address).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BindKey, Address>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
