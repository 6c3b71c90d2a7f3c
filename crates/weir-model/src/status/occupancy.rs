//! Which backends of a pool are known to have no room, so that a balancer need not look at each of them again.
//!
//! One bit for each place in the pool, and above every 64 words a word that says which of them have no place left. All
//! workers share it, but only those write that find a backend full or release a slot of one that was. It is a hint: a
//! place that seems open may be full, and whoever looks there says so. The other way round it never stays wrong: whoever
//! shuts a place looks again at what made it shut, and whoever changes that opens the place afterwards. Of two that meet
//! there one sees the other, because all of these operations have one order (`SeqCst`).

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

const ALL: u64 = u64::MAX;

/// See the module.
#[derive(Debug)]
pub struct Occupancy {
    /// Bits of places, then bits of words of the level before; the last level is one word. Bits of nothing are set.
    levels: Box<[Box<[AtomicU64]>]>,
    places: usize,
    /// Another one has taken its place, and this one is told nothing any more.
    retired: AtomicBool,
}

/// Where a backend stands in its pool's [`Occupancy`].
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) occupancy: Arc<Occupancy>,
    pub(super) place: usize,
}

impl Occupancy {
    /// One for so many places, all of them open.
    pub fn new(places: usize) -> Self {
        let mut levels = Vec::new();
        let mut bits = places;
        loop {
            let words = bits.div_ceil(64).max(1);
            levels.push((0..words).map(|word| AtomicU64::new(beyond(bits, word))).collect());
            if words == 1 {
                break;
            }
            bits = words;
        }
        Self { levels: levels.into(), places, retired: AtomicBool::new(false) }
    }

    /// True if releases are not told here any more.
    pub fn is_retired(&self) -> bool {
        self.retired.load(SeqCst)
    }

    pub(crate) fn retire(&self) {
        self.retired.store(true, SeqCst);
    }

    /// The first place from this one on that is not known to be full.
    pub fn open_from(&self, place: usize) -> Option<usize> {
        self.open_bit(0, place)
    }

    fn open_bit(&self, level: usize, mut from: usize) -> Option<usize> {
        loop {
            let word = from / 64;
            let open = !self.levels[level].get(word)?.load(SeqCst) & (ALL << (from % 64));
            if open != 0 {
                return Some(word * 64 + open.trailing_zeros() as usize);
            }
            if level + 1 == self.levels.len() {
                return None;
            }
            from = self.open_bit(level + 1, word + 1)? * 64;
        }
    }

    /// The bits of 64 places that are not known to be full.
    pub fn open_in(&self, word: usize) -> u64 {
        self.levels[0].get(word).map_or(0, |word| !word.load(SeqCst))
    }

    /// Notes that these places of a word are full. The caller then looks whether they still are, and opens those that are
    /// not.
    pub fn shut(&self, word: usize, bits: u64) {
        self.set(0, word, bits);
    }

    /// Notes that these places of a word may have room.
    pub fn open(&self, word: usize, bits: u64) {
        self.clear(0, word, bits & !beyond(self.places, word));
    }

    /// Forgets what was known.
    pub fn open_all(&self) {
        (0..self.levels[0].len()).for_each(|word| self.open(word, ALL));
    }

    fn set(&self, level: usize, word: usize, bits: u64) {
        let before = self.levels[level][word].fetch_or(bits, SeqCst);
        if before | bits != ALL || level + 1 == self.levels.len() {
            return;
        }
        self.set(level + 1, word / 64, 1 << (word % 64));
        // Who opened it in between may have been up there before.
        if self.levels[level][word].load(SeqCst) != ALL {
            self.clear(level + 1, word / 64, 1 << (word % 64));
        }
    }

    fn clear(&self, level: usize, word: usize, bits: u64) {
        let own = &self.levels[level][word];
        if own.load(SeqCst) & bits == 0 {
            return;
        }
        let before = own.fetch_and(!bits, SeqCst);
        if before == ALL && level + 1 < self.levels.len() {
            self.clear(level + 1, word / 64, 1 << (word % 64));
        }
    }
}

/// The bits of this word that stand for nothing, if there are so many in all.
const fn beyond(bits: usize, word: usize) -> u64 {
    match bits.saturating_sub(word * 64) {
        0 => ALL,
        left if left >= 64 => 0,
        left => ALL << left,
    }
}
