//! The chunked transfer coding (RFC 9112 section 7.1), decoded strictly and in place.
//!
//! Extensions are checked and dropped, trailer fields are kept apart; what is passed on is written anew, so that no two
//! parties can disagree about where a chunk ends.

use super::{
    lines::Lines,
    names::forbidden_in_trailer,
    parse::{BadHead, fields},
};

/// Bytes of one trailer section.
const MOST_TRAILERS: usize = 8 * 1024;
/// Fields of one trailer section.
const MOST_TRAILER_FIELDS: usize = 64;
/// Bytes of extensions that need no content to pay for them.
const FREE_EXTENSIONS: u64 = 4 * 1024;

/// The coding is violated; nothing after this point can be trusted. Says how, where it is not a chunk itself that is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadChunk(pub(crate) &'static str);

const MALFORMED: BadChunk = BadChunk("");

/// The state of one chunked body.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChunkDecoder {
    state: State,
    /// Of the current chunk.
    size: u64,
    digits: u8,
    extensions: u64,
    content: u64,
    trailers: Vec<u8>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    SpaceBeforeExtension,
    Extension,
    SizeLineFeed,
    Content,
    ContentReturn,
    ContentLineFeed,
    Trailers,
    Done,
}

/// What comes next in the bytes.
enum Piece {
    /// So many bytes of content.
    Content(usize),
    /// So many bytes of framing.
    Framing(usize),
}

/// What [`ChunkDecoder::decode`] did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Content, now at the front.
    pub(crate) content: usize,
    /// Bytes used, content included.
    pub(crate) used: usize,
}

impl ChunkDecoder {
    /// Moves the content of `bytes` to its front, up to the end of the body or of the bytes.
    pub(crate) fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, BadChunk> {
        let mut decoded = Decoded { content: 0, used: 0 };
        while decoded.used < bytes.len() && !self.is_done() {
            match self.next(&bytes[decoded.used..])? {
                Piece::Content(count) => {
                    if decoded.content != decoded.used {
                        bytes.copy_within(decoded.used..decoded.used + count, decoded.content);
                    }
                    decoded.content += count;
                    decoded.used += count;
                }
                Piece::Framing(count) => decoded.used += count,
            }
        }
        Ok(decoded)
    }

    /// Checks bytes without moving them: what [`ChunkDecoder::decode`] would say of them. Returns the content seen.
    pub(crate) fn check(mut self, bytes: &[u8]) -> Result<u64, BadChunk> {
        let mut used = 0;
        while used < bytes.len() && !self.is_done() {
            match self.next(&bytes[used..])? {
                Piece::Content(count) | Piece::Framing(count) => used += count,
            }
        }
        Ok(self.content)
    }

    /// True once the last chunk and its trailer section have been seen.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn next(&mut self, bytes: &[u8]) -> Result<Piece, BadChunk> {
        if self.state == State::Content {
            let count = self.size.min(bytes.len() as u64);
            self.size -= count;
            self.content += count;
            if self.size == 0 {
                self.state = State::ContentReturn;
            }
            return Ok(Piece::Content(count as usize));
        }
        if self.state == State::Trailers {
            return self.trailers(bytes).map(Piece::Framing);
        }
        self.framing(bytes[0])?;
        Ok(Piece::Framing(1))
    }

    /// One byte outside content and trailers.
    fn framing(&mut self, byte: u8) -> Result<(), BadChunk> {
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                // Fifteen digits are an exabyte; more is somebody hoping for an overflow.
                if self.digits == 15 {
                    return Err(MALFORMED);
                }
                let digit = (byte as char).to_digit(16).ok_or(MALFORMED)?;
                self.size = self.size << 4 | u64::from(digit);
                self.digits += 1;
                State::Size
            }
            (State::Size, _) if self.digits == 0 => return Err(MALFORMED),
            (State::Size, b'\r') | (State::Extension, b'\r') => State::SizeLineFeed,
            (State::Size | State::SpaceBeforeExtension, b' ' | b'\t') => State::SpaceBeforeExtension,
            (State::Size | State::SpaceBeforeExtension, b';') => State::Extension,
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => {
                self.extensions += 1;
                if self.extensions > FREE_EXTENSIONS + self.content {
                    return Err(BadChunk("its extensions are longer than its content"));
                }
                State::Extension
            }
            (State::SizeLineFeed, b'\n') if self.size == 0 => State::Trailers,
            (State::SizeLineFeed, b'\n') => State::Content,
            (State::ContentReturn, b'\r') => State::ContentLineFeed,
            (State::ContentLineFeed, b'\n') => {
                self.digits = 0;
                State::Size
            }
            _ => return Err(MALFORMED),
        };
        Ok(())
    }

    /// Collects the trailer section until its empty line.
    fn trailers(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        for (index, byte) in bytes.iter().enumerate() {
            self.trailers.push(*byte);
            if *byte == b'\n' {
                if !self.trailers.ends_with(b"\r\n") {
                    return Err(BadChunk("a line of its trailers ends without CR LF"));
                }
                if self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n") {
                    self.state = State::Done;
                    self.judge_trailers()?;
                    return Ok(index + 1);
                }
            } else if self.trailers.len() > MOST_TRAILERS {
                return Err(BadChunk("its trailers are larger than 8 KiB"));
            }
        }
        Ok(bytes.len())
    }

    /// Keeps the fields that may be passed on, as lines.
    fn judge_trailers(&mut self) -> Result<(), BadChunk> {
        let section = std::mem::take(&mut self.trailers);
        let mut lines = Lines::default();
        let read = fields(&section, 0, MOST_TRAILER_FIELDS, &mut lines).map_err(|bad| match bad {
            BadHead::TooMany => BadChunk("more than 64 trailer fields"),
            _ => BadChunk("a trailer field is malformed"),
        });
        read?.ok_or(MALFORMED)?;
        for line in lines.iter().filter(|line| !forbidden_in_trailer(line.name.of(&section))) {
            self.trailers.extend_from_slice(line.whole.of(&section));
        }
        Ok(())
    }

    /// The trailer fields to pass on, as complete lines; empty until the body is done.
    pub(crate) fn trailer_lines(&self) -> &[u8] {
        if self.is_done() { &self.trailers } else { b"" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &str, step: usize) -> Result<(String, bool, String), BadChunk> {
        let mut decoder = ChunkDecoder::default();
        let mut content = Vec::new();
        for part in body.as_bytes().chunks(step) {
            let mut part = part.to_vec();
            let decoded = decoder.decode(&mut part)?;
            content.extend_from_slice(&part[..decoded.content]);
        }
        let trailers = String::from_utf8_lossy(decoder.trailer_lines()).into_owned();
        Ok((String::from_utf8_lossy(&content).into_owned(), decoder.is_done(), trailers))
    }

    #[test]
    fn content_comes_out_however_it_is_cut() {
        let body =
            "5\r\nhello\r\n6 ;a=b\r\n world\r\n00\r\nX-T: 1\r\nContent-Length: 9\r\nHost: evil\r\n\r\n";
        for step in 1..=body.len() {
            let (content, done, trailers) = decode(body, step).expect("valid");
            assert_eq!((content.as_str(), done, trailers.as_str()), ("hello world", true, "X-T: 1\r\n"));
        }
        assert_eq!(decode("3\r\nab", 1), Ok(("ab".into(), false, String::new())));
    }

    #[test]
    fn nothing_after_the_end_is_used() {
        let mut bytes = *b"1\r\na\r\n0\r\n\r\nGET /";
        let decoded = ChunkDecoder::default().decode(&mut bytes).expect("valid");
        assert_eq!(decoded, Decoded { content: 1, used: bytes.len() - 5 });
    }

    #[test]
    fn whatever_could_be_read_in_two_ways_is_refused() {
        let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(20_000));
        for body in [
            "-1\r\n\r\n",
            "0x3\r\nabc\r\n0\r\n\r\n",
            "ffffffffffffffff1\r\nabc\r\n0\r\n\r\n",
            "3\nabc\n0\n\n",
            "3;\nxx\r\nabc\r\n0\r\n\r\n",
            "3\r\nabcXX0\r\n\r\n",
            "3 \r\nabc\r\n0\r\n\r\n",
            "\r\nabc\r\n0\r\n\r\n",
            "3\rX\nabc\r\n0\r\n\r\n",
            "0\r\nX: a\nY: b\r\n\r\n",
            "0\r\n bad: x\r\n\r\n",
            "zz\r\nhello\r\n0\r\n\r\n",
            long.as_str(),
        ] {
            for step in [1, body.len()] {
                assert!(decode(body, step).is_err(), "{body:?}");
            }
            assert!(ChunkDecoder::default().check(body.as_bytes()).is_err(), "{body:?}");
        }
    }
}
