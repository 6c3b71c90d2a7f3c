//! Certificates that are renewed: only what shows or believes them is made anew, and everything else is shared with the
//! snapshot that runs.

use std::sync::Arc;

use crate::{
    draft::{AuthoritiesDraft, CertificateDraft, Draft, PoolDraft, filled},
    pool::Pool,
    snapshot::Snapshot,
    tls::{Certificate, ClientAuth, Origination, Slot, Termination},
};

/// Whose TLS it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The listener of this name.
    Listener(Arc<str>),
    /// The pool of this name.
    Pool(Arc<str>),
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
    let of_pools = draft.pools.iter().filter_map(|pool| {
        let pool = filled(pool, &draft.defaults.pool, |pool, from| pool.fill(from));
        let tls = pool.tls?.value;
        let credentials = Credentials {
            owner: Owner::Pool(pool.name.value.as_str().into()),
            certificates: tls.identity.map(|setting| setting.value).into_iter().collect(),
            authorities: tls.authorities.map(|setting| setting.value),
        };
        (!tls.off && (!credentials.certificates.is_empty() || credentials.authorities.is_some()))
            .then_some(credentials)
    });
    of_listeners.chain(of_pools).collect()
}

/// The successor of a running snapshot that shows and believes these. Owners that it does not have are left out.
pub fn renewed(running: &Snapshot, renewed: &[Renewed]) -> Snapshot {
    let (mut listeners, mut pools) = (running.listeners.clone(), running.pools.clone());
    for new in renewed {
        match &new.owner {
            Owner::Listener(name) => {
                let listener = listeners.iter_mut().find(|listener| listener.name == *name);
                if let Some((listener, tls)) = listener.and_then(|own| own.tls.clone().map(|tls| (own, tls)))
                {
                    *listener = Arc::new(listener.with_tls(terminating(&tls, new)));
                }
            }
            Owner::Pool(name) => {
                let pool = pools.iter_mut().find(|pool| pool.name == *name);
                if let Some((pool, tls)) = pool.and_then(|own| own.tls.clone().map(|tls| (own, tls))) {
                    let tls = Some(Arc::new(originating(&tls, new)));
                    *pool = Arc::new(Pool { tls, ..Pool::clone(pool) });
                }
            }
        }
    }
    Snapshot {
        generation: running.generation + 1,
        listeners,
        pools,
        process: running.process.clone(),
        connections_given: running.connections_given,
        logging: running.logging.clone(),
    }
}

fn terminating(tls: &Termination, new: &Renewed) -> Termination {
    let client_auth = tls.client_auth.as_ref().zip(new.authorities.as_ref());
    Termination {
        certificates: new.certificates.clone(),
        min_version: tls.min_version,
        alpn: tls.alpn.clone(),
        client_auth: client_auth.map(|(auth, authorities)| ClientAuth {
            authorities: authorities.clone(),
            required: auth.required,
        }),
        prepared: Slot::default(),
    }
}

fn originating(tls: &Origination, new: &Renewed) -> Origination {
    Origination {
        verify: tls.verify,
        authorities: new.authorities.clone(),
        server_name: tls.server_name.clone(),
        identity: new.certificates.first().cloned(),
        prepared: Slot::default(),
    }
}

/// Puts what was renewed into the draft of a pool, which may be compiled again when something was discovered for it.
pub fn renew_draft(draft: &mut PoolDraft, renewed: &[Renewed]) {
    let is_own = |new: &&Renewed| matches!(&new.owner, Owner::Pool(name) if **name == *draft.name.value);
    let (Some(new), Some(tls)) = (renewed.iter().find(is_own), &mut draft.tls) else { return };
    if let (Some(identity), Some(read)) = (&mut tls.value.identity, new.certificates.first()) {
        identity.value.read = read.clone();
    }
    if let (Some(authorities), Some(read)) = (&mut tls.value.authorities, &new.authorities) {
        authorities.value.read.clone_from(read);
    }
}
