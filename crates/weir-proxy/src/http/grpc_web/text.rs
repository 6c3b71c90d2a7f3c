//! The text form of gRPC-Web: base64 (RFC 4648 section 4) in pieces, each with its own padding, that are joined without anything
//! between them.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Bytes of text for these bytes of content.
const fn length_of_text(content: usize) -> usize {
    content.div_ceil(3) * 4
}

/// Encodes as much of the content as there is room for, as one piece; says how much was taken and written.
pub(super) fn encode(content: &[u8], into: &mut [u8]) -> (usize, usize) {
    let taken = match into.len() / 4 * 3 {
        room if room < content.len() => room,
        _ => content.len(),
    };
    let room = &mut into[..length_of_text(taken)];
    // Fails only where the room is too small.
    let written = STANDARD.encode_slice(&content[..taken], room).unwrap_or(0);
    (taken, written)
}

/// What is not base64.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadText;

/// Decodes text that comes in pieces of any size.
#[derive(Debug, Default)]
pub(in crate::http) struct Decoder {
    /// What the characters of the group of four that has begun say beyond whole bytes.
    held: u8,
    characters: u8,
    /// How many of those were padding.
    padding: u8,
}

impl Decoder {
    /// Decodes in place; says how long the content at the front is.
    pub(super) fn decode(&mut self, text: &mut [u8]) -> Result<usize, BadText> {
        let mut written = 0;
        for read in 0..text.len() {
            let value = match text[read] {
                b'=' if self.characters >= 2 => {
                    self.padding += 1;
                    0
                }
                other if self.padding == 0 => value(other).ok_or(BadText)?,
                _ => return Err(BadText),
            };
            // The first character of a group makes no byte whole, each of the others one: what is written never overtakes
            // what is read, even where the group began in an earlier piece.
            if self.characters > 0 && self.padding == 0 {
                text[written] = self.held << (2 * self.characters) | value >> (6 - 2 * self.characters);
                written += 1;
            }
            (self.held, self.characters) = (value, self.characters + 1);
            if self.characters == 4 {
                *self = Self::default();
            }
        }
        Ok(written)
    }

    /// True if the text may end here.
    pub(super) const fn is_whole(&self) -> bool {
        self.characters == 0
    }
}

/// The six bits that a character stands for.
const fn value(character: u8) -> Option<u8> {
    Some(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(pieces: &[&[u8]]) -> Result<Vec<u8>, BadText> {
        let (mut decoder, mut content) = (Decoder::default(), Vec::new());
        for piece in pieces {
            let mut piece = piece.to_vec();
            let length = decoder.decode(&mut piece)?;
            content.extend_from_slice(&piece[..length]);
        }
        if decoder.is_whole() { Ok(content) } else { Err(BadText) }
    }

    proptest! {
        #[test]
        fn content_comes_through_however_it_is_cut(
            content in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..8),
            rooms in proptest::collection::vec(4..40usize, 1..5),
            cuts in proptest::collection::vec(1..20usize, 1..5),
        ) {
            let mut text = Vec::new();
            let mut rooms = rooms.iter().cycle();
            for content in &content {
                let mut rest = &content[..];
                while !rest.is_empty() {
                    let mut room = vec![0; *rooms.next().unwrap()];
                    let (taken, written) = encode(rest, &mut room);
                    prop_assert!(taken > 0 && written <= room.len());
                    text.extend_from_slice(&room[..written]);
                    rest = &rest[taken..];
                }
            }
            let (mut pieces, mut rest, mut cuts) = (Vec::new(), &text[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            prop_assert_eq!(decode(&pieces).unwrap(), content.concat());
        }

        #[test]
        fn whatever_comes_is_decoded_as_the_crate_does_or_refused(text in "[A-Za-z0-9+/=_ -]{0,12}") {
            // The crate knows one piece at a time, and insists on bits that are zero behind the end.
            if let Ok(content) = STANDARD.decode(&text) {
                prop_assert_eq!(decode(&[text.as_bytes()]).unwrap(), content);
            } else {
                let _ = decode(&[text.as_bytes()]);
            }
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        assert_eq!(decode(&[b"AAA=", b"QUI=", b"Qg==QUJD"]).unwrap(), b"\0\0ABBABC");
        for bad in ["A", "AA", "AAA", "A===", "====", "AA=A", "AAA=A", "AA-_", "AAAA\r\n", "QQ==="] {
            assert_eq!(decode(&[bad.as_bytes()]), Err(BadText), "{bad}");
        }
    }
}
