//! Skipping over names and texts in heads, sixteen bytes at a time.
//!
//! Finding where names and values end is the largest part of parsing, and nearly every byte is an ordinary one: a block is
//! judged whole, and only where it ends is a byte looked at by itself.

use wide::u8x16;

/// Bytes of a token (RFC 9110 section 5.6.2): 1, and 3 for the underscore, which is told apart.
const TOKEN: [u8; 256] = {
    let mut token = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        token[byte] = match byte as u8 {
            b'_' => 3,
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => 1,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'`' | b'|'
            | b'~' => 1,
            _ => 0,
        };
        byte += 1;
    }
    token
};

/// Bytes of a block.
const BLOCK: usize = 16;

/// All bits of each byte that is one of `count` from `first` on.
fn among(bytes: u8x16, first: u8, count: u8) -> u8x16 {
    let moved = bytes - u8x16::splat(first);
    moved.min(u8x16::splat(count - 1)).simd_eq(moved)
}

/// One bit for each byte that is not a letter, a digit or a hyphen.
fn not_plain(block: [u8; BLOCK]) -> u32 {
    let bytes = u8x16::new(block);
    let letter = among(bytes | u8x16::splat(0x20), b'a', 26);
    let plain = letter | among(bytes, b'0', 10) | bytes.simd_eq(u8x16::splat(b'-'));
    !plain.to_bitmask() & 0xffff
}

/// One bit for each control character.
fn controls(block: [u8; BLOCK]) -> u32 {
    let bytes = u8x16::new(block);
    (among(bytes, 0, 0x20) | bytes.simd_eq(u8x16::splat(0x7f))).to_bitmask()
}

/// How many letters, digits and hyphens these bytes begin with; fewer than there are near their end.
#[inline]
pub(crate) fn plain(bytes: &[u8]) -> usize {
    let mut length = 0;
    let mut rest = bytes;
    while let Some((block, behind)) = rest.split_first_chunk::<BLOCK>() {
        let odd = not_plain(*block);
        if odd != 0 {
            return length + odd.trailing_zeros() as usize;
        }
        (length, rest) = (length + BLOCK, behind);
    }
    length
}

/// How long the token is that these bytes begin with, of which so many were looked at, and whether an underscore is among the
/// others.
#[cold]
pub(crate) fn token(bytes: &[u8], mut length: usize) -> (usize, bool) {
    let mut seen = 0;
    while let Some(class) = bytes.get(length).map(|byte| TOKEN[*byte as usize])
        && class != 0
    {
        seen |= class;
        length += 1;
    }
    (length, seen == 3)
}

/// How long the token is that these bytes begin with, if it is likely to be a short one.
#[inline]
pub(super) fn method(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| TOKEN[**byte as usize] != 0).count()
}

/// What stands behind the text that these bytes begin with: a control character but HTAB, or nothing.
#[inline]
pub(crate) fn behind_text(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    loop {
        rest = behind_plain_text(rest);
        match rest {
            [b'\t', behind @ ..] => rest = behind,
            _ => return rest,
        }
    }
}

/// The same, where HTAB ends it as well.
#[inline]
fn behind_plain_text(mut rest: &[u8]) -> &[u8] {
    while let Some((block, behind)) = rest.split_first_chunk::<BLOCK>() {
        let odd = controls(*block);
        if odd != 0 {
            return &rest[odd.trailing_zeros() as usize % BLOCK..];
        }
        rest = behind;
    }
    while let [b' '..=b'~' | 0x80.., behind @ ..] = rest {
        rest = behind;
    }
    rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_is_judged_in_every_place() {
        for byte in 0..=255u8 {
            for at in 0..BLOCK {
                for around in [b'a', b'Z', b'7'] {
                    let mut block = [around; BLOCK];
                    block[at] = byte;
                    let bit = |odd: bool| u32::from(odd) << at;
                    assert_eq!(
                        not_plain(block),
                        bit(!byte.is_ascii_alphanumeric() && byte != b'-'),
                        "{byte} at {at}"
                    );
                    assert_eq!(controls(block), bit(byte.is_ascii_control()), "{byte} at {at}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn blocks_skip_what_bytes_skip(bytes in proptest::collection::vec(any::<u8>(), 0..80), from in 0usize..80) {
            let from = from.min(bytes.len());
            let rest = &bytes[from..];
            let token = rest.iter().take_while(|byte| TOKEN[**byte as usize] != 0).count();
            let plain = plain(rest);
            prop_assert!(plain <= token);
            prop_assert_eq!(super::token(rest, plain).0, token);
            let text = rest.iter().take_while(|byte| **byte == b'\t' || !byte.is_ascii_control()).count();
            prop_assert_eq!(behind_text(rest), &rest[text..]);
        }
    }
}
