//! The table of the view, every row of it, and the lengths of ejections on a virtual clock.

use proptest::prelude::*;

use super::*;

const FIRST: Millis = Millis::secs(30);

fn view(unresolved: bool, checked: Health, ejected: bool) -> HealthView {
    let mut view = HealthView::new(Health::Up);
    if ejected {
        view.apply(Fact::Ejected(FIRST, "5 errors in a row"), Moment(10));
    }
    view.apply(Fact::Checked(checked, "what checks say"), Moment(20));
    if unresolved {
        view.apply(Fact::Unresolved("no such name"), Moment(30));
    }
    view
}

#[test]
fn every_row_of_the_table() {
    use Health::{Down, Ejected, Unknown, Up};
    for (unresolved, checked, ejected, health, reason) in [
        (false, Up, false, Up, "what checks say"),
        (false, Up, true, Ejected, "5 errors in a row"),
        (false, Down, false, Down, "what checks say"),
        (false, Down, true, Down, "what checks say"),
        (false, Unknown, false, Unknown, "what checks say"),
        (false, Unknown, true, Unknown, "what checks say"),
        (true, Up, false, Down, "no such name"),
        (true, Up, true, Down, "no such name"),
        (true, Down, false, Down, "no such name"),
        (true, Down, true, Down, "no such name"),
        (true, Unknown, false, Down, "no such name"),
        (true, Unknown, true, Down, "no such name"),
    ] {
        let view = view(unresolved, checked, ejected);
        assert_eq!((view.health(), &**view.reason()), (health, reason), "{unresolved} {checked:?} {ejected}");
        assert_eq!(view.ejection().is_some(), ejected, "nobody else ends or begins an ejection");
        assert_eq!(view.checked(), checked, "nobody else writes what checks say");
    }
}

#[test]
fn a_check_that_passes_ends_no_ejection_and_one_that_comes_back_does() {
    let mut view = view(false, Health::Up, true);
    assert_eq!(view.apply(Fact::Checked(Health::Up, "answered 200"), Moment(40)), None);
    assert_eq!(view.health(), Health::Ejected);
    let shift = view.apply(Fact::Checked(Health::Down, "connection refused"), Moment(50));
    assert_eq!(shift, Some(Shift { from: Health::Ejected, to: Health::Down }));
    let shift = view.apply(Fact::Checked(Health::Up, "answered 200"), Moment(60));
    assert_eq!(shift, Some(Shift { from: Health::Down, to: Health::Up }));
    assert_eq!((view.ejection(), view.returned(), view.since()), (None, Moment(60), Moment(60)));
}

#[test]
fn a_name_that_comes_back_shows_what_was_hidden() {
    let mut view = view(true, Health::Up, true);
    assert_eq!(
        view.apply(Fact::Resolved, Moment(40)),
        Some(Shift { from: Health::Down, to: Health::Ejected })
    );
    assert_eq!(
        view.apply(Fact::Returned("its ejection is over"), Moment(50)),
        Some(Shift { from: Health::Ejected, to: Health::Up })
    );
    assert_eq!(&**view.reason(), "its ejection is over");
}

#[test]
fn only_what_is_up_is_ejected() {
    for (unresolved, checked) in [(true, Health::Up), (false, Health::Down), (false, Health::Unknown)] {
        let mut view = view(unresolved, checked, false);
        assert_eq!(view.apply(Fact::Ejected(FIRST, "bad"), Moment(40)), None);
        assert_eq!(view.ejection(), None);
    }
    let mut twice = view(false, Health::Up, true);
    let before = twice.ejection().cloned();
    twice.apply(Fact::Ejected(FIRST, "again"), Moment(40));
    assert_eq!(twice.ejection().cloned(), before, "an ejection is not made longer by what was under way");
}

/// Ejects now and returns at the end of it; how long that took.
fn round(view: &mut HealthView, now: &mut Moment) -> u64 {
    view.apply(Fact::Ejected(FIRST, "bad"), *now);
    let until = view.ejection().map_or(*now, |ejection| ejection.until);
    let length = until.since(*now).0;
    *now = until;
    view.apply(Fact::Returned("over"), *now);
    length / 1000
}

#[test]
fn ejections_grow_and_good_behaviour_makes_up_for_them() {
    let (mut view, mut now) = (HealthView::new(Health::Up), Moment(1_000_000));
    let grown: Vec<_> = (0..12).map(|_| round(&mut view, &mut now)).collect();
    assert_eq!(grown, [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]);
    // 100 seconds without an error make up for three of ten.
    now = now + Millis::secs(100);
    assert_eq!(round(&mut view, &mut now), 240);
    now = now + Millis::secs(3600);
    assert_eq!(round(&mut view, &mut now), 30);
}

fn fact() -> impl Strategy<Value = Fact<'static>> {
    let health = prop_oneof![Just(Health::Up), Just(Health::Down), Just(Health::Unknown)];
    prop_oneof![
        Just(Fact::Unresolved("n")),
        Just(Fact::Resolved),
        health.prop_map(|health| Fact::Checked(health, "c")),
        Just(Fact::Ejected(FIRST, "e")),
        Just(Fact::Returned("r")),
    ]
}

proptest! {
    #[test]
    fn facts_in_any_order_give_the_row_of_the_last_of_each(facts in prop::collection::vec(fact(), 0..80)) {
        let mut view = HealthView::new(Health::Up);
        let (mut unresolved, mut checked, mut ejected) = (false, Health::Up, false);
        for (index, fact) in facts.into_iter().enumerate() {
            let before = view.health();
            let now = Moment(1000 * index as u64);
            let shift = view.apply(fact, now);
            match fact {
                Fact::Unresolved(_) => unresolved = true,
                Fact::Resolved => unresolved = false,
                Fact::Checked(health, _) => {
                    ejected &= !(checked == Health::Down && health == Health::Up);
                    checked = health;
                }
                Fact::Ejected(..) => ejected |= before == Health::Up,
                Fact::Returned(_) => ejected = false,
            }
            let expected = match (unresolved, checked, ejected) {
                (true, ..) => Health::Down,
                (false, Health::Up, true) => Health::Ejected,
                (false, checked, _) => checked,
            };
            prop_assert_eq!(view.health(), expected);
            prop_assert_eq!(shift, (before != expected).then_some(Shift { from: before, to: expected }));
            if shift.is_some() {
                prop_assert_eq!(view.since(), now);
            }
        }
    }
}
