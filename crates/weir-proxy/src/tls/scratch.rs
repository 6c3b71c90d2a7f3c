//! Room for records on their way: one piece of memory that a thread uses again and again, however many sessions it has.

use std::cell::RefCell;

use super::record::MOST_RECORD;

/// What is read or written at once: four full records.
pub(super) const SCRATCH: usize = 4 * MOST_RECORD;
/// Pieces that a thread keeps.
const KEPT: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A piece of [`SCRATCH`] bytes; what is in it means nothing.
pub(super) fn take() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SCRATCH])
}

/// Gives one back; memory of any other size is freed.
pub(super) fn give(memory: Vec<u8>) {
    if memory.len() == SCRATCH {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < KEPT {
                spare.push(memory);
            }
        });
    }
}
