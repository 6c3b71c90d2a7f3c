//! What has come of a body is made ready to be sent: framing is taken off, and put on as the other side wants it.

use super::{COPIED, Coding, MOST_KEPT, Pump, Rest, Stop};
use crate::buffer::Buffer;

impl Pump {
    /// Takes what the buffer holds of the body.
    pub(super) fn stage(&mut self, buffer: &mut Buffer) -> Result<(), Stop> {
        let head = std::mem::take(&mut self.in_front);
        let length = buffer.len() - head;
        let mut trailers = Vec::new();
        let mut ended = false;
        let (content, used) = match &mut self.rest {
            Rest::Length(left) => {
                let count = (*left).min(length as u64);
                *left -= count;
                ended = *left == 0;
                (count as usize, count as usize)
            }
            Rest::UntilClose => (length, length),
            Rest::Frames { last } => {
                ended = *last;
                (length, length)
            }
            Rest::Chunked(decoder) => {
                let decoded = decoder.decode(buffer.filled_mut())?;
                if decoder.is_done() {
                    ended = true;
                    trailers.extend_from_slice(decoder.trailer_lines());
                }
                (decoded.content, decoded.used)
            }
            Rest::Done => (0, 0),
        };
        let content = match &mut self.bridge {
            None => content,
            Some(bridge) => {
                bridge.decode(&mut buffer.filled_mut()[head..head + content], ended).ok_or(Stop::BadText)?
            }
        };
        self.taken += content as u64;
        if let Some(kept) = &mut self.kept {
            if kept.len() + content > MOST_KEPT {
                self.kept = None;
            } else {
                kept.extend_from_slice(buffer.part(head..head + content));
            }
        }
        self.allowance = self.allowance.checked_sub(content as u64).ok_or(Stop::TooLarge)?;
        if content > 0 && self.coding == Coding::Chunked {
            self.clear_behind_head();
            write_size(&mut self.lead, content);
            self.tail.extend_from_slice(b"\r\n");
        }
        let copied = content > 0 && content <= COPIED && self.lead_sent < self.lead.len();
        if copied {
            self.lead.extend_from_slice(buffer.part(0..content));
            self.lead.append(&mut self.tail);
        }
        if ended {
            self.end(&trailers);
        }
        if copied || content == 0 {
            buffer.consume(used);
        } else {
            (self.content, self.spent) = (head + content, used - content);
        }
        Ok(())
    }

    /// What was written behind the head makes room for more.
    fn clear_behind_head(&mut self) {
        if self.lead_sent == self.lead.len() {
            self.lead.truncate(self.head);
            self.lead_sent = self.head;
        }
    }

    pub(super) fn end(&mut self, trailers: &[u8]) {
        self.rest = Rest::Done;
        match self.coding {
            // Where the length is known, trailers have no place.
            Coding::Plain => {}
            Coding::Chunked => {
                self.tail.extend_from_slice(b"0\r\n");
                self.tail.extend_from_slice(trailers);
                self.tail.extend_from_slice(b"\r\n");
            }
            Coding::Frames => {
                self.trailers.extend_from_slice(trailers);
                self.ending = true;
            }
        }
    }
}

/// The size line of a chunk.
fn write_size(out: &mut Vec<u8>, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let length = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..length).rev().map(|digit| DIGITS[size >> (digit * 4) & 15]));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_hexadecimal() {
        for size in [1usize, 9, 10, 15, 16, 255, 256, 65_536, 0xdead_beef] {
            let mut out = Vec::new();
            write_size(&mut out, size);
            assert_eq!(out, format!("{size:x}\r\n").into_bytes());
        }
    }
}
