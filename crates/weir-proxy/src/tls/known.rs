//! What is known of the TLS of a connection from a client: what it asked for, what was agreed on, and who it is.

use weir_model::{
    route::ProtocolNames,
    tls::{Identity, Version},
};

use super::{Facts, hello::Hello};

/// What is known of the TLS of one connection; nothing for one in clear text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known<'c> {
    /// What the client said when it began.
    pub(crate) hello: Option<&'c Hello>,
    /// What the handshake found out; none where TLS is passed through.
    pub(crate) facts: Option<&'c Facts>,
    /// The client speaks TLS, which ends here, or where the PROXY header of the connection comes from.
    pub(crate) secure: bool,
}

impl<'c> Known<'c> {
    /// True if TLS ends here: what travels on the connection was not seen by others.
    pub(crate) const fn ends_here(self) -> bool {
        self.facts.is_some()
    }

    /// The host that the client asked for, in lower case and without a final dot.
    pub(crate) fn server_name(self) -> Option<&'c str> {
        self.hello.and_then(|hello| hello.server_name.as_deref())
    }

    /// The protocol that was agreed on by ALPN, or those that the client offers where TLS is passed through.
    pub(crate) fn protocols(self) -> ProtocolNames<'c> {
        match (self.facts, self.hello) {
            (Some(facts), _) => ProtocolNames::agreed(facts.alpn.as_deref()),
            (None, Some(hello)) => hello.alpn(),
            (None, None) => ProtocolNames::none(),
        }
    }

    /// True if HTTP/2 was agreed on.
    #[inline]
    pub(crate) fn is_multiplexed(self) -> bool {
        self.facts.is_some_and(|facts| facts.alpn.as_deref() == Some(b"h2"))
    }

    /// Who the client is, if it has shown a certificate that was verified.
    pub(crate) fn identity(self) -> Option<&'c Identity> {
        self.facts.and_then(Facts::identity)
    }

    /// The version, as OpenSSL writes it.
    pub(crate) fn version(self) -> &'static str {
        match self.facts.map(|facts| facts.version) {
            Some(Version::Tls13) => "TLSv1.3",
            Some(Version::Tls12) => "TLSv1.2",
            None => "",
        }
    }

    /// The cipher suite, as its standard names it.
    pub(crate) fn cipher(self) -> &'static str {
        // The library names those of TLS 1.3 in a way of its own.
        match self.facts.map_or("", |facts| facts.cipher) {
            "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
            "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
            "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
            other => other,
        }
    }
}
