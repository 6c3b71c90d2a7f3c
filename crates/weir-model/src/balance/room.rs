//! The next member that has room, from some member on and around: for policies whose proposals are all full or were tried,
//! and for `first`, which knows no other way (the first in the order of the file that is not full: as few backends as
//! possible are used, so that the others can be stopped; `balance first` of HAProxy. Weights do not count).
//!
//! Where many are full, the pool's [`Occupancy`] says which of them need not be looked at: words of 64 places are passed
//! over as a whole, and words of such words. A place is looked at again only after a slot there was released, or after the
//! set was built anew, which looks at each of them anyway: a pick costs the depth of that tree, and whatever more it costs
//! was caused by one of those.

use super::{EligibleSet, Loads};
use crate::status::Occupancy;

const ALL: u64 = u64::MAX;

/// State of one worker.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Of every 64 places in the pool: the bits of those that are members, and how many members stand before. Written when
    /// it is first asked for, since most pools have room all the time.
    words: Vec<(u64, usize)>,
    /// The set has changed since `words` was written.
    anew: bool,
}

impl Room {
    pub(super) fn prepare(&mut self, set: &EligibleSet) {
        self.words.clear();
        self.words.reserve(set.members().last().map_or(0, |last| last.backend / 64 + 1));
        self.anew = true;
    }

    /// The first member from this one on, and around, that has room and was not tried.
    pub(super) fn find(
        &mut self,
        set: &EligibleSet,
        start: usize,
        tried: &[usize],
        loads: &impl Loads,
    ) -> Option<usize> {
        let members = set.members();
        let Some(occupancy) = loads.occupancy().filter(|occupancy| !occupancy.is_retired()) else {
            let free = |index: &usize| {
                let backend = members[*index].backend;
                !tried.contains(&backend) && !loads.is_full(backend)
            };
            return (start..set.len()).chain(0..start).find(free);
        };
        let start = members.get(start)?.backend;
        if std::mem::take(&mut self.anew) {
            self.note(set);
            // Who was none of its members may be one now.
            occupancy.open_all();
        }
        let look = Look { words: &self.words, set, tried, loads, occupancy };
        // The second time, the word that was begun in the middle is looked at as a whole.
        look.until(start, usize::MAX).or_else(|| look.until(0, start / 64))
    }

    fn note(&mut self, set: &EligibleSet) {
        for (index, member) in set.members().iter().enumerate() {
            let word = member.backend / 64;
            if self.words.len() <= word {
                self.words.resize(word + 1, (0, index));
            }
            self.words[word].0 |= 1 << (member.backend % 64);
        }
    }
}

/// One search.
struct Look<'t, L> {
    words: &'t [(u64, usize)],
    set: &'t EligibleSet,
    tried: &'t [usize],
    loads: &'t L,
    occupancy: &'t Occupancy,
}

impl<L: Loads> Look<'_, L> {
    /// The first one from this place on, up to the end of this word.
    fn until(&self, mut from: usize, last: usize) -> Option<usize> {
        while let Some(place) = self.occupancy.open_from(from) {
            let word = place / 64;
            if word > last {
                return None;
            }
            let wanted = ALL << (place % 64);
            // What has come free while it was noted to be full is found at the second look.
            let found = self.within(word, wanted).or_else(|| self.within(word, wanted));
            if found.is_some() {
                return found;
            }
            from = (word + 1) * 64;
        }
        None
    }

    /// The first one of those wanted of 64. Notes which of them are full, or no members.
    fn within(&self, word: usize, wanted: u64) -> Option<usize> {
        let (members, before) = self.words.get(word).copied().unwrap_or_default();
        let open = self.occupancy.open_in(word) & wanted;
        let (mut left, mut full, mut found) = (open & members, 0, None);
        while left != 0 {
            let bit = left & left.wrapping_neg();
            let backend = word * 64 + left.trailing_zeros() as usize;
            if self.loads.is_full(backend) {
                full |= bit;
            } else if !self.tried.contains(&backend) {
                found = Some(before + (members & (bit - 1)).count_ones() as usize);
                break;
            }
            left ^= bit;
        }
        let strangers = open & !members;
        if full | strangers != 0 {
            self.occupancy.shut(word, full | strangers);
            self.occupancy.open(word, self.come_free(full, word));
            if strangers != 0 && self.loads.epoch() != self.set.epoch() {
                self.occupancy.open(word, strangers);
            }
        }
        found
    }

    /// Those of these that have room now.
    fn come_free(&self, full: u64, word: usize) -> u64 {
        let (mut left, mut free) = (full, 0);
        while left != 0 {
            let bit = left & left.wrapping_neg();
            if !self.loads.is_full(word * 64 + left.trailing_zeros() as usize) {
                free |= bit;
            }
            left ^= bit;
        }
        free
    }
}
