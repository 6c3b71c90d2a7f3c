//! Consistent hashing on a ring (Karger et al. 1997, as ketama made it common): each backend has 160 points for each unit
//! of weight, made from its name, and a key belongs to the next point.

use twox_hash::XxHash3_64;

use super::{Seed, table::Entry};

/// Points for each unit of weight.
const POINTS: u64 = 160;
/// The most points of a ring; beyond it all backends have fewer, in the same proportion, and each at least one. Room for
/// 13,000 backends of one weight, in 16 MiB.
const MOST: u64 = 1 << 21;

/// The points of a ring in their order.
#[derive(Debug)]
pub(super) struct Ring {
    /// The place in the upper 32 bits, the backend in the lower.
    points: Box<[u64]>,
    /// Where to begin to look: the first point at or behind each of 2^n places, about one for each point. A search by
    /// halves would miss the cache at nearly every step.
    starts: Box<[u32]>,
    /// 64 - n.
    shift: u32,
}

impl Ring {
    /// A ring of these, which are not empty and stand in the order of their names.
    pub(super) fn new(entries: &[Entry<'_>]) -> Self {
        let wanted: u64 = entries.iter().map(|entry| u64::from(entry.weight) * POINTS).sum();
        let most = MOST.max(entries.len() as u64);
        let count = |weight: u32| match u64::from(weight) * POINTS {
            points if wanted <= most => points,
            points => ((u128::from(points) * u128::from(most) / u128::from(wanted)) as u64).max(1),
        };
        let mut points = Vec::with_capacity(wanted.min(most + entries.len() as u64) as usize);
        for (rank, entry) in entries.iter().enumerate() {
            let mut places = Seed::new(XxHash3_64::oneshot(entry.name.as_bytes()));
            // Where two points fall on one place, the name that comes first has it.
            points.extend((0..count(entry.weight)).map(|_| places.next() >> 32 << 32 | rank as u64));
        }
        points.sort_unstable();
        for point in &mut points {
            let rank = (*point & u64::from(u32::MAX)) as usize;
            *point = *point >> 32 << 32 | entries[rank].backend as u64;
        }
        let bits = points.len().next_power_of_two().trailing_zeros().max(1);
        let shift = u64::BITS - bits;
        let mut next = 0;
        let start = |place: u64| {
            next += points[next..].iter().take_while(|point| **point >> shift < place).count();
            next as u32
        };
        let starts = (0..1 << bits).map(start).collect();
        Self { points: points.into(), starts, shift }
    }

    /// The backend of the next point from the upper 32 bits of the hash on.
    #[inline]
    pub(super) fn lookup(&self, hash: u64) -> usize {
        let place = hash >> 32 << 32;
        let start = self.starts[(hash >> self.shift) as usize] as usize;
        let behind = self.points[start..].iter().find(|point| **point >= place);
        let point = behind.or_else(|| self.points.first());
        point.map_or(0, |point| (*point & u64::from(u32::MAX)) as usize)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.points.len()
    }
}
