//! The first in the order of the file that is not full: as few backends as possible are used, so that the others can be
//! stopped (`balance first` of HAProxy). Weights do not count.
//!
//! Where many are full, the pool's [`Occupancy`] says which of them need not be looked at: words of 64 places are passed
//! over as a whole, and words of such words.

use super::{EligibleSet, Loads};
use crate::status::Occupancy;

/// State of one worker.
#[derive(Debug, Default)]
pub struct First {
    /// Of every 64 places in the pool: the bits of those that are members, and how many members stand before.
    words: Vec<(u64, usize)>,
    /// The set has changed since the last pick.
    anew: bool,
}

impl First {
    pub(super) fn prepare(&mut self, set: &EligibleSet) {
        self.words.clear();
        for (index, member) in set.members().iter().enumerate() {
            let word = member.backend / 64;
            if self.words.len() <= word {
                self.words.resize(word + 1, (0, index));
            }
            self.words[word].0 |= 1 << (member.backend % 64);
        }
        self.anew = true;
    }

    /// The first member that has room and was not tried.
    pub(super) fn pick(&mut self, set: &EligibleSet, tried: &[usize], loads: &impl Loads) -> Option<usize> {
        let Some(occupancy) = loads.occupancy().filter(|occupancy| !occupancy.is_retired()) else {
            let free = |backend| (tried.is_empty() || !tried.contains(&backend)) && !loads.is_full(backend);
            return set.members().iter().position(|member| free(member.backend));
        };
        if std::mem::take(&mut self.anew) {
            // Who was none of its members may be one now.
            occupancy.open_all();
        }
        let mut from = 0;
        while let Some(place) = occupancy.open_from(from) {
            let word = place / 64;
            // What has come free while it was noted to be full is found at the second look.
            let found = self.look(set, (tried, word), loads, occupancy);
            let found = found.or_else(|| self.look(set, (tried, word), loads, occupancy));
            if found.is_some() {
                return found;
            }
            from = (word + 1) * 64;
        }
        None
    }

    /// The first one of 64. Notes which of them are full, or no members.
    fn look(
        &self,
        set: &EligibleSet,
        (tried, word): (&[usize], usize),
        loads: &impl Loads,
        occupancy: &Occupancy,
    ) -> Option<usize> {
        let (members, before) = self.words.get(word).copied().unwrap_or_default();
        let open = occupancy.open_in(word);
        let (mut left, mut full, mut found) = (open & members, 0, None);
        while left != 0 {
            let bit = left & left.wrapping_neg();
            let backend = word * 64 + left.trailing_zeros() as usize;
            if loads.is_full(backend) {
                full |= bit;
            } else if !tried.contains(&backend) {
                found = Some(before + (members & (bit - 1)).count_ones() as usize);
                break;
            }
            left ^= bit;
        }
        let strangers = open & !members;
        if full | strangers != 0 {
            occupancy.shut(word, full | strangers);
            occupancy.open(word, come_free(full, word, loads));
            if strangers != 0 && loads.epoch() != set.epoch() {
                occupancy.open(word, strangers);
            }
        }
        found
    }
}

/// Those of these that have room now.
fn come_free(full: u64, word: usize, loads: &impl Loads) -> u64 {
    let (mut left, mut free) = (full, 0);
    while left != 0 {
        let bit = left & left.wrapping_neg();
        if !loads.is_full(word * 64 + left.trailing_zeros() as usize) {
            free |= bit;
        }
        left ^= bit;
    }
    free
}
