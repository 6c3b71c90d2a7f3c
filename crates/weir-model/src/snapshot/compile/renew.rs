//! Certificates that are renewed: only what shows or believes them is made anew, and everything else is shared with the
//! snapshot that runs.

use std::sync::Arc;

use crate::{
    draft::{AuthoritiesDraft, CertificateDraft, Draft, filled},
    snapshot::Snapshot,
    tls::{Certificate, ClientAuth, Slot, Termination},
};

/// Whose TLS it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The listener of this name.
    Listener(Arc<str>),
}

/// What came from files for one TLS.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Whose it is.
    pub owner: Owner,
    /// What it shows, in the order of the file.
    pub certificates: Vec<CertificateDraft>,
    /// Whom it believes.
    pub authorities: Option<AuthoritiesDraft>,
}

/// What comes in place of [`Credentials`].
#[derive(Clone, Debug)]
pub struct Renewed {
    /// Whose it is.
    pub owner: Owner,
    /// As many as before, in the same order.
    pub certificates: Vec<Arc<Certificate>>,
    /// None if it believed nobody before.
    pub authorities: Option<Vec<Arc<[u8]>>>,
}

/// What came from files for all TLS of a draft, with the defaults filled in: what has to be looked at again and again.
pub fn credentials(draft: &Draft) -> Vec<Credentials> {
    let of_listeners = draft.listeners.iter().filter_map(|listener| {
        let listener = filled(listener, &draft.defaults.listener, |listener, from| listener.fill(from));
        let tls = listener.tls?.value;
        Some(Credentials {
            owner: Owner::Listener(listener.name.value.as_str().into()),
            certificates: tls.certificates.map(|setting| setting.value).unwrap_or_default(),
            authorities: tls.client_auth.and_then(|auth| auth.value.ca),
        })
    });
    of_listeners.collect()
}

/// The successor of a running snapshot that shows and believes these. Owners that it does not have are left out.
pub fn renewed(running: &Snapshot, renewed: &[Renewed]) -> Snapshot {
    let mut listeners = running.listeners.clone();
    for Renewed { owner, certificates, authorities } in renewed {
        let Owner::Listener(name) = owner;
        let Some(listener) = listeners.iter_mut().find(|listener| listener.name == *name) else { continue };
        let Some(tls) = &listener.tls else { continue };
        let client_auth = tls.client_auth.as_ref().zip(authorities.as_ref());
        let tls = Termination {
            certificates: certificates.clone(),
            min_version: tls.min_version,
            alpn: tls.alpn.clone(),
            client_auth: client_auth.map(|(auth, authorities)| ClientAuth {
                authorities: authorities.clone(),
                required: auth.required,
            }),
            prepared: Slot::default(),
        };
        *listener = Arc::new(listener.with_tls(tls));
    }
    Snapshot {
        generation: running.generation + 1,
        listeners,
        pools: running.pools.clone(),
        process: running.process.clone(),
        connections_given: running.connections_given,
        logging: running.logging.clone(),
        proofs: running.proofs.clone(),
    }
}
