//! How long a backend is expected to take: a moving average that follows peaks at once (peak-EWMA).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::Moment;

/// What was seen so long ago counts for 1/e.
const FADE_MS: f32 = 10_000.0;
/// An error counts as an answer that took so many times as long as expected…
const ERROR_FACTOR: f32 = 2.0;
/// …and at least this long, in microseconds, however fast it came.
const ERROR_LEAST: f32 = 10_000.0;
/// …and at most this long, unless it is expected to take longer anyway.
const ERROR_MOST: f32 = 5_000_000.0;
/// The longest time that is kept, in microseconds.
const MOST: f32 = 600_000_000.0;

/// One estimate, written by all workers. Two that write at once may lose one of the two answers, never more.
#[derive(Debug, Default)]
pub struct LatencyEstimate(
    /// The bits of the estimate in microseconds (an `f32`; 0 for none), and above them the time of the last change in
    /// milliseconds, modulo 2^32.
    AtomicU64,
);

impl LatencyEstimate {
    /// An answer took so many microseconds.
    pub fn answered(&self, micros: u64, now: Moment) {
        let took = (micros as f32).clamp(1.0, MOST);
        let (estimate, age) = self.read(now);
        let kept = fade(age);
        self.write(if took > estimate * kept { took } else { estimate * kept + took * (1.0 - kept) }, now);
    }

    /// An attempt failed after so many microseconds. Whatever fails is slow, the faster it does so the worse: an estimate
    /// only ever grows by it.
    pub fn failed(&self, micros: u64, now: Moment) {
        let (estimate, age) = self.read(now);
        let faded = estimate * fade(age);
        let grown = (faded * ERROR_FACTOR).clamp(ERROR_LEAST, ERROR_MOST);
        self.write(grown.max(faded).max(micros as f32).min(MOST), now);
    }

    /// The estimate in microseconds, faded since the last answer; none if there was none yet.
    pub fn at(&self, now: Moment) -> Option<f32> {
        let (estimate, age) = self.read(now);
        (estimate > 0.0).then(|| estimate * fade(age))
    }

    fn read(&self, now: Moment) -> (f32, u32) {
        let both = self.0.load(Ordering::Relaxed);
        let age = (now.0 as u32).wrapping_sub((both >> 32) as u32);
        // Another worker's clock may be a little ahead.
        (f32::from_bits(both as u32), if age > u32::MAX / 2 { 0 } else { age })
    }

    fn write(&self, estimate: f32, now: Moment) {
        let both = u64::from(now.0 as u32) << 32 | u64::from(estimate.to_bits());
        self.0.store(both, Ordering::Relaxed);
    }
}

fn fade(age: u32) -> f32 {
    (-(age as f32) / FADE_MS).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_count_at_once_and_fade() {
        let estimate = LatencyEstimate::default();
        assert_eq!(estimate.at(Moment(5)), None);
        estimate.answered(1000, Moment(5));
        assert_eq!(estimate.at(Moment(5)), Some(1000.0));
        estimate.answered(50_000, Moment(6));
        assert_eq!(estimate.at(Moment(6)), Some(50_000.0));
        // Fast answers bring it back in their time, not at once.
        estimate.answered(1000, Moment(16));
        assert!(estimate.at(Moment(16)) > Some(49_000.0));
        for time in (26..60_000).step_by(10) {
            estimate.answered(1000, Moment(time));
        }
        assert!(estimate.at(Moment(60_000)) < Some(1500.0), "{estimate:?}");
        // And silence lets it fade.
        let before = estimate.at(Moment(60_000)).unwrap();
        let after = estimate.at(Moment(70_000)).unwrap();
        assert!((after / before - 0.3679).abs() < 0.001, "{before} {after}");
    }

    #[test]
    fn a_failure_never_helps_however_fast_it_is() {
        let estimate = LatencyEstimate::default();
        estimate.answered(2000, Moment(0));
        let mut before = 2000.0;
        for time in 1..100 {
            estimate.failed(1, Moment(time));
            let now = estimate.at(Moment(time)).unwrap();
            assert!(now > before || now == ERROR_MOST, "{before} {now}");
            before = now;
        }
        assert_eq!(before, ERROR_MOST);
        // One that is slower anyway is not made faster by failing.
        estimate.answered(30_000_000, Moment(100));
        estimate.failed(1, Moment(100));
        assert_eq!(estimate.at(Moment(100)), Some(30_000_000.0));
    }

    #[test]
    fn clocks_may_differ_and_wrap() {
        let estimate = LatencyEstimate::default();
        estimate.answered(1000, Moment(100));
        assert_eq!(estimate.at(Moment(90)), Some(1000.0));
        let late = u64::from(u32::MAX);
        estimate.answered(1000, Moment(late));
        assert!(estimate.at(Moment(late + 10)) > Some(990.0));
    }
}
