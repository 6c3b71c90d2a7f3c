//! A message that is sent once more: to another backend, or on another connection.

use super::{Coding, Pump, Rest};
use crate::{buffer::Buffer, clock, http::request::BodyLength};

/// Content of a message that is kept to be sent again.
pub(super) const MOST_KEPT: usize = 64 * 1024;

impl BodyLength {
    /// It is said to be so short that it can be kept to be sent again.
    pub(crate) const fn is_short(self) -> bool {
        matches!(self, Self::Length(length) if length <= MOST_KEPT as u64)
    }
}

impl Pump {
    /// Keeps what is taken of the content, as long as that is little, so that the message can be sent again.
    pub(crate) fn keep(&mut self) {
        if !matches!(self.rest, Rest::Done) {
            self.kept = Some(Vec::new());
        }
    }

    /// True if the message can be sent again from its start: no content was used, or all of it is still there.
    pub(crate) const fn can_restart(&self) -> bool {
        if self.kept.is_some() {
            return self.trailers.is_empty();
        }
        self.taken == 0 && self.written as usize <= self.lead.len() && matches!(self.rest, Rest::Done)
    }

    /// Starts the message again on another connection, where it is delimited like this.
    pub(crate) fn restart(&mut self, coding: Coding, buffer: &mut Buffer) {
        if let Some(kept) = &mut self.kept {
            let last = !kept.is_empty();
            buffer.consume(self.content + self.spent);
            (self.content, self.spent, self.taken) = (0, 0, 0);
            self.allowance += kept.len() as u64;
            match &mut self.rest {
                Rest::Length(left) => *left += kept.len() as u64,
                Rest::Done if self.by_length => self.rest = Rest::Length(kept.len() as u64),
                Rest::Done => self.rest = Rest::Frames { last },
                _ => {}
            }
            buffer.prepend(kept);
            kept.clear();
        }
        self.ending = false;
        self.tail.clear();
        self.tail_sent = 0;
        self.coding = coding;
        self.lead.truncate(self.head);
        self.lead_sent = 0;
        self.written = 0;
        self.moved_at = clock::now();
    }
}
