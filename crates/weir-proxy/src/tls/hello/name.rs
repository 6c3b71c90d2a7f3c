//! The name in a ClientHello, judged as the name of a host (RFC 6066 section 3, RFC 1123 section 2.1).

use std::net::{IpAddr, Ipv4Addr};

use super::Bad;

/// The longest name, and the longest label of one (RFC 1035 section 2.3.4).
const LONGEST: usize = 253;
const LONGEST_LABEL: usize = 63;

/// The name in lower case and without a final dot. An address is no name: clients that send one want what is there for those
/// that send none.
pub(super) fn judge(sent: &[u8]) -> Result<Option<Box<str>>, Bad> {
    let text = std::str::from_utf8(sent).map_err(|_| Bad::Name)?;
    if text.parse::<IpAddr>().is_ok() {
        return Ok(None);
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() || text.len() > LONGEST || !text.split('.').all(is_label) {
        return Err(Bad::Name);
    }
    if text.parse::<Ipv4Addr>().is_ok() {
        return Ok(None);
    }
    Ok(Some(text.to_ascii_lowercase().into_boxed_str()))
}

/// Underscores stand in names that exist, whatever the standards say.
fn is_label(label: &str) -> bool {
    (1..=LONGEST_LABEL).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}
