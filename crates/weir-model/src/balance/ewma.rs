//! Peak-EWMA: the better of two, by what each is expected to cost: its recent latency, times what it would have in flight,
//! by its weight (the policy of Finagle and Linkerd; Mitzenmacher 2001 for why two are enough).
//!
//! Latency follows a slow answer at once and a fast one slowly, fades while nothing is asked, and grows with every error;
//! [`crate::status::LatencyEstimate`] keeps it for all workers. A backend of which nothing is known is compared by load
//! alone: it is neither flooded because nothing speaks against it nor left out because nothing speaks for it.
//!
//! Of every 64 picks 17 are made in turn by weight. So every backend keeps at least a quarter of its fair share, whatever
//! its latency: one that was slow once is asked again, and one that is slow is not hidden until everybody has forgotten it.

use super::{Ask, EligibleSet, Loads, Seed, random, round_robin::RoundRobin};

/// In turn are so many of [`ROUND`] picks: a little more than a quarter, so that rounding takes nothing from it.
const IN_TURN: u32 = 17;
const ROUND: u32 = 64;

/// State of one worker.
#[derive(Clone, Debug)]
pub(super) struct Ewma {
    /// Grows by [`IN_TURN`] with each pick; whenever it comes to [`ROUND`], that pick is made in turn.
    share: u32,
    turns: RoundRobin,
}

impl Ewma {
    pub(super) const fn new(seed: u64) -> Self {
        Self { share: 0, turns: RoundRobin::new(seed) }
    }

    pub(super) fn prepare(&mut self, set: &EligibleSet) {
        self.turns.prepare(set);
    }

    pub(super) fn renumber(&mut self, place: &dyn Fn(usize) -> Option<usize>) {
        self.turns.renumber(place);
    }

    pub(super) fn pick(
        &mut self,
        set: &EligibleSet,
        ask: &Ask<'_>,
        loads: &impl Loads,
        blocked: impl Fn(usize) -> bool,
        seed: &mut Seed,
    ) -> usize {
        self.share += IN_TURN;
        if self.share >= ROUND {
            self.share -= ROUND;
            let index = self.turns.pick(set);
            if !blocked(set.members()[index].backend) {
                return index;
            }
        }
        let (one, other) = random::two(set, seed);
        let of = |index: usize| {
            let member = &set.members()[index];
            if blocked(member.backend) {
                return (f64::INFINITY, None);
            }
            let load = (f64::from(loads.active(member.backend)) + 1.0) / f64::from(member.weight);
            (load, loads.latency(member.backend, ask.now).map(f64::from))
        };
        let (mine, theirs) = (of(one), of(other));
        let (mine, theirs) = match (mine.1, theirs.1) {
            (Some(a), Some(b)) => (mine.0 * a, theirs.0 * b),
            _ => (mine.0, theirs.0),
        };
        if theirs < mine { other } else { one }
    }
}
