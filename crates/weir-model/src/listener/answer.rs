//! Pages for the answers that weir gives itself.

use std::sync::Arc;

/// What clients read instead of weir's own words when weir answers with this status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// 400 to 599.
    pub status: u16,
    /// The value of Content-Type.
    pub content_type: &'static str,
    /// The file, as it was when the configuration was read; at most [`ErrorPage::LARGEST`] bytes.
    pub body: Arc<[u8]>,
}

impl ErrorPage {
    /// The most bytes that a page may have.
    pub const LARGEST: usize = 1 << 20;

    /// The statuses that weir answers with by itself, ascending.
    pub const STATUSES: [u16; 14] = [400, 403, 404, 405, 408, 413, 414, 417, 421, 431, 502, 503, 504, 505];

    /// The Content-Type of a file by the end of its name; `None` if the end says nothing.
    pub fn content_type(file: &str) -> Option<&'static str> {
        let (_, end) = file.rsplit_once('.')?;
        match end.to_ascii_lowercase().as_str() {
            "html" | "htm" => Some("text/html; charset=utf-8"),
            "txt" => Some("text/plain; charset=utf-8"),
            "json" => Some("application/json"),
            "xml" => Some("application/xml"),
            _ => None,
        }
    }
}
