//! Files kept back for the day when there are none left.

use std::{cell::RefCell, fs::File};

/// How many each worker keeps back.
const KEPT: usize = 4;

/// Files that are open for nothing. When the process runs out of files they are let go, so that what is under way can
/// still reach its backends and operators can still be answered; accepting goes on once all of them are back, which is
/// when others have given up enough.
#[derive(Debug)]
pub(crate) struct Reserve(RefCell<Vec<File>>);

impl Default for Reserve {
    fn default() -> Self {
        let reserve = Self(RefCell::default());
        reserve.fill();
        reserve
    }
}

impl Reserve {
    /// Lets them go.
    pub(crate) fn release(&self) {
        self.0.borrow_mut().clear();
    }

    /// Takes them back, as many as there are to have; true if those are all.
    pub(crate) fn fill(&self) -> bool {
        let mut kept = self.0.borrow_mut();
        while kept.len() < KEPT {
            let Ok(file) = File::open("/dev/null") else { return false };
            kept.push(file);
        }
        true
    }
}
