//! How a value is made harmless where it is put.

/// What a value must not be able to break out of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escape {
    /// Nothing is changed: plain text for a client.
    #[default]
    None,
    /// A header field: control characters become `%XX`.
    Header,
    /// A line of text: control characters, quotes, backslashes, `<`, `>` and everything that is not ASCII become
    /// `\xXX`.
    Line,
    /// HTML text and quoted attributes: `<`, `>`, `&` and quotes become entities.
    Html,
    /// Inside a JSON string: as RFC 8259 asks; bytes that are not UTF-8 become U+FFFD. Characters that would matter
    /// in HTML or to a terminal are written as `\u` too.
    Json,
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";
const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";

/// One bit per way of escaping: which bytes need it (for JSON: need a closer look).
const LINE: u8 = 1;
const JSON: u8 = 2;
const HTML: u8 = 4;
const HEADER: u8 = 8;

const NEEDS: [u8; 256] = {
    let mut needs = [0u8; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b < 0x20 || b == 0x7f {
            needs[byte] = LINE | JSON;
            if b != b'\t' {
                needs[byte] |= HEADER;
            }
        }
        if b >= 0x80 {
            needs[byte] = LINE | JSON;
        }
        byte += 1;
    }
    needs[b'"' as usize] = LINE | JSON | HTML;
    needs[b'\\' as usize] = LINE | JSON;
    needs[b'<' as usize] = LINE | JSON | HTML;
    needs[b'>' as usize] = LINE | JSON | HTML;
    needs[b'&' as usize] = JSON | HTML;
    needs[b'\'' as usize] = HTML;
    needs
};

impl Escape {
    const fn mask(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Header => HEADER,
            Self::Line => LINE,
            Self::Html => HTML,
            Self::Json => JSON,
        }
    }

    /// Escapes what stands in `out` from `start` on.
    #[inline]
    pub fn apply(self, out: &mut Vec<u8>, start: usize) {
        let mask = self.mask();
        if out[start..].iter().any(|byte| NEEDS[usize::from(*byte)] & mask != 0) {
            let raw = out.split_off(start);
            self.rewrite(&raw, out);
        }
    }

    /// Appends a value, escaped.
    #[inline]
    pub fn put(self, value: &[u8], out: &mut Vec<u8>) {
        let mask = self.mask();
        if value.iter().any(|byte| NEEDS[usize::from(*byte)] & mask != 0) {
            self.rewrite(value, out);
        } else {
            out.extend_from_slice(value);
        }
    }

    #[cold]
    fn rewrite(self, raw: &[u8], out: &mut Vec<u8>) {
        if self == Self::Json {
            return json(raw, out);
        }
        let mask = self.mask();
        for &byte in raw {
            if NEEDS[usize::from(byte)] & mask == 0 {
                out.push(byte);
                continue;
            }
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            match (self, byte) {
                (Self::Header, _) => out.extend_from_slice(&[b'%', high, low]),
                (Self::Html, b'<') => out.extend_from_slice(b"&lt;"),
                (Self::Html, b'>') => out.extend_from_slice(b"&gt;"),
                (Self::Html, b'&') => out.extend_from_slice(b"&amp;"),
                (Self::Html, b'"') => out.extend_from_slice(b"&quot;"),
                (Self::Html, _) => out.extend_from_slice(b"&#39;"),
                _ => out.extend_from_slice(&[b'\\', b'x', high, low]),
            }
        }
    }
}

fn json(raw: &[u8], out: &mut Vec<u8>) {
    for chunk in raw.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                _ if is_unsafe(character) => unit(character as u32, out),
                _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Controls of both ranges, line ends of Unicode, characters that change the direction of text, and those that matter
/// in HTML. All of them are below U+FFFF.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '<' | '>' | '&' | '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn unit(code: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\u");
    out.extend([12, 8, 4, 0].map(|shift| HEX_LOWER[(code >> shift & 15) as usize]));
}
