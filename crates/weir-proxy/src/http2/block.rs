//! Header blocks as far as their structure goes (RFC 7541 section 6): which entries they name, and how large they want the table
//! to be. The `h2` crate decodes them, and calls whatever is wrong with them an error of the protocol; that the tables of both
//! ends are not the same has a code of its own (RFC 9113 section 4.3).

/// Entries of the static table (RFC 7541 appendix A).
const STATIC: u64 = 61;
/// The largest dynamic table: we never allow another one than HTTP/2 begins with (RFC 9113 section 6.5.2).
const LARGEST_TABLE: u64 = 4096;
/// Beyond so many bits no number is looked at.
const MOST_BITS: u32 = 28;

/// What a number in a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    /// An entry that is the whole field.
    Entry,
    /// An entry whose name a field has that becomes one itself; 0 if its name follows.
    Added,
    /// The same for a field that does not.
    Literal,
    /// How large the table is to be.
    TableSize,
    NameLength,
    ValueLength,
}

/// The header blocks of one connection, byte by byte.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Fields that were added to the table: it has no more entries than that.
    added: u64,
    /// Bytes of a string that follow.
    skip: u64,
    /// A number that has begun: what it is, what it has come to, and the bits of it that have come.
    begun: Option<(Number, u64, u32)>,
    /// The string whose length follows, if one does.
    next: Option<Number>,
}

impl Blocks {
    /// A block begins.
    pub(super) fn begin(&mut self) {
        *self = Self { added: self.added, ..Self::default() };
    }

    /// Looks at the next bytes of the block; false if they name what cannot be there.
    pub(super) fn are_sound(&mut self, mut bytes: &[u8]) -> bool {
        while let [byte, rest @ ..] = bytes {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len() as u64);
                self.skip -= skipped;
                bytes = &bytes[skipped as usize..];
                continue;
            }
            bytes = rest;
            let sound = match self.begun {
                None => self.first(*byte),
                Some((number, value, bits)) => self.more(*byte, number, value, bits),
            };
            if !sound {
                return false;
            }
        }
        true
    }

    /// The first byte of a number.
    fn first(&mut self, byte: u8) -> bool {
        let (number, bits) = match self.next {
            Some(length) => (length, 7),
            None if byte & 0x80 != 0 => (Number::Entry, 7),
            None if byte & 0x40 != 0 => (Number::Added, 6),
            None if byte & 0x20 != 0 => (Number::TableSize, 5),
            None => (Number::Literal, 4),
        };
        let most = (1 << bits) - 1;
        let value = u64::from(byte & most);
        if value < u64::from(most) {
            return self.known(number, value);
        }
        self.begun = Some((number, value, 0));
        true
    }

    /// Another byte of one (RFC 7541 section 5.1).
    fn more(&mut self, byte: u8, number: Number, value: u64, bits: u32) -> bool {
        if bits >= MOST_BITS {
            // No string is so long, no table so large.
            return matches!(number, Number::NameLength | Number::ValueLength);
        }
        let value = value + (u64::from(byte & 0x7f) << bits);
        if byte & 0x80 != 0 {
            self.begun = Some((number, value, bits + 7));
            return true;
        }
        self.known(number, value)
    }

    fn known(&mut self, number: Number, value: u64) -> bool {
        self.begun = None;
        let is_there = value <= STATIC + self.added;
        match number {
            Number::Entry => return value != 0 && is_there,
            Number::TableSize => return value <= LARGEST_TABLE,
            Number::Added | Number::Literal => {
                self.added += u64::from(number == Number::Added);
                self.next = Some(if value == 0 { Number::NameLength } else { Number::ValueLength });
                return is_there;
            }
            Number::NameLength => self.next = Some(Number::ValueLength),
            Number::ValueLength => self.next = None,
        }
        self.skip = value;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sound(blocks: &mut Blocks, bytes: &[u8]) -> bool {
        blocks.begin();
        bytes.chunks(1).all(|byte| blocks.are_sound(byte))
    }

    #[test]
    fn what_is_in_no_table_is_found() {
        for (bytes, expected) in [
            // The examples of RFC 7541 appendix C.2 and C.4.1.
            (&b"\x40\x0acustom-key\x0dcustom-header"[..], true),
            (b"\x04\x0c/sample/path", true),
            (b"\x10\x08password\x06secret", true),
            (b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", true),
            // Entry 0, the first of an empty table, one far beyond, the same for names.
            (b"\x80", false),
            (b"\xbe", false),
            (b"\xff\x80\x01", false),
            (b"\x7e\x01a", false),
            (b"\x0f\x80\x7f\x01a", false),
            // Sizes of the table: 0, 4096, 4097.
            (b"\x20\x3f\xe1\x1f\x82", true),
            (b"\x3f\xe2\x1f", false),
            // A number without end.
            (b"\x3f\xff\xff\xff\xff\xff\xff", false),
        ] {
            assert_eq!(sound(&mut Blocks::default(), bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_was_added_is_there_in_the_next_block() {
        let mut blocks = Blocks::default();
        assert!(sound(&mut blocks, b"\x40\x01a\x01b"));
        assert!(sound(&mut blocks, b"\xbe"));
        assert!(!sound(&mut blocks, b"\xbf"));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_judged_the_same_however_it_is_cut(
            bytes in proptest::collection::vec(any::<u8>(), 0..64), cut in 0usize..64,
        ) {
            let cut = cut.min(bytes.len());
            let mut blocks = Blocks::default();
            let halves = blocks.are_sound(&bytes[..cut]) && blocks.are_sound(&bytes[cut..]);
            prop_assert_eq!(halves, sound(&mut Blocks::default(), &bytes));
        }
    }
}
