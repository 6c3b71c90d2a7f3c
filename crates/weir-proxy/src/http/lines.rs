//! Where a head ends, and where its lines are.

use super::names::Name;

/// A range of bytes in a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn of(self, head: &[u8]) -> &[u8] {
        &head[self.start as usize..self.end as usize]
    }

    /// The span of `part`, which must be a slice of `head`.
    pub(crate) fn within(head: &[u8], part: &[u8]) -> Self {
        let start = part.as_ptr() as usize - head.as_ptr() as usize;
        Self { start: start as u32, end: (start + part.len()) as u32 }
    }
}

/// One field line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// Where the name begins and where the next line begins.
    pub(crate) whole: Span,
    pub(crate) name: Span,
    pub(crate) value: Span,
    pub(crate) kind: Name,
}

/// How far the end of a head has been looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadEnd {
    /// Not there yet.
    Missing,
    /// A line ends with LF alone.
    BadLineEnd,
    /// The head is so many bytes long, its empty line included.
    At(usize),
}

/// Looks for the empty line, from where the last look ended. `scanned` is moved on.
pub(crate) fn find_end(bytes: &[u8], scanned: &mut usize) -> HeadEnd {
    for found in memchr::memchr_iter(b'\n', &bytes[*scanned..]) {
        let at = *scanned + found;
        if at == 0 || bytes[at - 1] != b'\r' {
            return HeadEnd::BadLineEnd;
        }
        if at >= 3 && bytes[at - 2] == b'\n' {
            return HeadEnd::At(at + 1);
        }
    }
    *scanned = bytes.len();
    HeadEnd::Missing
}

/// The field lines of a head, one behind the other, with a note of those that mean something to us.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    all: Vec<Line>,
    /// Where the first of them stands, or would.
    begin: usize,
    /// Which of them are of another kind than [`Name::Other`] and [`Name::Date`]: few, and all that most of the work is about.
    marked: Vec<u16>,
    /// There is a Date.
    dated: bool,
}

impl Lines {
    /// Lines come that begin here; none of those before are left.
    #[inline]
    pub(crate) fn begin(&mut self, at: usize) {
        self.all.clear();
        self.marked.clear();
        self.dated = false;
        self.begin = at;
    }

    /// Where the first of them stands, or would: behind the line that the head begins with.
    #[inline]
    pub(crate) const fn first_at(&self) -> usize {
        self.begin
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    #[inline]
    pub(crate) fn push(&mut self, line: Line) {
        match line.kind {
            Name::Other => {}
            Name::Date => self.dated = true,
            _ => self.marked.push(self.all.len() as u16),
        }
        self.all.push(line);
    }

    /// True if there is a Date among them.
    #[inline]
    pub(crate) const fn is_dated(&self) -> bool {
        self.dated
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.all.iter()
    }

    /// Those that mean something to us.
    #[inline]
    pub(crate) fn marked(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.marked.iter().map(|index| &self.all[usize::from(*index)])
    }

    /// Those of one kind, which is not [`Name::Other`] nor [`Name::Date`].
    #[inline]
    pub(crate) fn of_kind(&self, kind: Name) -> impl DoubleEndedIterator<Item = &Line> {
        self.marked().filter(move |line| line.kind == kind)
    }

    /// Copies the head to `out`, `from` a place before the first line, but those lines that `keep` turns down; neighbours in one
    /// piece. Unless `every` line is to be asked about, those that mean nothing to us are kept.
    #[inline]
    pub(crate) fn copy(
        &self,
        out: &mut Vec<u8>,
        head: &[u8],
        (mut from, every): (usize, bool),
        mut keep: impl FnMut(&Line) -> bool,
    ) {
        let end = self.all.last().map_or(self.begin, |line| line.whole.end as usize);
        let mut look = |line: &Line| {
            if !keep(line) {
                let before = from..line.whole.start as usize;
                if !before.is_empty() {
                    out.extend_from_slice(&head[before]);
                }
                from = line.whole.end as usize;
            }
        };
        if every {
            self.iter().for_each(&mut look);
        } else {
            self.marked().for_each(&mut look);
        }
        out.extend_from_slice(&head[from..end]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_however_the_bytes_arrive() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for split in 0..head.len() {
            let mut scanned = 0;
            let first = find_end(&head[..split], &mut scanned);
            let end = if let HeadEnd::At(end) = first {
                end
            } else {
                assert_eq!(first, HeadEnd::Missing);
                let HeadEnd::At(end) = find_end(head, &mut scanned) else {
                    panic!("not found after {split}")
                };
                end
            };
            assert_eq!(end, head.len() - 4);
        }
        assert_eq!(find_end(b"GET / HTTP/1.1\nHost: a\n\n", &mut 0), HeadEnd::BadLineEnd);
    }
}
