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

/// The block at `at`, if there are so many bytes.
#[inline]
fn block(bytes: &[u8], at: usize) -> Option<&[u8; BLOCK]> {
    bytes.get(at..)?.first_chunk()
}

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

/// Skips bytes of a token; tells whether there was an underscore among them.
#[inline]
pub(super) fn skip_token(bytes: &[u8], mut at: usize) -> (usize, bool) {
    let mut seen = 0;
    while let Some(block) = block(bytes, at) {
        let odd = not_plain(*block);
        if odd != 0 {
            at += odd.trailing_zeros() as usize;
            break;
        }
        at += BLOCK;
    }
    while let Some(class) = bytes.get(at).map(|byte| TOKEN[*byte as usize])
        && class != 0
    {
        seen |= class;
        at += 1;
    }
    (at, seen == 3)
}

/// Skips bytes that a text may contain, HTAB included, up to the first other control character or the end.
#[inline]
pub(super) fn skip_text(bytes: &[u8], mut at: usize) -> usize {
    while let Some(block) = block(bytes, at) {
        let odd = controls(*block);
        if odd == 0 {
            at += BLOCK;
            continue;
        }
        at += odd.trailing_zeros() as usize;
        if bytes.get(at) != Some(&b'\t') {
            return at;
        }
        at += 1;
    }
    while matches!(bytes.get(at), Some(b'\t' | b' '..=b'~' | 0x80..)) {
        at += 1;
    }
    at
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
            prop_assert_eq!(skip_token(&bytes, from).0, from + token);
            let text = rest.iter().take_while(|byte| **byte == b'\t' || !byte.is_ascii_control()).count();
            prop_assert_eq!(skip_text(&bytes, from), from + text);
        }
    }
}
