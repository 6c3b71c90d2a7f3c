//! UDP probes, compiled: bytes as text with escapes.

use std::sync::Arc;

use super::kept;
use crate::{
    draft::{Text, UdpProbeDraft},
    health::UdpProbe,
    problem::Problem,
};

/// The largest datagram that IPv4 carries.
const MOST: usize = 65_507;

/// Compiles the `udp` of a health check.
pub(super) fn probe(draft: &UdpProbeDraft, broken: bool, problems: &mut Vec<Problem>) -> UdpProbe {
    if draft.send.is_none() && !broken {
        let cause = "the check does not say what it sends";
        problems.push(Problem::error(
            draft.span,
            cause,
            r"add `send: ping`; `\x00` to `\xff` stand for bytes",
        ));
    }
    let send = draft.send.as_ref().and_then(|text| kept(bytes(text, "is sent"), problems));
    UdpProbe {
        send: send.unwrap_or_default(),
        expect: draft.expect.as_ref().and_then(|text| kept(bytes(text, "is expected"), problems)),
    }
}

/// The bytes that a text stands for: `\xHH`, `\r`, `\n`, `\t`, `\0` and `\\`, and every other character as itself.
fn bytes(text: &Text, what: &str) -> Result<Arc<[u8]>, Problem> {
    let mut bytes = Vec::with_capacity(text.value.len());
    let mut rest = text.value.chars();
    while let Some(letter) = rest.next() {
        if letter != '\\' {
            bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let byte = match rest.next() {
            Some('r') => Some(b'\r'),
            Some('n') => Some(b'\n'),
            Some('t') => Some(b'\t'),
            Some('0') => Some(0),
            Some('\\') => Some(b'\\'),
            Some('x') => {
                let digit = |letter: Option<char>| letter.and_then(|letter| letter.to_digit(16));
                let (high, low) = (digit(rest.next()), digit(rest.next()));
                high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok())
            }
            _ => None,
        };
        bytes.push(byte.ok_or_else(|| {
            let cause = format!("`{}` holds a backslash that stands for nothing", text.value);
            let remedy = r"write `\xHH` for a byte, `\r`, `\n`, `\t`, `\0`, and `\\` for a backslash";
            Problem::error(text.span, cause, remedy)
        })?);
    }
    match bytes.len() {
        0 => Err(Problem::error(text.span, format!("what {what} is empty"), "write at least one character")),
        length if length > MOST => {
            let cause = format!("what {what} has {length} bytes, and a datagram holds {MOST}");
            Err(Problem::error(text.span, cause, "make it shorter"))
        }
        _ => Ok(bytes.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Located, Span};

    fn read(text: &str) -> Option<Vec<u8>> {
        bytes(&Located::new(text.to_owned(), Span::default()), "is sent").ok().map(|bytes| bytes.to_vec())
    }

    #[test]
    fn escapes_stand_for_bytes() {
        assert_eq!(read("ping"), Some(b"ping".to_vec()));
        assert_eq!(read(r"\x00\xfF\r\n\t\0\\x"), Some(b"\x00\xff\r\n\t\0\\x".to_vec()));
        assert_eq!(read("é"), Some("é".as_bytes().to_vec()));
        for wrong in ["", r"\", r"\x", r"\x1", r"\xg0", r"\q", r"a\"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(read(&"x".repeat(MOST)).map(|bytes| bytes.len()), Some(MOST));
        assert_eq!(read(&"x".repeat(MOST + 1)), None);
    }
}
