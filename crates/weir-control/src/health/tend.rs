//! What goes on between checks: ejected backends return when their time is over, and shares grow.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use weir_model::{health::Shift, pool::Pool, snapshot::Snapshot, time::Millis};

use super::{Shared, line};

/// How soon to look again: often where there may be something to do. Elsewhere an exchange that began before a reload took
/// `outlier` away may still eject somebody.
pub(super) fn pause(snapshot: &Snapshot) -> Duration {
    let needs = |pool: &Arc<Pool>| pool.outlier.is_some() || pool.slow_start > Millis(0);
    Duration::from_millis(if snapshot.pools.iter().any(needs) { 100 } else { 1000 })
}

/// Looks at all pools once.
pub(super) fn tend<P>(snapshot: &Snapshot, shared: &Shared<P>) {
    for pool in &snapshot.pools {
        // Shares first: one that returns begins with the share that it was given while it was away.
        let mut moved = pool.ramp((shared.clock)());
        if pool.status.unsettled.swap(false, Ordering::AcqRel) {
            moved |= take_back(pool, shared);
        }
        if moved {
            pool.status.touch();
        }
    }
}

/// Takes back those whose time is over; true if there were any.
fn take_back<P>(pool: &Pool, shared: &Shared<P>) -> bool {
    let now = (shared.clock)();
    let mut any = false;
    for (index, backend) in pool.backends.iter().enumerate() {
        if let Some(Shift { to, .. }) = pool.readmit(index, now) {
            any = true;
            let text = format!("health={}: {}", to.word(), backend.status.reason());
            (shared.logs.info)(&line(&pool.name, &backend.name, &text));
        }
    }
    if pool.ejected() > 0 {
        pool.status.unsettled.store(true, Ordering::Release);
    }
    any
}
