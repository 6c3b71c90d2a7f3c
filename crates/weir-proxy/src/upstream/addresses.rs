//! The addresses that a host name stands for: in which order they are tried, and for how long each.

use std::{cell::RefCell, collections::HashMap, net::SocketAddr};

use weir_model::time::{Millis, Moment};

/// So long an address that could not be connected is tried after the others. Not for ever, or one that has recovered would
/// never be found out while the others do.
const MEMORY: Millis = Millis::secs(30);
/// Of so many a worker remembers that at most.
const MOST: usize = 1024;

/// Where one worker could not connect lately.
#[derive(Debug, Default)]
pub(crate) struct Unreached(RefCell<HashMap<SocketAddr, Moment>>);

impl Unreached {
    /// The addresses in the order in which they are tried: those that nothing is known against, beginning with one that is
    /// drawn, and then the others, the one that failed longest ago first.
    pub(super) fn order(&self, addresses: &[SocketAddr], draw: usize, now: Moment) -> Vec<SocketAddr> {
        let failed = self.0.borrow();
        let known = |address: &SocketAddr| failed.get(address).copied().filter(|at| now.since(*at) < MEMORY);
        let (mut order, mut later): (Vec<_>, Vec<_>) =
            addresses.iter().copied().partition(|address| known(address).is_none());
        let first = draw % order.len().max(1);
        order.rotate_left(first);
        later.sort_by_key(known);
        order.append(&mut later);
        order
    }

    /// It could not be connected.
    pub(super) fn note(&self, address: SocketAddr, now: Moment) {
        let mut failed = self.0.borrow_mut();
        if failed.len() >= MOST {
            failed.retain(|_, at| now.since(*at) < MEMORY);
        }
        if failed.len() < MOST {
            failed.insert(address, now);
        }
    }

    /// It was connected.
    pub(super) fn forget(&self, address: &SocketAddr) {
        self.0.borrow_mut().remove(address);
    }
}

/// What each of so many addresses may take of this time, so that one that swallows everything leaves some to the others.
pub(super) fn share(left: Millis, addresses: usize) -> Millis {
    Millis(left.0 / addresses.max(1) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn who_failed_comes_later_for_a_while() {
        let unreached = Unreached::default();
        let all = [at(1), at(2), at(3)];
        let now = Moment(100_000);
        assert_eq!(unreached.order(&all, 4, now), [at(2), at(3), at(1)]);
        unreached.note(at(2), now);
        unreached.note(at(1), now + Millis(1));
        assert_eq!(unreached.order(&all, 4, now + Millis(2)), [at(3), at(2), at(1)]);
        unreached.forget(&at(1));
        assert_eq!(unreached.order(&all, 1, now + Millis(2)), [at(3), at(1), at(2)]);
        assert_eq!(unreached.order(&all, 1, now + MEMORY), [at(2), at(3), at(1)]);
        assert_eq!(unreached.order(&[], 1, now), []);
    }
}
