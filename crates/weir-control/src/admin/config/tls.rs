//! TLS as it runs: names and dates; keys are shown to nobody.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_model::{
    acme::Acme,
    tls::{Certificate, ClientAuth, Termination, Version},
};

use crate::config::certificates::date;

/// The TLS that ends at a listener.
pub(super) fn termination(tls: &Termination) -> Value {
    let certificate = |certificate: &Arc<Certificate>| {
        json!({
            "cert": &*certificate.name,
            "names": certificate.names,
            "not_after": date(certificate.not_after),
            "chain": certificate.chain.len(),
            "ocsp": certificate.ocsp.is_some(),
        })
    };
    let mode = |auth: &ClientAuth| if auth.required { "require" } else { "optional" };
    json!({
        "certificates": tls.certificates.iter().map(certificate).collect::<Vec<_>>(),
        "min_version": match tls.min_version {
            Version::Tls12 => "1.2",
            Version::Tls13 => "1.3",
        },
        "alpn": tls.alpn.iter().map(|name| name.escape_ascii().to_string()).collect::<Vec<_>>(),
        "client_auth": tls.client_auth.as_ref().map(|auth| json!({
            "mode": mode(auth),
            "authorities": auth.authorities.len(),
        })),
    })
}

/// The certificate that an authority issues for a listener.
pub(super) fn acme(acme: &Acme) -> Value {
    json!({
        "directory": &*acme.directory,
        "email": acme.email.as_deref(),
        "domains": acme.domains.iter().map(|domain| &**domain).collect::<Vec<_>>(),
        "storage": acme.storage.display().to_string(),
        "challenge": acme.challenge.word(),
        "ca": acme.authorities.as_ref().map(Vec::len),
    })
}
