//! When to probe: spread in time, so that the backends of a pool are never all asked at once, and neither is one
//! backend by all the weirs in front of it.

use crate::{balance::Seed, time::Millis};

/// How long after the start the first probe of the backend at `position` among `total` is due. Short, because until
/// then a backend takes no traffic; spread, because thousands at once would hit the network as one wave.
pub fn first_probe(interval: Millis, position: usize, total: usize) -> Millis {
    const APART: u64 = 10;
    let total = (total as u64).max(1);
    let window = (interval.0 / 10).min(APART.saturating_mul(total));
    Millis(window.saturating_mul(position as u64) / total)
}

/// How long after the start of one probe the next one is due: the interval, give or take a tenth.
pub fn next_probe(interval: Millis, seed: &mut Seed) -> Millis {
    let tenth = interval.0 / 10;
    Millis(interval.0 - tenth + seed.below(2 * tenth + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_probes_are_early_and_spread() {
        let interval = Millis::secs(5);
        assert_eq!(first_probe(interval, 0, 1), Millis(0));
        let few: Vec<_> = (0..3).map(|position| first_probe(interval, position, 3).0).collect();
        assert_eq!(few, [0, 10, 20]);
        let many: Vec<_> = (0..1000).map(|position| first_probe(interval, position, 1000).0).collect();
        assert!(many.is_sorted() && many[999] < 500 && many[500] >= 200);
    }

    #[test]
    fn later_probes_keep_their_mean_and_drift_apart() {
        let mut seed = Seed::new(7);
        let lengths: Vec<_> = (0..10_000).map(|_| next_probe(Millis(1000), &mut seed).0).collect();
        assert!(lengths.iter().all(|length| (900..=1100).contains(length)));
        let mean = lengths.iter().sum::<u64>() / 10_000;
        assert!((995..=1005).contains(&mean), "{mean}");
        assert_eq!(next_probe(Millis(1), &mut seed), Millis(1), "short intervals stay as they are");
    }
}
