//! A log-linear histogram of microseconds: four steps per doubling, at most 19 % wide.

use super::Counter;

const BUCKETS: usize = 112;

/// Durations in microseconds, from 1 µs to about 4 minutes; one writer.
#[derive(Debug)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| Counter::default()), sum: Counter::default() }
    }
}

/// The bucket of a duration.
#[inline]
fn bucket(micros: u64) -> usize {
    if micros < 4 {
        return micros as usize;
    }
    let exponent = 63 - micros.leading_zeros() as usize;
    let step = (micros >> (exponent - 2)) & 3;
    ((exponent - 1) * 4 + step as usize).min(BUCKETS - 1)
}

/// The smallest duration above a bucket.
fn upper(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64 + 1;
    }
    let (exponent, step) = (bucket / 4 + 1, bucket as u64 % 4);
    (4 + step + 1) << (exponent - 2)
}

impl Histogram {
    /// Records one duration.
    #[inline]
    pub fn record(&self, micros: u64) {
        self.buckets[bucket(micros)].add(1);
        self.sum.add(micros);
    }
}

/// The sum of several histograms, for reading.
#[derive(Debug, Clone)]
pub struct HistogramView {
    buckets: [u64; BUCKETS],
    sum: u64,
}

impl<'a> FromIterator<&'a Histogram> for HistogramView {
    fn from_iter<I: IntoIterator<Item = &'a Histogram>>(parts: I) -> Self {
        let mut view = Self { buckets: [0; BUCKETS], sum: 0 };
        for part in parts {
            for (total, counter) in view.buckets.iter_mut().zip(&part.buckets) {
                *total += counter.value();
            }
            view.sum += part.sum.value();
        }
        view
    }
}

impl HistogramView {
    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all durations in microseconds.
    pub const fn sum_micros(&self) -> u64 {
        self.sum
    }

    /// The duration in microseconds below which this share (0 to 1) lies; `None` if nothing was recorded.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((count as f64 * share).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket;
            if seen >= rank {
                return Some(upper(index));
            }
        }
        None
    }

    /// How many lasted at most so many microseconds, to the width of a bucket.
    pub fn count_up_to(&self, micros: u64) -> u64 {
        self.buckets
            .iter()
            .enumerate()
            .filter(|(index, _)| upper(*index) <= micros + 1)
            .map(|(_, count)| count)
            .sum()
    }

    /// What was recorded since an earlier view of the same histograms.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut view = self.clone();
        for (now, then) in view.buckets.iter_mut().zip(&earlier.buckets) {
            *now = now.saturating_sub(*then);
        }
        view.sum = view.sum.saturating_sub(earlier.sum);
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_in_its_bucket() {
        let mut previous = 0;
        for micros in (0..100_000u64).chain((17..28).map(|e| 1 << e)) {
            let index = bucket(micros);
            assert!(index >= previous || micros < 4);
            previous = index;
            if index < BUCKETS - 1 {
                assert!(micros < upper(index), "{micros} in bucket {index} up to {}", upper(index));
                assert!(index == 0 || micros >= upper(index - 1), "{micros}");
            }
        }
    }

    #[test]
    fn quantiles_are_close() {
        let histogram = Histogram::default();
        (1..=1000).for_each(|micros| histogram.record(micros * 100));
        let view: HistogramView = [&histogram].into_iter().collect();
        assert_eq!(view.count(), 1000);
        for (share, exact) in [(0.5, 50_000.0), (0.99, 99_000.0)] {
            let found = view.quantile(share).expect("not empty") as f64;
            assert!(found >= exact && found <= exact * 1.26, "{share}: {found}");
        }
    }
}
