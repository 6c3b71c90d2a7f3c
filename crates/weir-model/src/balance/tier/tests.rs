//! Every pool of one to five backends, in every state.

use std::sync::Arc;

use super::*;
use crate::{
    balance::{Ask, Choice, EligibleSet},
    draft::{BackendDraft, Draft, ListenerDraft, PoolDraft, Text},
    listener::Protocol,
    problem::{Located, Span},
    snapshot::compile::compile,
    status::Registry,
    time::Moment,
};

fn text(text: &str) -> Text {
    Located::new(text.into(), Span::default())
}

/// A pool of so many backends, as it is compiled.
pub(in crate::balance) fn pool(backends: usize) -> Pool {
    let backend = |index: usize| BackendDraft {
        address: text(&format!("10.0.{}.{}:80", index / 250, index % 250 + 1)),
        ..BackendDraft::default()
    };
    let pool = PoolDraft {
        name: text("app"),
        backends: (0..backends).map(backend).collect(),
        ..PoolDraft::default()
    };
    let listener = ListenerDraft {
        name: text("web"),
        binds: vec![text("127.0.0.1:80")],
        protocol: Some(Located::new(Protocol::Http, Span::default())),
        pool: Some(text("app")),
        ..ListenerDraft::default()
    };
    let draft = Draft { listeners: vec![listener], pools: vec![pool], ..Draft::default() };
    let (snapshot, _) = compile(&draft, 1, &mut Registry::new(1)).expect("it is sound");
    (*snapshot.pools[0]).clone()
}

/// What can become of one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Up,
    Down,
    Ejected,
    Unknown,
    Draining,
    Disabled,
    Weightless,
}

use Fate::{Disabled, Down, Draining, Ejected, Unknown, Up, Weightless};

/// Those that differ in what follows from them: a pool of five has ten thousand times a hundred states with all of them.
const FATES: [Fate; 5] = [Up, Down, Unknown, Draining, Weightless];
const ALL_FATES: [Fate; 7] = [Up, Down, Ejected, Unknown, Draining, Disabled, Weightless];

impl Fate {
    fn befall(self, backend: &mut Backend) {
        backend.state = match self {
            Draining => State::Draining,
            Disabled => State::Disabled,
            _ => State::Active,
        };
        backend.weight = u32::from(self != Weightless);
        let health = match self {
            Down => Health::Down,
            Ejected => Health::Ejected,
            Unknown => Health::Unknown,
            Up | Draining | Disabled | Weightless => Health::Up,
        };
        backend.status.set_health(health, "", Moment(0));
    }

    const fn is_willing(self) -> bool {
        matches!(self, Up | Down | Ejected | Unknown)
    }
}

/// Calls `check` with every pool of so many backends.
fn every(backends: usize, fates: &[Fate], mut check: impl FnMut(&mut Pool, &[(Fate, bool)])) {
    let mut pool = pool(backends);
    let kinds = fates.len() * 2;
    for number in 0..kinds.pow(backends as u32) {
        let mut rest = number;
        let all: Vec<_> = pool
            .backends
            .iter_mut()
            .map(|backend| {
                let kind = rest % kinds;
                rest /= kinds;
                let (fate, backup) = (fates[kind / 2], kind % 2 == 1);
                fate.befall(backend);
                backend.backup = backup;
                (fate, backup)
            })
            .collect();
        check(&mut pool, &all);
    }
}

/// Indices of those that this holds for.
fn those(all: &[(Fate, bool)], wanted: impl Fn(Fate, bool) -> bool) -> Vec<usize> {
    all.iter()
        .enumerate()
        .filter(|(_, (fate, backup))| wanted(*fate, *backup))
        .map(|(index, _)| index)
        .collect()
}

fn set_of(pool: &Pool) -> Vec<usize> {
    EligibleSet::of(pool).members().iter().map(|member| member.backend).collect()
}

/// The rules as the manual tells them.
fn judge(pool: &Pool, all: &[(Fate, bool)], panic_percent: usize) {
    let set = set_of(pool);
    let tier = Standing::of(pool).tier;
    let told = || format!("{all:?} with panic {panic_percent} %: {tier:?} {set:?}");
    let primaries_up = those(all, |fate, backup| fate == Up && !backup);
    let backups_up = those(all, |fate, backup| fate == Up && backup);
    let primaries = those(all, |fate, backup| fate.is_willing() && !backup);
    let backups = those(all, |fate, backup| fate.is_willing() && backup);
    let fine = those(all, |fate, backup| matches!(fate, Up | Unknown) && !backup).len();
    let fine_backups = those(all, |fate, backup| matches!(fate, Up | Unknown) && backup).len();
    let any_backup_unknown = all.iter().any(|(fate, backup)| *fate == Unknown && *backup);
    let too_few = fine * 100 < primaries.len() * panic_percent;
    let too_few_backups = fine_backups * 100 < backups.len() * panic_percent;

    assert!(set.iter().all(|index| all[*index].0.is_willing()), "nobody who is not willing: {}", told());
    assert_eq!(set.is_empty(), tier == Tier::Nobody, "{}", told());
    if !primaries_up.is_empty() || !backups_up.is_empty() {
        assert!(!set.is_empty(), "nobody is healthy in vain: {}", told());
    }
    let expected = if primaries.is_empty() && too_few_backups {
        backups
    } else if !primaries_up.is_empty() && !too_few {
        primaries_up
    } else if !backups_up.is_empty() {
        let mut both = [primaries_up, backups_up].concat();
        both.sort_unstable();
        both
    } else if too_few && !any_backup_unknown {
        primaries
    } else {
        primaries_up
    };
    assert_eq!(set, expected, "{}", told());
    let unhealthy = set.iter().any(|index| all[*index].0 != Up);
    assert!(!unhealthy || tier == Tier::Panic && panic_percent > 0, "{}", told());
}

#[test]
fn pools_of_one_to_five_do_what_the_manual_says() {
    for backends in 1..=5 {
        let fates = if backends <= 3 { &ALL_FATES[..] } else { &FATES[..] };
        let percents = if backends <= 4 { &[0, 1, 34, 50, 51, 100][..] } else { &[0, 50][..] };
        every(backends, fates, |pool, all| {
            for &percent in percents {
                pool.panic = percent * 10_000;
                judge(pool, all, percent as usize);
            }
        });
    }
}

#[test]
fn exactly_the_share_is_no_panic() {
    // Healthy backends at which a pool of so many is in panic, at 50 %.
    for (backends, panics) in
        [(1, vec![0]), (2, vec![0]), (3, vec![0, 1]), (4, vec![0, 1]), (5, vec![0, 1, 2])]
    {
        let mut pool = pool(backends);
        pool.panic = 500_000;
        for up in 0..=backends {
            for (index, backend) in pool.backends.iter_mut().enumerate() {
                let fate = if index < up { Up } else { Down };
                fate.befall(backend);
            }
            let expected = if panics.contains(&up) { Tier::Panic } else { Tier::Primary };
            assert_eq!(Standing::of(&pool).tier, expected, "{up} of {backends}");
            let used = if expected == Tier::Panic { backends } else { up };
            assert_eq!(set_of(&pool).len(), used, "{up} of {backends}");
        }
    }
}

#[test]
fn without_panic_nobody_is_used_who_is_not_healthy() {
    let mut pool = pool(2);
    pool.backends.iter_mut().for_each(|backend| Down.befall(backend));
    assert_eq!(set_of(&pool), [0usize; 0]);
    assert_eq!(
        Standing::of(&pool).sentence(0).as_deref(),
        Some("no backend takes traffic: none of 2 is healthy")
    );
}

#[test]
fn a_name_without_an_address_is_not_tried_even_in_panic() {
    let mut pool = pool(2);
    pool.panic = 1_000_000;
    pool.backends[0].endpoint = crate::pool::Endpoint::Name("app.internal".into(), 80);
    pool.backends.iter_mut().for_each(|backend| Down.befall(backend));
    assert_eq!(set_of(&pool), [1]);
    Draining.befall(&mut pool.backends[1]);
    assert_eq!(Standing::of(&pool).tier, Tier::Nobody);
    let here = "10.0.0.1:80".parse().expect("an address");
    pool.backends[0].status.addresses.store(Arc::new(vec![here]));
    assert_eq!(set_of(&pool), [0]);
}

#[test]
fn an_empty_pool_says_so() {
    let mut pool = pool(1);
    pool.backends.clear();
    assert_eq!(Standing::of(&pool).tier, Tier::Nobody);
    let choice = Choice::explain(&pool, &Ask::default(), 7);
    assert_eq!((choice.pick, choice.candidates.len()), (None, 0));
    assert!(choice.notes[0].starts_with("no backend takes traffic: there is none"), "{:?}", choice.notes);
}

#[test]
fn everybody_is_told_why() {
    let mut pool = pool(3);
    pool.panic = 500_000;
    let mut whys = |fates: [Fate; 3], backup: bool| {
        for (backend, fate) in pool.backends.iter_mut().zip(fates) {
            fate.befall(backend);
        }
        pool.backends[2].backup = backup;
        let choice = Choice::explain(&pool, &Ask::default(), 7);
        let whys: Vec<_> =
            choice.candidates.into_iter().map(|candidate| (candidate.eligible, candidate.why)).collect();
        (whys, choice.notes)
    };
    let (told, notes) = whys([Up, Down, Up], true);
    assert_eq!(
        told,
        [
            (true, "up".to_owned()),
            (false, "down".into()),
            (false, "up; a backup, which takes traffic only while no primary can".into())
        ]
    );
    assert!(notes.is_empty(), "{notes:?}");
    let (told, notes) = whys([Down, Down, Up], true);
    assert_eq!(told[2], (true, "up; a backup".into()));
    assert_eq!(notes, ["no primary is healthy: the backups carry the traffic"]);
    let (told, notes) = whys([Up, Down, Down], false);
    assert_eq!(told[1], (true, "down; taken all the same, because the pool is in panic".into()));
    assert_eq!(notes, ["panic: 1 of 3 backends are healthy, which is below 50 %: all of them are used"]);
}
