//! Backends that are weir itself: one that is a listener which leads to it would have requests go round in circles. For
//! addresses that every machine has the compiler finds that out; what a name stands for, and which addresses this machine has,
//! is only known when it runs.

use std::{
    cell::RefCell,
    collections::HashMap,
    fs,
    net::{IpAddr, UdpSocket},
    sync::Arc,
};

use weir_model::{
    listener::Address,
    pool::{Endpoint, PoolIndex},
    snapshot::{Snapshot, compile::is_at},
};

/// Where listeners are bound that lead to a backend's pool, at the backend's port, and their names.
pub(super) type Doors = Arc<[(IpAddr, Arc<str>)]>;

/// Finds doors. What the machine was asked is remembered: very many backends may have the port of a listener.
#[derive(Default)]
pub(super) struct Finder {
    here: RefCell<HashMap<IpAddr, bool>>,
    doors: HashMap<(PoolIndex, u16), Doors>,
}

impl Finder {
    /// The doors that a backend must not be, and its name must not stand for.
    pub(super) fn doors(&mut self, snapshot: &Snapshot, pool: PoolIndex, endpoint: &Endpoint) -> Doors {
        let port = match endpoint {
            Endpoint::Name(_, port) => *port,
            Endpoint::Address(address) => address.port(),
            Endpoint::Unix(_) => return Doors::default(),
        };
        let here =
            |address: &IpAddr| *self.here.borrow_mut().entry(*address).or_insert_with(|| is_here(address));
        let doors = self.doors.entry((pool, port));
        doors.or_insert_with(|| snapshot.doors_to(pool, port, &here).into()).clone()
    }
}

/// Leaves out the addresses that are weir itself, and says which those are if there are any.
pub(super) fn leave_out(addresses: &mut Vec<Address>, doors: &Doors) -> Option<String> {
    let mut left_out = None;
    addresses.retain(|address| {
        let door = address.ip().and_then(|to| doors.iter().find(|door| is_at(door.0, to.ip(), is_here)));
        if let (Some((_, listener)), Some(to)) = (door, address.ip()) {
            let sentence =
                format!("{} is weir's own listener `{listener}`, which leads to this pool again", to.ip());
            left_out.get_or_insert(sentence);
        }
        door.is_none()
    });
    left_out
}

/// True if this machine has the address: then a socket can be bound to it. Where the system lets sockets be bound to addresses
/// of others as well, that says nothing, and what a connection to the address would come from is asked for instead.
pub(crate) fn is_here(address: &IpAddr) -> bool {
    if address.is_loopback() {
        return true;
    }
    let Ok(socket) = UdpSocket::bind((*address, 0)) else { return false };
    let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
    let foreign = fs::read_to_string(format!("/proc/sys/net/{family}/ip_nonlocal_bind"));
    if foreign.is_ok_and(|foreign| foreign.trim() == "0") {
        return true;
    }
    drop(socket);
    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((*address, 9))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == *address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| Address::Ip(text.parse().unwrap())).collect()
    }

    #[test]
    fn what_is_weir_itself_is_left_out_and_nothing_else() {
        let doors = |at: &str| Doors::from([(at.parse().unwrap(), Arc::from("web"))]);
        // The middle one is for documentation (RFC 5737): no machine has it.
        let all = ["127.0.0.1:80", "192.0.2.1:80", "[::1]:80"];
        for (at, left) in [
            ("0.0.0.0", &all[1..]),
            ("::", &all[..2]),
            ("127.0.0.1", &all[1..]),
            ("::ffff:127.0.0.1", &all[1..]),
            ("127.0.0.2", &all[..]),
        ] {
            let mut found = addresses(&all);
            let said = leave_out(&mut found, &doors(at));
            assert_eq!(found, addresses(left), "{at}");
            assert_eq!(said.is_some(), left.len() < 3, "{at}: {said:?}");
        }
        assert_eq!(leave_out(&mut addresses(&all), &Doors::default()), None);
    }
}
