//! What many ratios say about a goal: their median, and between which bounds it lies with 95 % certainty.

use serde_json::{Value, json};

use super::report::Spread;

/// Fewer figures have no two of which the median lies between with 95 % certainty.
pub(super) const LEAST: usize = 6;

/// A median and its 95 % interval.
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) median: f64,
    pub(super) high: f64,
}

/// What an interval says about a goal that must not be exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The whole interval is within the goal.
    Pass,
    /// The interval holds the goal.
    Even,
    /// The whole interval is beyond the goal.
    Miss,
}

impl Judgement {
    /// As printed.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Even => "even",
            Self::Miss => "MISS",
        }
    }
}

impl Interval {
    /// The interval lies between two of the sorted figures, as many from either end, and needs no assumption about how
    /// they scatter: how many figures are below the median is like so many throws of a coin.
    pub(super) fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        let from_end = rank(sorted.len());
        let at =
            |index: Option<usize>| index.and_then(|index| sorted.get(index)).copied().unwrap_or(f64::NAN);
        let (low, high) = (at(from_end.checked_sub(1)), at(sorted.len().checked_sub(from_end)));
        Self { low, median: Spread::of(sorted.into_iter()).median, high }
    }

    /// Beside a goal.
    pub(super) fn judge(&self, goal: f64) -> Judgement {
        if self.high <= goal {
            Judgement::Pass
        } else if self.low > goal {
            Judgement::Miss
        } else {
            Judgement::Even
        }
    }

    pub(super) fn json(&self, what: &str, goal: f64) -> Value {
        json!({
            "what": what,
            "median": self.median,
            "low": self.low,
            "high": self.high,
            "goal": goal,
            "verdict": self.judge(goal).word(),
        })
    }
}

/// Which figure from either end bounds the interval, the outermost being 1: n/2 less 1.96 standard deviations of n throws
/// of a coin, √n/2 each.
fn rank(figures: usize) -> usize {
    let count = figures as f64;
    let exact = (count / 2.0 - 0.98 * count.sqrt()).round();
    (1..=figures / 2).rev().find(|rank| *rank as f64 <= exact).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::{Interval, Judgement, LEAST, rank};

    /// The probability that the median lies between the figures of this rank from either end.
    fn certainty(figures: usize, rank: usize) -> f64 {
        let mut term = 0.5_f64.powi(i32::try_from(figures).unwrap());
        let mut outside = 0.0;
        for below in 0..rank {
            outside += term;
            term *= (figures - below) as f64 / (below + 1) as f64;
        }
        2.0_f64.mul_add(-outside, 1.0)
    }

    #[test]
    fn the_bounds_are_as_certain_as_they_say() {
        for figures in LEAST..=400 {
            let certainty = certainty(figures, rank(figures));
            assert!(certainty > 0.935, "{figures}: {certainty}");
            assert!(certainty < 0.995, "{figures}: {certainty}");
        }
        assert!(certainty(LEAST - 1, 1) < 0.95);
    }

    #[test]
    fn the_bounds_are_as_far_from_either_end() {
        let interval = Interval::of((1..=100).rev().map(f64::from));
        assert_eq!((interval.low, interval.median, interval.high), (40.0, 50.5, 61.0));
        let interval = Interval::of((1..=10).map(f64::from));
        assert_eq!((interval.low, interval.median, interval.high), (2.0, 5.5, 9.0));
        assert!(Interval::of(std::iter::empty()).low.is_nan());
    }

    #[test]
    fn a_goal_within_the_interval_is_neither_met_nor_missed() {
        let interval = Interval { low: 0.98, median: 1.0, high: 1.02 };
        for (goal, judgement) in [
            (1.03, Judgement::Pass),
            (1.02, Judgement::Pass),
            (1.01, Judgement::Even),
            (0.98, Judgement::Even),
            (0.97, Judgement::Miss),
        ] {
            assert_eq!(interval.judge(goal), judgement, "{goal}");
        }
        let nothing = Interval { low: f64::NAN, median: f64::NAN, high: f64::NAN };
        assert_eq!(nothing.judge(1.0), Judgement::Even);
    }
}
