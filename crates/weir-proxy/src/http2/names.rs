//! Names of fields as the `http` crate has them. To make one takes longer than the rest of its field, and most heads have the
//! names that the last one had.

use std::cell::RefCell;

use http::HeaderName;

/// Names that are remembered.
const SLOTS: usize = 64;
/// Longer ones are not remembered: whoever makes names up must not fill memory.
const LONGEST: usize = 40;

/// As it was written, and as it is meant.
type Known = Option<(Box<[u8]>, HeaderName)>;

thread_local! {
    static KNOWN: RefCell<[Known; SLOTS]> = const { RefCell::new([const { None }; SLOTS]) };
}

/// The name that is written like this; `None` if it is none.
pub(super) fn of(written: &[u8]) -> Option<HeaderName> {
    let (Some(first), true) = (written.first(), written.len() <= LONGEST) else {
        return HeaderName::from_bytes(written).ok();
    };
    let last = written[written.len() - 1];
    let slot = (written.len() + 5 * usize::from(first & 31) + 11 * usize::from(last & 31)) % SLOTS;
    KNOWN.with_borrow_mut(|known| {
        if let Some((known, name)) = &known[slot]
            && **known == *written
        {
            return Some(name.clone());
        }
        let name = HeaderName::from_bytes(written).ok()?;
        known[slot] = Some((written.into(), name.clone()));
        Some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_however_often_it_is_asked_for() {
        for _ in 0..3 {
            // Two that share a slot, one in two ways of writing, one that is too long, and none.
            for written in ["Content-Type", "content-type", "X-Made-Up", "x", "y", &"z".repeat(50), ""] {
                let made = HeaderName::from_bytes(written.as_bytes()).ok();
                assert_eq!(of(written.as_bytes()), made, "{written}");
            }
        }
        assert_eq!(of(b"a b"), None);
    }
}
