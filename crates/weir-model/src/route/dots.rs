//! Dot segments of paths (RFC 3986 sections 3.3 and 5.2.4), with their dots encoded or not.

/// True if a segment of the path is `.` or `..`.
pub fn has_dot_segments(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|segment| dots(segment) > 0)
}

/// Carries dot segments out: what is left of the path names the same folder, and never one above the root.
pub fn resolve_dot_segments(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let below_root = path.strip_prefix(b"/").unwrap_or(path);
    let mut segments = below_root.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        match dots(segment) {
            0 => {
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
            2 => out.truncate(out.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            _ => {}
        }
        // A dot segment at the end leaves the folder it names.
        if segments.peek().is_none() {
            out.push(b'/');
        }
    }
    out
}

/// Leaves dot segments out, so that none leads out of the folder in which it stands.
pub(super) fn drop_dot_segments(path: &[u8]) -> Vec<u8> {
    let kept: Vec<_> = path.split(|byte| *byte == b'/').filter(|segment| dots(segment) == 0).collect();
    let mut out = kept.join(&b'/');
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// 1 for `.`, 2 for `..`, in any encoding; 0 for everything else.
fn dots(segment: &[u8]) -> usize {
    let (mut count, mut rest) = (0, segment);
    while !rest.is_empty() {
        rest = match rest {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return 0,
        };
        count += 1;
    }
    if count <= 2 { count } else { 0 }
}
