//! What a TLS client says first, for tests of what is decided by that alone.

/// A ClientHello in the making (RFC 8446 section 4.1.2). Nobody can finish a handshake that begins with it.
#[derive(Clone, Debug, Default)]
pub struct ClientHello {
    extensions: Vec<u8>,
}

impl ClientHello {
    /// One that asks for nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for a host (RFC 6066 section 3).
    #[must_use]
    pub fn server_name(self, name: &str) -> Self {
        self.extension(0, &long(&[&[0][..], &long(name.as_bytes())].concat()))
    }

    /// Offers protocols (RFC 7301).
    #[must_use]
    pub fn alpn(self, protocols: &[&str]) -> Self {
        let list: Vec<u8> =
            protocols.iter().flat_map(|name| [&[name.len() as u8], name.as_bytes()].concat()).collect();
        self.extension(16, &long(&list))
    }

    /// Makes it larger by so many bytes, as a share for a post-quantum key does.
    #[must_use]
    pub fn padding(self, length: usize) -> Self {
        self.extension(21, &vec![0; length])
    }

    fn extension(mut self, kind: u16, content: &[u8]) -> Self {
        self.extensions.extend(kind.to_be_bytes());
        self.extensions.extend(long(content));
        self
    }

    /// Its bytes in records of at most so many.
    pub fn in_records_of(&self, size: usize) -> Vec<u8> {
        let fixed = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0]].concat();
        let body = [fixed, long(&self.extensions)].concat();
        let message = [&[1][..], &(body.len() as u32).to_be_bytes()[1..], &body].concat();
        message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &long(part)].concat()).collect()
    }

    /// Its bytes, in as few records as they need.
    pub fn bytes(&self) -> Vec<u8> {
        self.in_records_of(1 << 14)
    }
}

/// What stands behind a length of two bytes.
fn long(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes(), content].concat()
}

/// A fatal alert of that number, as it is sent to a client with which nothing has been agreed.
pub const fn fatal_alert(number: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, number]
}
