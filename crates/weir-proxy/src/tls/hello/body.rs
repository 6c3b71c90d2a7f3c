//! The fields of a ClientHello, its extensions included.

use super::{Bad, Hello, name};

/// Extensions that are understood (RFC 8446 section 4.2, RFC 6066, RFC 7301, RFC 5077, RFC 9849).
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SESSION_TICKET: u16 = 35;
const PRE_SHARED_KEY: u16 = 41;
const SUPPORTED_VERSIONS: u16 = 43;
const ENCRYPTED_HELLO: u16 = 0xfe0d;

/// What the body of a ClientHello says: everything behind the head of the message.
pub(super) fn parse(body: &[u8]) -> Result<Hello, Bad> {
    let mut rest = Rest(body);
    let version = rest.number()?;
    let _random = rest.take(32)?;
    let session = rest.short()?;
    let ciphers = rest.long()?;
    let compression = rest.short()?;
    if session.0.len() > 32 || ciphers.0.len() < 2 || ciphers.0.len() % 2 != 0 || compression.0.is_empty() {
        return Err(Bad::Malformed);
    }
    let mut hello = Hello { newest: version, ..Hello::default() };
    // Extensions as a whole may be left out (RFC 5246 section 7.4.1.2).
    if !rest.0.is_empty() {
        let mut extensions = rest.long()?;
        rest.end()?;
        let mut seen = Seen::default();
        while !extensions.0.is_empty() {
            let kind = extensions.number()?;
            let content = extensions.long()?;
            seen.note(kind)?;
            extension(&mut hello, kind, content)?;
        }
    }
    Ok(hello)
}

fn extension(hello: &mut Hello, kind: u16, mut content: Rest<'_>) -> Result<(), Bad> {
    match kind {
        SERVER_NAME => hello.server_name = server_name(content)?,
        ALPN => {
            let mut protocols = content.long()?;
            content.end()?;
            let sent = protocols.0;
            if sent.is_empty() {
                return Err(Bad::Malformed);
            }
            while !protocols.0.is_empty() {
                if protocols.short()?.0.is_empty() {
                    return Err(Bad::Malformed);
                }
            }
            hello.alpn = sent.into();
        }
        SUPPORTED_VERSIONS => {
            let mut versions = content.short()?;
            content.end()?;
            let mut newest = None;
            while !versions.0.is_empty() {
                let version = versions.number()?;
                // Greased ones (RFC 8701) mean nothing.
                if version >> 8 == 3 {
                    newest = newest.max(Some(version));
                }
            }
            hello.newest = newest.unwrap_or(hello.newest);
        }
        // An empty one only asks for a ticket.
        SESSION_TICKET => hello.resumes |= !content.0.is_empty(),
        PRE_SHARED_KEY => hello.resumes = true,
        ENCRYPTED_HELLO => hello.encrypted = true,
        _ => {}
    }
    Ok(())
}

/// The one host name in a list of names.
fn server_name(mut content: Rest<'_>) -> Result<Option<Box<str>>, Bad> {
    let mut names = content.long()?;
    content.end()?;
    if names.0.is_empty() {
        return Err(Bad::Malformed);
    }
    let mut host = None;
    while !names.0.is_empty() {
        let [kind] = names.array()?;
        let name = names.long()?;
        // Other kinds of names have a length as well, and mean nothing.
        if kind == 0 && host.replace(name.0).is_some() {
            return Err(Bad::Repeated);
        }
    }
    host.map_or(Ok(None), name::judge)
}

/// Which of the extensions that are understood have come: said twice, they could be read in two ways.
#[derive(Default)]
struct Seen(u8);

impl Seen {
    fn note(&mut self, kind: u16) -> Result<(), Bad> {
        const KINDS: [u16; 6] =
            [SERVER_NAME, ALPN, SESSION_TICKET, PRE_SHARED_KEY, SUPPORTED_VERSIONS, ENCRYPTED_HELLO];
        let Some(place) = KINDS.iter().position(|known| *known == kind) else { return Ok(()) };
        if self.0 & 1 << place != 0 {
            return Err(Bad::Repeated);
        }
        self.0 |= 1 << place;
        Ok(())
    }
}

/// What is left to read.
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8], Bad> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Bad::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Bad::Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u16, Bad> {
        self.array().map(u16::from_be_bytes)
    }

    /// Behind a length of one byte.
    fn short(&mut self) -> Result<Self, Bad> {
        let [length] = self.array()?;
        self.take(usize::from(length)).map(Self)
    }

    /// Behind a length of two bytes.
    fn long(&mut self) -> Result<Self, Bad> {
        let length = self.number()?;
        self.take(usize::from(length)).map(Self)
    }

    /// Nothing may be left.
    const fn end(&self) -> Result<(), Bad> {
        if self.0.is_empty() { Ok(()) } else { Err(Bad::Malformed) }
    }
}
