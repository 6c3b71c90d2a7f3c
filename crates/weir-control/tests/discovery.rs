//! What is discovered, compiled: one pool anew, everything else as it was, and bad entries left out alone.
#![allow(clippy::unwrap_used, reason = "clippy sees helpers of tests as code")]

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use proptest::prelude::*;
use weir_control::config::{self, Compiled};
use weir_model::{
    balance::EligibleSet,
    draft::{BackendDraft, Text},
    problem::{Located, Span},
    snapshot::{Snapshot, SnapshotCell, compile::anew},
    status::Registry,
    time::Moment,
};

fn compiled(registry: &mut Registry) -> Compiled {
    let text = "
listeners:
  web:
    bind: 127.0.0.1:8080
    protocol: http
    routes: [{ match: { path: /x }, pool: other }, { pool: app }]
pools:
  app: { backends: ['10.0.0.1:80'], discover: { dns: app.test:80 }, connect_timeout: 1s }
  other: { backends: ['10.0.0.9:80'] }
defaults: { pool: { response_timeout: 7s } }
";
    config::compile(config::from_text("weir.yaml", text), 1, registry)
        .unwrap_or_else(|refusal| panic!("{}", refusal.render(config::Style::Plain)))
}

fn found(address: &str, weight: Option<u32>) -> BackendDraft {
    BackendDraft {
        address: Text::new(address.into(), Span::default()),
        weight: weight.map(|weight| Located::new(weight, Span::default())),
        ..BackendDraft::default()
    }
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    snapshot.pool("app").unwrap().1.backends.iter().map(|backend| backend.name.to_string()).collect()
}

#[test]
fn only_the_pool_that_changed_is_another_one() {
    let mut registry = Registry::new(1);
    let Compiled { snapshot: running, discovering, .. } = compiled(&mut registry);
    assert_eq!(discovering.len(), 1);
    let mut draft = discovering[0].clone();
    draft.found = vec![found("10.0.0.2:80", Some(3)), found("10.0.0.3:80", None)];
    let (next, changed) = anew([&draft], &running, &mut registry).unwrap();
    assert_eq!(next.generation, 2);
    assert_eq!(names(&next), ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
    assert!(changed[0].left_out.is_empty());
    let ((_, old), (_, new)) = (running.pool("other").unwrap(), next.pool("other").unwrap());
    assert!(Arc::ptr_eq(old, new));
    assert!(Arc::ptr_eq(&running.listeners[0], &next.listeners[0]));
    let pool = next.pool("app").unwrap().1;
    assert_eq!(pool.response_timeout.0, 7000, "defaults hold for what is compiled anew");
    assert_eq!(pool.backends.iter().map(|backend| backend.weight).collect::<Vec<_>>(), [1, 3, 1]);

    // What goes is forgotten, what stays keeps its counters.
    let stays = pool.backends[2].status.clone();
    let known = registry.len();
    draft.found.remove(0);
    let (last, _) = anew([&draft], &next, &mut registry).unwrap();
    assert!(Arc::ptr_eq(&stays, &last.pool("app").unwrap().1.backends[1].status));
    assert_eq!(registry.len(), known - 1);
}

#[test]
fn what_is_wrong_is_said_of_each_entry() {
    let mut registry = Registry::new(1);
    let Compiled { snapshot: running, discovering, .. } = compiled(&mut registry);
    let mut draft = discovering[0].clone();
    draft.found = vec![
        found("10.0.0.1:80", None),
        found("0.0.0.0:80", None),
        found("10.0.0.2:0", None),
        found("10.0.0.3:80", Some(1_000_001)),
        found("127.0.0.1:8080", None),
        found("10.0.0.4:80", None),
    ];
    let (next, changed) = anew([&draft], &running, &mut registry).unwrap();
    assert_eq!(names(&next), ["10.0.0.1:80", "10.0.0.4:80"]);
    let said: Vec<_> = changed[0].left_out.iter().map(|problem| problem.cause.as_str()).collect();
    for (said, expected) in said.iter().zip([
        "the pool `app` has two backends named `10.0.0.1:80`",
        "`0.0.0.0` is no address to connect to",
        "a backend has no port 0",
        "the weight cannot be 1000001",
        "`127.0.0.1:8080` is weir's own listener `web`, which leads to the pool `app` again",
    ]) {
        assert_eq!(*said, expected);
    }
    assert_eq!(said.len(), 5);
}

#[test]
fn who_holds_the_pool_as_it_was_does_not_choose_what_is_gone() {
    let mut registry = Registry::new(1);
    let Compiled { snapshot, discovering, .. } = compiled(&mut registry);
    let cell = SnapshotCell::new(snapshot);
    let mut draft = discovering[0].clone();
    draft.found = vec![found("10.0.0.2:80", None), found("10.0.0.3:80", None)];
    let publish = |draft: &_, registry: &mut Registry| {
        let (next, _) = anew([draft], &cell.load(), registry).unwrap();
        cell.publish(next, Moment(1000));
        cell.load().pool("app").unwrap().1.clone()
    };
    let chosen = |pool| {
        let set = EligibleSet::of(pool);
        set.members().iter().map(|member| member.backend).collect::<Vec<_>>()
    };
    let before = publish(&draft, &mut registry);
    assert_eq!(chosen(&before), [0, 1, 2]);
    let epoch = before.status.epoch.load(Ordering::Relaxed);
    draft.found.remove(0);
    let after = publish(&draft, &mut registry);
    assert_eq!((chosen(&before), chosen(&after)), (vec![0, 2], vec![0, 1]));
    assert!(before.status.epoch.load(Ordering::Relaxed) > epoch, "workers are told");
}

/// Addresses good and bad, often the same ones.
fn entry() -> impl Strategy<Value = BackendDraft> {
    let address = prop_oneof![
        (0..6u8).prop_map(|last| format!("10.0.0.{last}:80")),
        (0..3u8).prop_map(|last| format!("[fd00::{last}]:80")),
        Just("nonsense here".to_owned()),
        Just("10.0.0.1".to_owned()),
        Just("127.0.0.1:8080".to_owned()),
        "\\PC{0,12}",
    ];
    (address, prop::option::of(0..2_000_000u32)).prop_map(|(address, weight)| found(&address, weight))
}

proptest! {
    /// Whatever sources find, one after the other: the backends of the file are there and first, names are not there
    /// twice, every entry is used or said to be left out, and the next answer finds a sound snapshot.
    #[test]
    fn nothing_that_is_found_breaks_a_pool(answers in prop::collection::vec(prop::collection::vec(entry(), 0..12), 1..6)) {
        let mut registry = Registry::new(1);
        let Compiled { snapshot: mut running, discovering, .. } = compiled(&mut registry);
        for answer in answers {
            let mut draft = discovering[0].clone();
            draft.found = answer;
            let (next, changed) = anew([&draft], &running, &mut registry).unwrap();
            let names = names(&next);
            prop_assert_eq!(&*names[0], "10.0.0.1:80");
            prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
            let left_out = changed[0].left_out.len();
            prop_assert!(names.len() - 1 + left_out >= draft.found.len(), "{:?} {:?}", names, changed);
            prop_assert_eq!(next.generation, running.generation + 1);
            running = next;
        }
    }
}
