//! The rules by a clock that the tests turn, for pools of one to five backends.

use super::*;
use crate::{
    draft::{BackendDraft, Draft, ListenerDraft, PoolDraft, StickyDraft, Text},
    listener::Protocol,
    problem::{Located, Span},
    snapshot::{SnapshotCell, compile},
    status::Registry,
};

struct World {
    registry: Registry,
    cell: SnapshotCell,
}

fn text(text: impl Into<String>) -> Text {
    Located::new(text.into(), Span::default())
}

/// A pool `app` of these backends, whose drain is ten seconds unless something else is said.
fn draft(backends: &[&str], drain: Millis) -> Draft {
    let backends = backends
        .iter()
        .enumerate()
        .map(|(index, name)| BackendDraft {
            address: text(format!("10.0.0.{}:80", index + 1)),
            name: Some(text(*name)),
            ..BackendDraft::default()
        })
        .collect();
    let drain = Some(Located::new(drain, Span::default()));
    let pool = PoolDraft { name: text("app"), backends, drain, ..PoolDraft::default() };
    let listener = ListenerDraft {
        name: text("web"),
        binds: vec![text("127.0.0.1:0")],
        protocol: Some(Located::new(Protocol::Http, Span::default())),
        pool: Some(text("app")),
        ..ListenerDraft::default()
    };
    Draft { listeners: vec![listener], pools: vec![pool], ..Draft::default() }
}

const TEN: Millis = Millis::secs(10);

impl World {
    fn new(backends: &[&str]) -> Self {
        let mut registry = Registry::new(1);
        let (snapshot, _) = compile::compile(&draft(backends, TEN), 1, &mut registry).unwrap();
        Self { registry, cell: SnapshotCell::new(snapshot) }
    }

    fn publish(&mut self, draft: &Draft, now: u64) {
        let generation = self.cell.generation() + 1;
        let (snapshot, _) = compile::compile(draft, generation, &mut self.registry).unwrap();
        self.registry.keep_only(&snapshot);
        self.cell.publish(snapshot, Moment(now));
    }

    fn status(&self, name: &str) -> Arc<BackendStatus> {
        let snapshot = self.cell.load();
        let mut backends = snapshot.pools[0].backends.iter();
        backends.find(|backend| *backend.name == *name).unwrap().status.clone()
    }

    /// What the admin API does.
    fn order(&self, name: &str, state: State, now: u64) {
        let snapshot = self.cell.load();
        let pool = &snapshot.pools[0];
        let backend = pool.backends.iter().find(|backend| *backend.name == *name).unwrap();
        backend.order(Some(state), None, Moment(now));
        self.cell.drains().follow(pool, backend, Moment(now));
    }

    fn ended(&self, now: u64) -> Vec<(String, bool, u64, u64)> {
        let ended = self.cell.drains().ended(Moment(now)).into_iter();
        ended.map(|one| (one.backend.to_string(), one.removed, one.took.0, one.cut)).collect()
    }
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

#[test]
fn what_is_left_is_cut_when_the_drain_is_over() {
    for count in 1..=5 {
        let world = World::new(&NAMES[..count]);
        let status = world.status("a");
        status.active.store(2, Ordering::Relaxed);
        assert_eq!((status.drain.began(), status.drain.ends()), (None, Moment::NEVER));
        for state in [State::Draining, State::Disabled] {
            let before = world.cell.drains().generation();
            world.order("a", state, 1000);
            assert_eq!(status.drain.ends(), Moment(11_000), "{state:?}");
            assert_eq!(world.cell.drains().generation() > before, state == State::Draining);
        }
        assert_eq!(world.status(NAMES[count - 1]).drain.began().is_some(), count == 1);
        assert!(!status.has_left(Moment(10_999)));
        assert_eq!(world.ended(11_000), [], "two are still there");
        status.drain.count_cut();
        status.active.store(0, Ordering::Relaxed);
        assert_eq!(world.ended(11_050), [("a".to_owned(), false, 10_050, 1)]);
        assert_eq!(world.ended(20_000), [], "that is said once");
        assert!(status.has_left(Moment(20_000)), "it may be stopped for as long as it takes nothing");
    }
}

#[test]
fn nobody_may_stop_it_before_every_worker_has_heard() {
    let world = World::new(&["a"]);
    let status = world.status("a");
    world.order("a", State::Draining, 1000);
    assert!(!status.has_left(Moment(1000)) && !status.has_left(Moment(2999)));
    assert!(status.has_left(Moment(3000)));
    // Those who are bound to it may still have come until now.
    world.order("a", State::Disabled, 5000);
    assert!(!status.has_left(Moment(6999)) && status.has_left(Moment(7000)));
    assert_eq!(status.drain.began(), Some(Moment(1000)));
}

#[test]
fn who_is_bound_to_it_keeps_it_from_being_stopped() {
    let mut world = World::new(&["a", "b"]);
    let status = world.status("a");
    let sticky = |drain| {
        let mut draft = draft(&["a", "b"], drain);
        draft.pools[0].sticky = Some(StickyDraft { cookie: Some(text("WEIR")), ..StickyDraft::default() });
        draft
    };
    world.publish(&sticky(TEN), 500);
    world.order("a", State::Draining, 1000);
    assert!(status.drain.binds());
    assert!(!status.has_left(Moment(3000)) && !status.has_left(Moment(10_999)));
    assert_eq!(world.ended(10_999), []);
    // Every worker has noticed by then that it is over.
    assert!(!status.has_left(Moment(12_999)) && status.has_left(Moment(13_000)));
    // Without an end they come for ever.
    world.publish(&sticky(Millis::NONE), 14_000);
    assert!(!status.has_left(Moment(1_000_000)));
    // Disabled, it is taken from them as well.
    world.order("a", State::Disabled, 20_000);
    assert!(!status.has_left(Moment(21_999)) && status.has_left(Moment(22_000)));
    // And one that is gone from the file has nobody.
    world.order("b", State::Draining, 30_000);
    let gone = world.status("b");
    assert!(gone.drain.binds());
    world.publish(&draft(&["a"], Millis::NONE), 31_000);
    assert!(!gone.drain.binds() && gone.has_left(Moment(33_000)));
}

#[test]
fn asking_again_does_not_give_more_time() {
    let world = World::new(&["a", "b"]);
    let status = world.status("a");
    world.order("a", State::Draining, 1000);
    let before = world.cell.drains().generation();
    world.order("a", State::Draining, 5000);
    assert_eq!((status.drain.ends(), world.cell.drains().generation()), (Moment(11_000), before));
    world.order("a", State::Active, 6000);
    assert_eq!((status.drain.began(), status.drain.ends()), (None, Moment::NEVER));
    assert!(world.cell.drains().generation() > before);
    assert_eq!(world.ended(30_000), [], "it came back before its end");
    status.drain.count_cut();
    world.order("a", State::Draining, 7000);
    assert_eq!((status.drain.ends(), status.drain.cut()), (Moment(17_000), 0), "it counts anew");
}

#[test]
fn a_backend_that_the_file_has_no_more_has_the_same_time() {
    let mut world = World::new(&["a", "b", "c"]);
    let (gone, stays) = (world.status("c"), world.status("a"));
    gone.active.store(1, Ordering::Relaxed);
    world.publish(&draft(&["a", "b"], TEN), 4000);
    assert_eq!((gone.drain.ends(), stays.drain.ends()), (Moment(14_000), Moment::NEVER));
    // One that comes back is another one.
    world.publish(&draft(&["a", "b", "c"], TEN), 5000);
    assert!(!Arc::ptr_eq(&gone, &world.status("c")));
    assert_eq!((gone.drain.ends(), world.status("c").drain.began()), (Moment(14_000), None));
    gone.active.store(0, Ordering::Relaxed);
    assert_eq!(world.ended(14_100), [("c".to_owned(), true, 10_100, 0)]);
}

#[test]
fn the_length_may_change_while_it_is_under_way() {
    let mut world = World::new(&["a", "b"]);
    let status = world.status("a");
    world.order("a", State::Draining, 1000);
    world.publish(&draft(&["a", "b"], Millis::secs(60)), 2000);
    assert_eq!(status.drain.ends(), Moment(61_000));
    world.publish(&draft(&["a", "b"], Millis::NONE), 3000);
    assert_eq!(status.drain.ends(), Moment::NEVER);
    world.publish(&draft(&["a", "b"], Millis(0)), 4000);
    assert_eq!(status.drain.ends(), Moment(1000));
    // Drained first, removed later: still one and the same.
    world.publish(&draft(&["b"], Millis(0)), 5000);
    assert_eq!(status.drain.began(), Some(Moment(1000)));
    let ended = world.ended(9000);
    assert!(ended.contains(&("a".to_owned(), true, 8000, 0)), "{ended:?}");
}
