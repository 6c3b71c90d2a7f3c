//! The task of one backend: its addresses, its probes, and what follows from them.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::SocketAddr,
    sync::Arc,
};

use tokio::{sync::watch, time::sleep};
use weir_model::{
    balance::Seed,
    health::{Event, Fact, HealthCheck, HealthState, first_probe, next_probe},
    listener::Address,
    pool::Endpoint,
    status::Health,
    time::Millis,
};

use super::{
    Prober, Shared, Subject,
    resolve::{Addresses, keep_out, resolve},
};

/// Watches one backend, the `position`th of `total`. Never returns. `known` are addresses that its name stood for
/// before.
pub(super) async fn watch<P: Prober>(
    subject: Subject,
    known: Addresses,
    shared: Arc<Shared<P>>,
    position: usize,
    total: usize,
) {
    match subject.way.endpoint.clone() {
        Endpoint::Address(address) if !subject.doors.is_empty() => {
            let (found, addresses) = watch::channel(Addresses::default());
            tokio::join!(
                keep_out(&subject, address, &shared, found),
                follow(&subject, &shared, addresses, position, total)
            );
        }
        Endpoint::Address(address) => {
            let (_kept, addresses) = watch::channel(Addresses::from([Address::Ip(address)]));
            follow(&subject, &shared, addresses, position, total).await;
        }
        Endpoint::Name(host, port) => {
            let (found, addresses) = watch::channel(known);
            tokio::join!(
                resolve(&subject, &host, port, &shared, found),
                follow(&subject, &shared, addresses, position, total)
            );
        }
        Endpoint::Unix(path) => {
            let (_kept, addresses) = watch::channel(Addresses::from([Address::Unix(path)]));
            follow(&subject, &shared, addresses, position, total).await;
        }
    }
}

async fn follow<P: Prober>(
    subject: &Subject,
    shared: &Shared<P>,
    addresses: watch::Receiver<Addresses>,
    position: usize,
    total: usize,
) {
    match &subject.check {
        Some(check) => probe_forever(subject, check, shared, addresses, position, total).await,
        None => follow_names(subject, shared, addresses).await,
    }
}

/// Without a check, a backend with an address is up.
async fn follow_names<P>(subject: &Subject, shared: &Shared<P>, mut addresses: watch::Receiver<Addresses>) {
    while addresses.wait_for(|addresses| !addresses.is_empty()).await.is_ok() {
        let found = addresses.borrow_and_update().clone();
        if let Endpoint::Name(..) = subject.way.endpoint {
            use_addresses(subject, &found);
        }
        if subject.status.view().checked() != Health::Up {
            subject.know(Fact::Checked(Health::Up, "its name resolves"), shared);
        }
        subject.know(Fact::Resolved, shared);
        if addresses.changed().await.is_err() {
            return;
        }
    }
}

async fn probe_forever<P: Prober>(
    subject: &Subject,
    check: &HealthCheck,
    shared: &Shared<P>,
    mut addresses: watch::Receiver<Addresses>,
    position: usize,
    total: usize,
) {
    // Another one in every process: several weirs in front of one backend must not ask in step.
    let mut seed = Seed::new(RandomState::new().hash_one(&*subject.name));
    let mut delay = first_probe(check.interval, position, total);
    let mut state: Option<HealthState> = None;
    loop {
        sleep(delay.duration()).await;
        if addresses.wait_for(|addresses| !addresses.is_empty()).await.is_err() {
            return;
        }
        let targets = addresses.borrow_and_update().clone();
        let state = state.get_or_insert_with(|| first_state(subject, check, shared, &targets));
        let is_down = state.health() == Health::Down;
        // The time counts from when it has a place.
        let asked = async { ((shared.clock)(), ask(subject, check, shared, &targets).await) };
        let (started, event) = shared.lanes.pass(is_down, asked).await;
        let now = (shared.clock)();
        subject.status.count_check(matches!(event, Event::Passed(_)));
        if let Event::Failed(sentence) = &event {
            subject.status.set_last_error(&format!("health check: {sentence}"));
        }
        if let Some(change) = state.observe(&event, now) {
            subject.know(Fact::Checked(change.to, &change.reason), shared);
        }
        let interval = if state.health() == Health::Down { check.interval_down } else { check.interval };
        delay = Millis(next_probe(interval, &mut seed).0.saturating_sub(now.since(started).0));
    }
}

/// What is known when the first probe is made: after a reload the health from before, and nothing of a name that has
/// only just been resolved.
fn first_state<P>(
    subject: &Subject,
    check: &HealthCheck,
    shared: &Shared<P>,
    targets: &[Address],
) -> HealthState {
    if let Endpoint::Name(..) = subject.way.endpoint {
        use_addresses(subject, targets);
        if subject.status.view().checked() != Health::Up && check.initially_up {
            let reason = "its name resolves, and `initial` is `up`";
            subject.know(Fact::Checked(Health::Up, reason), shared);
        }
        subject.know(Fact::Resolved, shared);
    }
    let health = subject.status.view().checked();
    HealthState::new(check, health, (shared.clock)())
}

/// Asks every address of the backend. It passes if one of them does; those that do not are left out of traffic until
/// they do again.
async fn ask<P: Prober>(
    subject: &Subject,
    check: &HealthCheck,
    shared: &Shared<P>,
    targets: &[Address],
) -> Event {
    let mut passing = Vec::new();
    let mut passed = None;
    let mut failed = None;
    for target in targets {
        let asked = with_port(target, check.port);
        match shared.prober.probe(check, &asked, &subject.way).await {
            Ok(sentence) => {
                passing.push(target.clone());
                passed = Some(sentence);
            }
            Err(sentence) if targets.len() > 1 => failed = Some(format!("{asked}: {sentence}")),
            Err(sentence) => failed = Some(sentence),
        }
    }
    if let Endpoint::Name(..) = subject.way.endpoint {
        use_addresses(subject, if passing.is_empty() { targets } else { &passing });
    }
    match (passed, failed) {
        (Some(sentence), _) => Event::Passed(sentence),
        (None, sentence) => Event::Failed(sentence.unwrap_or_default()),
    }
}

/// Where a probe goes. A unix socket has no port to take another one for.
fn with_port(target: &Address, port: Option<u16>) -> Address {
    match (target, port) {
        (Address::Ip(address), Some(port)) => SocketAddr::new(address.ip(), port).into(),
        _ => target.clone(),
    }
}

/// Tells workers which addresses a name stands for.
pub(super) fn use_addresses(subject: &Subject, addresses: &[Address]) {
    let addresses: Vec<_> = addresses.iter().filter_map(Address::ip).collect();
    if **subject.status.addresses.load() != addresses {
        subject.status.addresses.store(Arc::new(addresses));
        subject.pool_status.touch();
    }
}
