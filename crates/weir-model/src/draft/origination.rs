//! TLS to backends, as a file says it.

use super::{AuthoritiesDraft, CertificateDraft, Setting, Text};

/// The `tls` of a pool, unchecked; see [`crate::tls::Origination`]. What it names has been read.
#[derive(Clone, Debug, Default)]
pub struct OriginationDraft {
    /// `none`: none is spoken, whatever the defaults say.
    pub off: bool,
    /// Whether certificates of backends have to be valid.
    pub verify: Setting<bool>,
    /// Whose signature they have to bear.
    pub authorities: Setting<AuthoritiesDraft>,
    /// The name that they have to be for.
    pub server_name: Option<Text>,
    /// What weir shows of itself.
    pub identity: Setting<CertificateDraft>,
}

impl OriginationDraft {
    /// Takes absent keys from the defaults. Those that contradict what is written here are left out.
    pub(super) fn fill(&mut self, from: &Self) {
        let Self { off, verify, authorities, server_name, identity } = self;
        if *off || from.off {
            return;
        }
        let unverified = |verify: &Setting<bool>| verify.as_ref().is_some_and(|verify| !verify.value);
        if verify.is_none() && (authorities.is_none() || !unverified(&from.verify)) {
            verify.clone_from(&from.verify);
        }
        if authorities.is_none() && !unverified(verify) {
            authorities.clone_from(&from.authorities);
        }
        if server_name.is_none() {
            server_name.clone_from(&from.server_name);
        }
        if identity.is_none() {
            identity.clone_from(&from.identity);
        }
    }
}
