//! From answers to health: counts in a row, with hysteresis.
//!
//! ```text
//!            passed                    `fall` failures in a row
//!  unknown ─────────> up ──────────────────────────────────────> down
//!     │               ^                                           │ ^
//!     │               └───────────────────────────────────────────┘ │
//!     │                      `rise` passes in a row                 │
//!     └─────────────────────────────────────────────────────────────┘
//!            failed
//! ```

use super::HealthCheck;
use crate::{
    status::Health,
    time::{Millis, Moment},
};

/// What one probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The backend answered as expected; what it said, in words.
    Passed(String),
    /// It did not; why, in words.
    Failed(String),
}

/// A change of health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it was.
    pub from: Health,
    /// How long it was that.
    pub after: Millis,
    /// What it is now.
    pub to: Health,
    /// Why, in words.
    pub reason: String,
}

/// The state of one backend's checks.
#[derive(Debug, Clone)]
pub struct HealthState {
    health: Health,
    since: Moment,
    /// Events in a row that speak against the present health.
    contrary: u32,
    fall: u32,
    rise: u32,
}

impl HealthState {
    /// A backend whose health was `health` before its first probe.
    pub fn new(check: &HealthCheck, health: Health, now: Moment) -> Self {
        Self { health, since: now, contrary: 0, fall: check.fall.max(1), rise: check.rise.max(1) }
    }

    /// Its health now.
    pub const fn health(&self) -> Health {
        self.health
    }

    /// Takes in what a probe found.
    pub fn observe(&mut self, event: &Event, now: Moment) -> Option<Change> {
        let (to, sentence, needed) = match event {
            Event::Passed(sentence) => (Health::Up, sentence, self.rise),
            Event::Failed(sentence) => (Health::Down, sentence, self.fall),
        };
        if to == self.health {
            self.contrary = 0;
            return None;
        }
        self.contrary += 1;
        // The first probe decides at once: before it nothing is known that could be trusted more.
        let needed = if self.health == Health::Unknown { 1 } else { needed };
        if self.contrary < needed {
            return None;
        }
        let reason = match needed {
            1 => sentence.clone(),
            _ => format!("{sentence} ({needed} checks in a row)"),
        };
        let change = Change { from: self.health, after: now.since(self.since), to, reason };
        self.health = to;
        self.since = now;
        self.contrary = 0;
        Some(change)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::health::Probe;

    fn check(fall: u32, rise: u32) -> HealthCheck {
        HealthCheck {
            probe: Probe::Tcp,
            interval: Millis::secs(5),
            interval_down: Millis::secs(1),
            timeout: Millis::secs(2),
            fall,
            rise,
            port: None,
            plain: false,
            initially_up: false,
        }
    }

    fn event(passed: bool) -> Event {
        if passed { Event::Passed("answered 200".into()) } else { Event::Failed("connection refused".into()) }
    }

    /// The health after each of a row of answers, `+` passed and `-` failed.
    fn run(state: &mut HealthState, answers: &str) -> String {
        let step = |(second, answer): (u64, char)| {
            state.observe(&event(answer == '+'), Moment(second * 1000));
            match state.health() {
                Health::Up => 'U',
                Health::Down => 'D',
                _ => '?',
            }
        };
        (1u64..).zip(answers.chars()).map(step).collect()
    }

    #[test]
    fn the_first_probe_decides() {
        let start = || HealthState::new(&check(3, 2), Health::Unknown, Moment(0));
        assert_eq!(run(&mut start(), "+--"), "UUU");
        assert_eq!(run(&mut start(), "-+"), "DD");
        assert_eq!(start().health(), Health::Unknown);
    }

    #[test]
    fn it_takes_fall_failures_and_rise_passes_in_a_row() {
        let mut state = HealthState::new(&check(3, 2), Health::Up, Moment(0));
        assert_eq!(run(&mut state, "--+---+-++"), "UUUUUDDDDU");
    }

    #[test]
    fn a_flapping_backend_stays_what_it_is() {
        let mut up = HealthState::new(&check(3, 2), Health::Up, Moment(0));
        assert_eq!(run(&mut up, "+-+-+-+-"), "UUUUUUUU");
        let mut down = HealthState::new(&check(3, 2), Health::Down, Moment(0));
        assert_eq!(run(&mut down, "+-+-+-+-"), "DDDDDDDD");
    }

    #[test]
    fn a_change_says_why_and_after_how_long() {
        let mut state = HealthState::new(&check(2, 1), Health::Unknown, Moment(0));
        let change = state.observe(&event(false), Moment(40)).unwrap();
        assert_eq!((change.from, change.to), (Health::Unknown, Health::Down));
        assert_eq!((change.after, &*change.reason), (Millis(40), "connection refused"));
        state.observe(&event(true), Moment(1000));
        state.observe(&event(false), Moment(2000));
        let change = state.observe(&event(false), Moment(3000)).unwrap();
        assert_eq!((change.after, &*change.reason), (Millis(2000), "connection refused (2 checks in a row)"));
    }

    proptest! {
        #[test]
        fn pools_of_one_to_five_follow_their_own_answers(
            fall in 1u32..6,
            rise in 1u32..6,
            answers in prop::collection::vec(prop::collection::vec(any::<bool>(), 1..60), 1..=5),
        ) {
            for answers in answers {
                let mut state = HealthState::new(&check(fall, rise), Health::Unknown, Moment(0));
                for (index, answer) in answers.iter().enumerate() {
                    let before = state.health();
                    let change = state.observe(&event(*answer), Moment(index as u64));
                    prop_assert_eq!(change.is_some(), before != state.health());
                    // The same told backwards: how many answers like this one came in a row.
                    let row = answers[..=index].iter().rev().take_while(|other| *other == answer).count() as u32;
                    let needed = if *answer { rise } else { fall };
                    let wanted = if *answer { Health::Up } else { Health::Down };
                    let turned = before == Health::Unknown || row >= needed;
                    let expected = if turned { wanted } else { before };
                    prop_assert_eq!(state.health(), expected);
                }
            }
        }
    }
}
