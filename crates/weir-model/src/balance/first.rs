//! The first in the order of the file that is not full: as few backends as possible are used, so that the others can be
//! stopped (`balance first` of HAProxy). Weights do not count.

use super::EligibleSet;

/// The first member that is not blocked. Members stand in the order of the file.
pub(super) fn first(set: &EligibleSet, blocked: impl Fn(usize) -> bool) -> Option<usize> {
    set.members().iter().position(|member| !blocked(member.backend))
}
