//! Host names of backends: looked up again and again. A name that stops resolving keeps its last addresses; one that
//! never did marks its backend down. Neither stops anything.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::lookup_host, sync::watch, time::sleep};
use weir_model::{health::Fact, listener::Address};

use super::{
    Shared, Subject,
    round::{Doors, leave_out},
    watch::use_addresses,
};

/// Between two look-ups of a name that resolves.
const REFRESH: Duration = Duration::from_secs(10);
/// Between two look-ups of a name without any address yet.
const RETRY: Duration = Duration::from_secs(1);
/// For one look-up.
const PATIENCE: Duration = Duration::from_secs(5);

/// The addresses that a backend has now; empty while its name was never resolved.
pub(super) type Addresses = Arc<[Address]>;

/// What a look-up came to.
struct Found {
    addresses: Addresses,
    /// What it stands for besides, and why that is left out.
    left_out: Option<String>,
}

/// Keeps `found` up to date. Never returns.
pub(super) async fn resolve<P>(
    subject: &Subject,
    host: &str,
    port: u16,
    shared: &Shared<P>,
    found: watch::Sender<Addresses>,
) {
    let mut failing = false;
    let mut left_out = None;
    loop {
        match look_up(host, port, &subject.doors).await {
            Ok(now) if now.addresses.is_empty() => {
                if left_out != now.left_out {
                    let why = now.left_out.as_deref().unwrap_or_default();
                    let sentence = format!("`{host}` stands for no backend: {why}");
                    subject.status.set_last_error(&sentence);
                    // What was known before may be the very same.
                    found.send_replace(Addresses::default());
                    use_addresses(subject, &[]);
                    subject.know(Fact::Unresolved(&sentence), shared);
                }
                (failing, left_out) = (true, now.left_out);
            }
            Ok(now) => {
                let addresses = now.addresses;
                let again = std::mem::take(&mut failing);
                if again || **found.borrow() != *addresses || left_out != now.left_out {
                    let besides = now.left_out.as_deref().map(|why| format!("; {why}, and is left out"));
                    let besides = besides.unwrap_or_default();
                    subject.say(shared, &format!("`{host}` stands for {}{besides}", listed(&addresses)));
                }
                if left_out.is_some() && found.borrow().is_empty() {
                    use_addresses(subject, &addresses);
                    subject.know(Fact::Resolved, shared);
                }
                left_out = now.left_out;
                found.send_if_modified(|old| {
                    let changed = **old != *addresses;
                    *old = addresses;
                    changed
                });
            }
            Err(reason) => {
                let sentence = format!("`{host}` cannot be resolved: {reason}");
                subject.status.set_last_error(&sentence);
                let known = found.borrow().len();
                if known > 0 && !failing {
                    subject.say(shared, &format!("{sentence}; the addresses known before stay in use"));
                }
                if known == 0 && !failing {
                    subject.know(Fact::Unresolved(&sentence), shared);
                }
                failing = true;
            }
        }
        sleep(if found.borrow().is_empty() { RETRY } else { REFRESH }).await;
    }
}

/// Leaves out a backend that is written as an address as long as that is weir itself: a machine gets and loses addresses while
/// it runs. Never returns.
pub(super) async fn keep_out<P>(
    subject: &Subject,
    address: SocketAddr,
    shared: &Shared<P>,
    found: watch::Sender<Addresses>,
) {
    let mut before = None;
    loop {
        let mut addresses = vec![Address::Ip(address)];
        let left_out = leave_out(&mut addresses, &subject.doors);
        if before.as_ref() != Some(&left_out) {
            found.send_replace(addresses.into());
            match &left_out {
                Some(why) => {
                    subject.status.set_last_error(why);
                    subject.know(Fact::Unresolved(why), shared);
                }
                None => subject.know(Fact::Resolved, shared),
            }
            before = Some(left_out);
        }
        sleep(REFRESH).await;
    }
}

/// In a stable order: resolvers rotate theirs, which is no change.
async fn look_up(host: &str, port: u16, doors: &Doors) -> Result<Found, String> {
    let looked_up = tokio::time::timeout(PATIENCE, lookup_host((host, port))).await;
    let found: io::Result<Vec<Address>> = match looked_up {
        Ok(result) => result.map(|found| found.map(Address::Ip).collect()),
        Err(_) => return Err(format!("no answer within {}s", PATIENCE.as_secs())),
    };
    let mut addresses = found.map_err(|error| error.to_string())?;
    addresses.sort();
    addresses.dedup();
    if addresses.is_empty() {
        return Err("the name has no address".into());
    }
    let left_out = leave_out(&mut addresses, doors);
    Ok(Found { addresses: addresses.into(), left_out })
}

fn listed(addresses: &[Address]) -> String {
    addresses
        .iter()
        .filter_map(Address::ip)
        .map(|address| address.ip().to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
