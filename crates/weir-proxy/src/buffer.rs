//! Buffers that are borrowed from the worker while bytes are on the way: taken when there is something to read, given
//! back as soon as the last byte is used. A worker that keeps up works in the same few buffers all the time, and they
//! stay in its cache.

use std::{cell::RefCell, ops::Range, rc::Rc};

/// What a buffer starts with: most heads and small bodies fit.
pub(crate) const SMALL: usize = 16 * 1024;
/// What a buffer grows to when a transfer keeps filling it.
pub(crate) const LARGE: usize = 64 * 1024;
/// Spare buffers kept of each size.
const KEPT: usize = 64;

/// The spare buffers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    small: RefCell<Vec<Vec<u8>>>,
    large: RefCell<Vec<Vec<u8>>>,
}

impl Spare {
    /// A buffer, empty; it takes up no room until something is read into it.
    pub(crate) fn buffer(self: &Rc<Self>) -> Buffer {
        Buffer { data: Vec::new(), start: 0, end: 0, large: false, home: self.clone() }
    }

    fn take(&self, large: bool) -> Vec<u8> {
        let (list, size) = if large { (&self.large, LARGE) } else { (&self.small, SMALL) };
        list.borrow_mut().pop().unwrap_or_else(|| vec![0; size])
    }

    fn give(&self, data: Vec<u8>) {
        let list = match data.len() {
            SMALL => &self.small,
            LARGE => &self.large,
            _ => return,
        };
        let mut list = list.borrow_mut();
        if list.len() < KEPT {
            list.push(data);
        }
    }
}

/// Bytes that came and are not yet used, with room for more behind them. Holds memory only while it holds bytes.
#[derive(Debug)]
pub(crate) struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
    /// It has grown: the next memory it takes is large at once.
    large: bool,
    home: Rc<Spare>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.give(std::mem::take(&mut self.data));
    }
}

impl Buffer {
    /// What came and is not used.
    #[inline]
    pub(crate) fn filled(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// The same, to be changed in place.
    #[inline]
    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.start..self.end]
    }

    /// A part of what came, counted from its start.
    #[inline]
    pub(crate) fn part(&self, range: Range<usize>) -> &[u8] {
        &self.data[self.start + range.start..self.start + range.end]
    }

    /// How much came and is not used.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.end - self.start
    }

    /// True if nothing is waiting.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room behind what came. Moves it to the front first if that makes more room.
    #[inline]
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.data.is_empty() {
            self.data = self.home.take(self.large);
        }
        if self.start > 0 {
            if self.start == self.end {
                (self.start, self.end) = (0, 0);
            } else if self.end == self.data.len() {
                self.data.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
        }
        &mut self.data[self.end..]
    }

    /// True if [`Buffer::space`] has room.
    #[inline]
    pub(crate) fn has_space(&self) -> bool {
        self.data.is_empty() || self.len() < self.data.len()
    }

    /// Says that so many bytes were put into [`Buffer::space`].
    #[inline]
    pub(crate) fn filled_by(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.data.len());
    }

    /// Puts these bytes behind what came, whatever room that takes.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        if self.space().len() < bytes.len() {
            self.grow(self.len() + bytes.len());
        }
        let space = self.space();
        let count = bytes.len().min(space.len());
        space[..count].copy_from_slice(&bytes[..count]);
        self.filled_by(count);
    }

    /// Uses the first `count` bytes.
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len());
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.release();
        }
    }

    /// Puts bytes before those that wait, as if they had come first.
    pub(crate) fn prepend(&mut self, bytes: &[u8]) {
        let (count, length) = (bytes.len(), self.len());
        self.grow(count + length);
        self.space();
        if self.start < count {
            self.data.copy_within(self.start..self.end, count);
            (self.start, self.end) = (count, count + length);
        }
        self.start -= count;
        self.data[self.start..self.start + count].copy_from_slice(bytes);
    }

    /// Gives the memory back if nothing is in it.
    #[inline]
    pub(crate) fn release(&mut self) {
        if self.start == self.end && !self.data.is_empty() {
            self.home.give(std::mem::take(&mut self.data));
        }
    }

    /// Makes room for at least `size` bytes in all.
    pub(crate) fn grow(&mut self, size: usize) {
        if self.data.len() >= size {
            return;
        }
        self.large = true;
        let mut data = if size <= LARGE { self.home.take(true) } else { vec![0; size] };
        let len = self.len();
        data[..len].copy_from_slice(self.filled());
        self.home.give(std::mem::replace(&mut self.data, data));
        (self.start, self.end) = (0, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_before_the_rest_comes_first() {
        let spare = Rc::new(Spare::default());
        for (waiting, used) in [(0, 0), (10, 0), (10, 4), (SMALL, 0), (SMALL, SMALL - 1), (SMALL, 100)] {
            for count in [0, 1, 50, SMALL, LARGE] {
                let mut buffer = spare.buffer();
                let came: Vec<u8> = (0..waiting).map(|at| at as u8).collect();
                if waiting > 0 {
                    buffer.space()[..waiting].copy_from_slice(&came);
                    buffer.filled_by(waiting);
                }
                buffer.consume(used);
                let before = vec![0xff; count];
                buffer.prepend(&before);
                assert_eq!(buffer.filled(), [&before, &came[used..]].concat(), "{waiting} {used} {count}");
            }
        }
    }
}
