//! What has come of a session and is not used: records, whole or in part, and content that had no room where it was to go.

use std::ops::Range;

use super::scratch;

/// It holds memory only while something is in it: while it is being filled a piece that is shared by all sessions of a
/// thread, and what is left over for later in as much as that takes.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    data: Vec<u8>,
    /// Where the next record begins.
    start: usize,
    end: usize,
    /// Content that was opened where it stood, before the next record.
    content: Range<usize>,
}

impl Inbox {
    /// Begins with bytes that were read by somebody else.
    pub(super) fn with(early: &[u8]) -> Self {
        Self { data: early.to_vec(), start: 0, end: early.len(), content: 0..0 }
    }

    /// The records.
    pub(super) fn records(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// The records, to be opened.
    pub(super) fn records_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.start..self.end]
    }

    /// Content that was opened already.
    pub(super) fn content(&self) -> &[u8] {
        &self.data[self.content.clone()]
    }

    /// True if nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end && self.content.is_empty()
    }

    /// Room for more. Empty only if there is a whole [`scratch::SCRATCH`] of what is not used.
    pub(super) fn space(&mut self) -> &mut [u8] {
        let used = self.used();
        if self.is_empty() {
            (self.start, self.end, self.content) = (0, 0, 0..0);
        }
        if self.data.len() != scratch::SCRATCH {
            if self.end - used.min(self.end) >= scratch::SCRATCH {
                return &mut [];
            }
            let mut data = scratch::take();
            if !self.is_empty() {
                data[..self.end - used].copy_from_slice(&self.data[used..self.end]);
                self.shift(used);
            }
            self.data = data;
        } else if self.end == self.data.len() && used > 0 {
            self.data.copy_within(used..self.end, 0);
            self.shift(used);
        }
        &mut self.data[self.end..]
    }

    /// What stands before the first byte that somebody may still want.
    fn used(&self) -> usize {
        if self.content.is_empty() { self.start } else { self.content.start }
    }

    fn shift(&mut self, by: usize) {
        (self.start, self.end) = (self.start - by, self.end - by);
        self.content =
            if self.content.is_empty() { 0..0 } else { self.content.start - by..self.content.end - by };
    }

    /// Says that so many bytes were put into [`Inbox::space`].
    pub(super) fn filled_by(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.data.len());
    }

    /// The first so many bytes of the records are used.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
    }

    /// The record at the start, of this length, is used, and a part of it is content for later.
    pub(super) fn keep_content(&mut self, whole: usize, content: Range<usize>) {
        debug_assert!(self.content.is_empty() && content.end <= whole);
        self.content = self.start + content.start..self.start + content.end;
        self.consume(whole);
    }

    /// Hands out content; returns how much.
    pub(super) fn take_content(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.content.len());
        into[..count].copy_from_slice(&self.data[self.content.start..self.content.start + count]);
        self.content.start += count;
        count
    }

    /// Takes content that was opened by somebody else: it comes before all that is in here.
    pub(super) fn put_content(&mut self, early: &[u8]) {
        if early.is_empty() {
            return;
        }
        debug_assert!(self.content.is_empty());
        let mut data = Vec::with_capacity(early.len() + self.records().len());
        data.extend_from_slice(early);
        data.extend_from_slice(self.records());
        scratch::give(std::mem::take(&mut self.data));
        (self.start, self.end, self.content) = (early.len(), data.len(), 0..early.len());
        self.data = data;
    }

    /// Gives memory back that is not needed until more comes.
    pub(super) fn settle(&mut self) {
        if self.is_empty() {
            scratch::give(std::mem::take(&mut self.data));
            (self.start, self.end, self.content) = (0, 0, 0..0);
        } else if self.data.len() == scratch::SCRATCH {
            let used = self.used();
            let kept = self.data[used..self.end].to_vec();
            scratch::give(std::mem::replace(&mut self.data, kept));
            self.shift(used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(inbox: &mut Inbox, bytes: &[u8]) -> usize {
        let space = inbox.space();
        let count = bytes.len().min(space.len());
        space[..count].copy_from_slice(&bytes[..count]);
        inbox.filled_by(count);
        count
    }

    #[test]
    fn nothing_is_lost_however_full_it_is() {
        let bytes: Vec<u8> = (0..scratch::SCRATCH + 9).map(|index| index as u8).collect();
        let mut inbox = Inbox::default();
        assert_eq!(put(&mut inbox, &bytes), scratch::SCRATCH);
        assert!(inbox.space().is_empty());
        // What was opened elsewhere makes it more than it ever holds.
        inbox.put_content(b"early");
        assert!(inbox.space().is_empty() && inbox.content() == b"early");
        let mut into = [0; 3];
        assert_eq!((inbox.take_content(&mut into), inbox.take_content(&mut into)), (3, 2));
        assert!(inbox.records() == &bytes[..scratch::SCRATCH] && inbox.space().is_empty());
        inbox.consume(10);
        assert_eq!(put(&mut inbox, &bytes[scratch::SCRATCH..]), 9);
        inbox.settle();
        assert!(inbox.records() == &bytes[10..]);
        inbox.keep_content(30, 5..25);
        inbox.settle();
        assert!(inbox.content() == &bytes[15..35] && inbox.records() == &bytes[40..]);
        assert_eq!(put(&mut inbox, b"more"), 4);
        assert!(inbox.content() == &bytes[15..35] && inbox.records().ends_with(b"more"));
        inbox.consume(inbox.records().len());
        inbox.take_content(&mut [0; 100]);
        inbox.settle();
        assert!(inbox.is_empty() && inbox.data.is_empty());
    }
}
