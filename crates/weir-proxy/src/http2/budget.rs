//! How many frames that carry nothing a peer may send: each kind has a budget, which grows with time and with what is done on
//! the connection, and one that is used up ends it.
//!
//! A frame of a few bytes makes the receiver work, and often answer. Peers that have a reason for many of them also do many
//! requests, or take much content: what they do pays for the frames that come with it. Nobody who only talks about the
//! connection has a reason for thousands.

use std::fmt;

use weir_model::time::Moment;

/// What a peer sends too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    /// RST_STREAM: requests that are taken back as soon as they are made (CVE-2023-44487).
    Reset,
    /// CONTINUATION (CVE-2024-27316).
    Continuation,
    /// SETTINGS (CVE-2019-9515).
    Settings,
    /// PING (CVE-2019-9512).
    Ping,
    /// PRIORITY (CVE-2019-9513).
    Priority,
    /// DATA with nothing in it (CVE-2019-9518).
    EmptyData,
    /// WINDOW_UPDATE.
    WindowUpdate,
    /// Frames of types that nobody knows.
    Unknown,
}

impl Flood {
    /// How many there are.
    const COUNT: usize = 8;

    /// Every one, in the order of their numbers.
    const ALL: [Self; Self::COUNT] = [
        Self::Reset,
        Self::Continuation,
        Self::Settings,
        Self::Ping,
        Self::Priority,
        Self::EmptyData,
        Self::WindowUpdate,
        Self::Unknown,
    ];

    /// What it is called.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Reset => "RST_STREAM frames",
            Self::Continuation => "CONTINUATION frames",
            Self::Settings => "SETTINGS frames",
            Self::Ping => "PING frames",
            Self::Priority => "PRIORITY frames",
            Self::EmptyData => "DATA frames with nothing in them",
            Self::WindowUpdate => "WINDOW_UPDATE frames",
            Self::Unknown => "frames of unknown types",
        }
    }

    const fn terms(self) -> Terms {
        match self {
            // A browser that leaves a page takes a hundred requests back at once.
            Self::Reset => Terms { burst: 1000, a_second: 200, a_stream: 0, per_bytes: 0 },
            Self::Continuation => Terms { burst: 1000, a_second: 200, a_stream: 8, per_bytes: 0 },
            Self::Settings => Terms { burst: 100, a_second: 10, a_stream: 0, per_bytes: 0 },
            // gRPC measures with one a round trip for as long as content comes.
            Self::Ping => Terms { burst: 200, a_second: 50, a_stream: 2, per_bytes: 16 },
            Self::Priority => Terms { burst: 500, a_second: 100, a_stream: 4, per_bytes: 0 },
            Self::EmptyData => Terms { burst: 200, a_second: 50, a_stream: 2, per_bytes: 0 },
            // One for the stream and one for the connection, for every message, however short.
            Self::WindowUpdate => Terms { burst: 1000, a_second: 500, a_stream: 4, per_bytes: 8 },
            Self::Unknown => Terms { burst: 500, a_second: 100, a_stream: 4, per_bytes: 0 },
        }
    }
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "too many {}", self.words())
    }
}

/// What one kind of frame may come to.
#[derive(Clone, Copy)]
struct Terms {
    /// What is there at the start, and the most that time alone brings back.
    burst: u64,
    /// What a second brings back.
    a_second: u64,
    /// What a stream brings that is opened and not taken back.
    a_stream: u64,
    /// Bytes sent to the peer that bring one; 0 is never.
    per_bytes: u64,
}

/// What one peer has left.
#[derive(Debug)]
pub(super) struct Budget {
    /// Since when, in milliseconds, what time brings has been counted.
    since: Moment,
    kinds: [Purse; Flood::COUNT],
    streams: u64,
    resets: u64,
    sent: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Purse {
    /// Frames that have come.
    used: u64,
    /// Those that time has paid for.
    forgiven: u64,
}

impl Budget {
    /// All of it, from now on.
    pub(super) fn new(now: Moment) -> Self {
        Self { since: now, kinds: Default::default(), streams: 0, resets: 0, sent: 0 }
    }

    /// A stream has been opened, or answered.
    pub(super) const fn stream(&mut self) {
        self.streams += 1;
    }

    /// So many bytes were sent that are more than answers to such frames.
    pub(super) const fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// One frame of this kind has come; true if it is one too many.
    pub(super) fn spend(&mut self, kind: Flood, now: Moment) -> bool {
        self.pass(now);
        if kind == Flood::Reset {
            self.resets += 1;
        }
        let terms = kind.terms();
        let kept = self.streams.saturating_sub(self.resets);
        let earned = match kind {
            // Each that is carried out pays for one that is not.
            Flood::Reset => kept,
            _ => kept * terms.a_stream + self.sent.checked_div(terms.per_bytes).unwrap_or(0),
        };
        let purse = &mut self.kinds[kind as usize];
        purse.used += 1;
        purse.used > terms.burst + purse.forgiven + earned
    }

    /// Lets time pay. It never pays in advance.
    fn pass(&mut self, now: Moment) {
        /// Finer steps would pay nothing at all.
        const STEP_MS: u64 = 100;
        let steps = now.since(self.since).0 / STEP_MS;
        if steps == 0 {
            return;
        }
        self.since = Moment(self.since.0 + steps * STEP_MS);
        for (kind, purse) in Flood::ALL.into_iter().zip(&mut self.kinds) {
            let paid = kind.terms().a_second.saturating_mul(steps * STEP_MS) / 1000;
            purse.forgiven = purse.forgiven.saturating_add(paid).min(purse.used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment(1_000_000);

    /// How many of a kind are let pass at once.
    fn taken_at_once(kind: Flood) -> u64 {
        let mut budget = Budget::new(START);
        (0..1_000_000).find(|_| budget.spend(kind, START)).expect("a flood is never noticed")
    }

    #[test]
    fn every_flood_is_noticed_soon() {
        for kind in Flood::ALL {
            assert!((100..=1000).contains(&taken_at_once(kind)), "{kind}: {}", taken_at_once(kind));
        }
    }

    #[test]
    fn time_pays_but_not_in_advance() {
        for kind in Flood::ALL {
            let at_once = taken_at_once(kind);
            let later = Moment(START.0 + 3_600_000);
            let mut budget = Budget::new(START);
            let most = (0..100_000).find(|_| budget.spend(kind, later)).unwrap();
            assert_eq!(most, at_once, "{kind}: an idle hour");
            let rate = kind.terms().a_second;
            let mut budget = Budget::new(START);
            for second in 0..600 {
                let now = Moment(START.0 + second * 1000);
                assert!(!(0..rate).any(|_| budget.spend(kind, now)), "{kind}: at its rate");
            }
            let mut budget = Budget::new(START);
            let mut seconds = 0..600;
            let twice = |now| (0..rate * 3).any(|_| budget.spend(kind, now));
            assert!(seconds.by_ref().map(|second| Moment(START.0 + second * 1000)).any(twice), "{kind}");
        }
    }

    #[test]
    fn requests_that_are_taken_back_pay_for_nothing() {
        let mut budget = Budget::new(START);
        let mut rapid = (0..20_000).map(|_| {
            budget.stream();
            budget.spend(Flood::Reset, START)
        });
        assert!(rapid.any(|over| over));
        let mut budget = Budget::new(START);
        let every_other = (0..20_000).any(|_| {
            budget.stream();
            budget.stream();
            budget.spend(Flood::Reset, START)
        });
        assert!(!every_other);
    }

    #[test]
    fn a_download_pays_for_its_windows_and_a_call_for_its_pings() {
        let mut budget = Budget::new(START);
        budget.stream();
        for _ in 0..1_000_000 {
            budget.sent(16 * 1024);
            assert!(!budget.spend(Flood::WindowUpdate, START));
            assert!(!budget.spend(Flood::WindowUpdate, START));
            assert!(!budget.spend(Flood::Ping, START));
        }
        let mut budget = Budget::new(START);
        for _ in 0..1_000_000 {
            // A unary call with an answer of a few bytes.
            budget.stream();
            budget.sent(40);
            assert!(!budget.spend(Flood::WindowUpdate, START));
            assert!(!budget.spend(Flood::WindowUpdate, START));
            assert!(!budget.spend(Flood::Ping, START));
        }
    }
}
