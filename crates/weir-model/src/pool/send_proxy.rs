//! The PROXY header that connections to backends begin with, as a pool says it.

/// What is told to backends about the clients that connections are made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendProxy {
    /// The form of the header.
    pub version: ProxyVersion,
    /// What it says beyond addresses; only version 2 can.
    pub tlvs: Vec<ProxyTlv>,
}

/// The version of a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyVersion {
    /// The word of files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// A fact that a PROXY header of version 2 can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyTlv {
    /// The protocol that the client has agreed on by ALPN.
    Alpn,
    /// The host name that the client has asked for when it began TLS.
    Authority,
    /// What the connection is called in logs.
    UniqueId,
    /// A checksum of the header.
    Crc32c,
}

impl ProxyTlv {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Alpn, Self::Authority, Self::UniqueId, Self::Crc32c];

    /// The word of files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Alpn => "alpn",
            Self::Authority => "authority",
            Self::UniqueId => "unique_id",
            Self::Crc32c => "crc32c",
        }
    }
}

impl SendProxy {
    /// True if the header carries this fact.
    pub fn tells(&self, tlv: ProxyTlv) -> bool {
        self.tlvs.contains(&tlv)
    }
}
