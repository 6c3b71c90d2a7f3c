//! A connection stays where its id says, wherever its client comes from.

use super::*;
use crate::{
    balance::Policy,
    draft::{BackendDraft, BalanceDraft, Draft, PoolDraft, Text},
    problem::{Located, Problem, Span},
    snapshot::compile::compile,
    status::{Health, Registry, State},
};

fn text(text: &str) -> Text {
    Located::new(text.into(), Span::default())
}

/// A pool by `quic_cid` of backends with these names and ids.
fn compiled(backends: &[(&str, Option<&str>)]) -> Result<Arc<Pool>, Vec<Problem>> {
    let backend = |(index, (name, id)): (usize, &(&str, Option<&str>))| BackendDraft {
        address: text(&format!("10.0.0.{index}:443")),
        name: Some(text(name)),
        server_id: id.map(text),
        ..BackendDraft::default()
    };
    let balance = BalanceDraft { policy: Policy::Maglev, key: Some(text("quic_cid")), bounded_load: None };
    let pool = PoolDraft {
        name: text("app"),
        balance: Some(Located::new(balance, Span::default())),
        backends: backends.iter().enumerate().map(backend).collect(),
        ..PoolDraft::default()
    };
    // No listener that could use it can be written yet, and none is needed to compile it.
    let draft = Draft { pools: vec![pool], listeners_incomplete: true, ..Draft::default() };
    compile(&draft, 1, &mut Registry::new(1)).map(|(snapshot, _)| snapshot.pools[0].clone())
}

fn flow(port: u16) -> Flow {
    Flow { source: ([192, 0, 2, 1], port).into(), destination: Some(([10, 0, 0, 9], 443).into()) }
}

/// A datagram of a connection of this server.
fn datagram(id: &ServerId) -> Vec<u8> {
    [&[0x40, 0x2c], id.octets(), &[1, 2, 3, 4, 5, 6]].concat()
}

#[test]
fn a_connection_stays_with_its_server() {
    let pool = compiled(&[("a", None), ("b", None), ("c", None)]).expect("it is sound");
    let now = Moment(1);
    for (index, backend) in pool.backends.iter().enumerate() {
        let id = backend.server_id.expect("it follows from the name");
        assert_eq!(Some(id), ServerId::of_name(&backend.name, quic::USUAL_LENGTH));
        for port in 1..100 {
            let owner = pool.owner_of(&Key::QuicCid, &datagram(&id), flow(port), now);
            assert_eq!(owner, Owner::Backend(index));
        }
    }
    let stranger = ServerId::of_name("d", quic::USUAL_LENGTH).expect("it has a length");
    let placed = |port| pool.owner_of(&Key::QuicCid, &datagram(&stranger), flow(port), now);
    assert_eq!(placed(5), Owner::Key(Key::FiveTuple.of_datagram(flow(5))));
    assert_ne!(placed(5), placed(6));
}

#[test]
fn one_that_is_drained_keeps_what_it_has_and_one_that_is_down_does_not() {
    let pool = compiled(&[("a", Some("01")), ("b", Some("02"))]).expect("it is sound");
    let a = &pool.backends[0];
    let keeps = |now| {
        let owner = pool.owner_of(&Key::QuicCid, &datagram(&a.server_id.expect("given")), flow(1), now);
        owner == Owner::Backend(0)
    };
    assert!(keeps(Moment(1)));
    a.order(Some(State::Draining), Some(0), Moment(1));
    assert!(keeps(Moment(2)));
    a.order(Some(State::Disabled), None, Moment(3));
    assert!(!keeps(Moment(4)));
    a.order(Some(State::Active), None, Moment(5));
    a.status.set_health(Health::Down, "a test says so", Moment(6));
    assert!(!keeps(Moment(7)));
}

#[test]
fn ids_are_judged() {
    let problems = |backends: &[_]| {
        let problems = compiled(backends).expect_err("it is not sound");
        problems.iter().map(|problem| problem.cause.clone()).collect::<Vec<_>>().join("\n")
    };
    assert!(problems(&[("a", Some("xyz"))]).contains("`xyz` is not a server id"));
    let lengths = problems(&[("a", Some("0102")), ("b", Some("010203"))]);
    assert!(lengths.contains("has 3 octets") && lengths.contains("has 2"), "{lengths}");
    let twice = problems(&[("a", Some("0102")), ("b", Some("0102"))]);
    assert!(twice.contains("the same server id `0102`"), "{twice}");
    // Of one octet, some of three hundred names have the same.
    let names: Vec<_> = (0..300).map(|index| format!("b{index}")).collect();
    let mut many: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
    many[0].1 = Some("00");
    assert!(problems(&many).contains("the same server id"));
}
