//! Identities of requests: what a trusted proxy gave, or a UUID of version 7 (RFC 9562 section 5.7): unique without
//! asking anybody, and in the order of time.

use std::{
    cell::RefCell,
    hash::{BuildHasher as _, Hasher as _, RandomState},
};

use weir_model::balance::Seed;

/// Longer identities are not taken over.
const LONGEST: usize = 128;

/// Makes identities; one per worker.
#[derive(Debug)]
pub(crate) struct Identities(RefCell<Seed>);

impl Default for Identities {
    /// Starts at a number of the operating system's, so that no two workers or processes make the same ones.
    fn default() -> Self {
        Self(RefCell::new(Seed::new(RandomState::new().build_hasher().finish())))
    }
}

impl Identities {
    /// Appends a new identity; `micros` count since 1970.
    pub(crate) fn put_new(&self, micros: u64, out: &mut Vec<u8>) {
        let mut seed = self.0.borrow_mut();
        put_uuid(micros / 1000, seed.next(), seed.next(), out);
    }
}

/// True for an identity that is taken over as it came: short, and nothing in it that has to be escaped anywhere.
pub(crate) fn is_plain(given: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=~@".contains(byte);
    !given.is_empty() && given.len() <= LONGEST && given.iter().all(plain)
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn put_uuid(millis: u64, first: u64, second: u64, out: &mut Vec<u8>) {
    let high = (millis << 16) | 0x7000 | (first & 0x0fff);
    let low = (second >> 2) | 1 << 63;
    let digits = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in digits.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    out.extend_from_slice(&text);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn identities_have_the_form_of_a_uuid() {
        let mut out = Vec::new();
        put_uuid(0x0123_4567_89ab, u64::MAX, u64::MAX, &mut out);
        assert_eq!(out, b"01234567-89ab-7fff-bfff-ffffffffffff");
        out.clear();
        put_uuid(0x0123_4567_89ab, 0, 0, &mut out);
        assert_eq!(out, b"01234567-89ab-7000-8000-000000000000");
    }

    #[test]
    fn no_two_are_the_same() {
        let (one, other) = (Identities::default(), Identities::default());
        let make = |from: &Identities| {
            let mut out = Vec::new();
            from.put_new(1_795_216_269_042_000, &mut out);
            out
        };
        let all: HashSet<_> = (0..10_000).flat_map(|_| [make(&one), make(&other)]).collect();
        assert_eq!(all.len(), 20_000);
    }

    #[test]
    fn only_plain_ones_are_taken_over() {
        assert!(is_plain(b"01HZX-a.b:c/d+e=f~g@h_i"));
        for bad in [&b""[..], b"a b", b"a\"", b"<a>", b"a\xff", b"a,b", &[b'a'; 129]] {
            assert!(!is_plain(bad), "{}", bad.escape_ascii());
        }
    }
}
