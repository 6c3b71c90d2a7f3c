//! Where a head ends, and where its lines are.

use std::ops::Range;

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

/// Copies lines to `out` while `keep` says so; neighbours are copied in one piece.
pub(crate) fn copy_lines(
    out: &mut Vec<u8>,
    head: &[u8],
    lines: &[Line],
    mut keep: impl FnMut(&Line) -> bool,
) {
    let mut run: Option<Range<u32>> = None;
    for line in lines {
        if keep(line) {
            let start = run.map_or(line.whole.start, |run| run.start);
            run = Some(start..line.whole.end);
        } else if let Some(run) = run.take() {
            out.extend_from_slice(&head[run.start as usize..run.end as usize]);
        }
    }
    if let Some(run) = run {
        out.extend_from_slice(&head[run.start as usize..run.end as usize]);
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
