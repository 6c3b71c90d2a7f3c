//! What can be asked about a connection of which no request is read.

use std::net::IpAddr;

use super::RequestFacts;
use crate::tls::Identity;

/// What is known of a connection when its route is looked for.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionFacts<'c> {
    /// The client's address after trust was applied.
    pub source: IpAddr,
    /// The host that the client asked for when it began TLS, in lower case and without a final dot.
    pub server_name: Option<&'c str>,
    /// Protocols named by ALPN: those that the client offers where TLS is passed through, the one that was agreed on where
    /// TLS ends here.
    pub alpn: ProtocolNames<'c>,
    /// Who the client is by a certificate that was verified.
    pub identity: Option<&'c Identity>,
}

impl ConnectionFacts<'_> {
    /// A connection of which nothing is known but where it comes from.
    pub const fn from(source: IpAddr) -> Self {
        Self { source, server_name: None, alpn: ProtocolNames::none(), identity: None }
    }
}

/// Protocols as ALPN names them (RFC 7301 section 3.1): each behind its length of one byte. A length that does not fit ends
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolNames<'n> {
    /// One that stands alone.
    agreed: Option<&'n [u8]>,
    /// Those that follow.
    listed: &'n [u8],
}

impl<'n> ProtocolNames<'n> {
    /// None.
    pub const fn none() -> Self {
        Self { agreed: None, listed: &[] }
    }

    /// Those that a client offers, as it sent them.
    pub const fn offered(listed: &'n [u8]) -> Self {
        Self { agreed: None, listed }
    }

    /// The one that was agreed on, if any was.
    pub const fn agreed(agreed: Option<&'n [u8]>) -> Self {
        Self { agreed, listed: &[] }
    }
}

impl<'n> Iterator for ProtocolNames<'n> {
    type Item = &'n [u8];

    fn next(&mut self) -> Option<&'n [u8]> {
        if let Some(agreed) = self.agreed.take() {
            return Some(agreed);
        }
        let (&length, behind) = self.listed.split_first()?;
        let (name, behind) = behind.split_at_checked(usize::from(length))?;
        self.listed = behind;
        Some(name)
    }
}

/// Nothing that only a request has holds for it.
impl RequestFacts for ConnectionFacts<'_> {
    fn method(&self) -> &[u8] {
        &[]
    }

    fn host(&self) -> &[u8] {
        &[]
    }

    fn path(&self) -> &[u8] {
        &[]
    }

    fn query(&self) -> Option<&[u8]> {
        None
    }

    fn any_header(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }

    fn source(&self) -> IpAddr {
        self.source
    }

    fn server_name(&self) -> Option<&str> {
        self.server_name
    }

    fn any_protocol(&self, each: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut names = self.alpn;
        names.any(each)
    }

    fn identity(&self) -> Option<&Identity> {
        self.identity
    }
}
