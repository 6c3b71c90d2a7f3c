//! The TLS that begins here: what connections to the backends of a pool are made with.
//!
//! Connections to one address can be resumed with one another, by whatever worker they are made: tickets of TLS 1.3 are
//! used once each, by who comes first. Nothing is shared between two addresses, and nothing outlives a change of what the
//! pool says about TLS.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ClientConfig, RootCertStore,
    client::{ClientSessionMemoryCache, Resumption},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use weir_model::{
    listener::Address,
    pool::Endpoint,
    tls::{Certificate, Origination, PrivateKey},
};

use super::trust::{Unverified, Verified, failed};
use crate::{
    error::{Cause, ProxyError},
    io::Stream,
};

/// Sessions that are remembered for each address.
const SESSIONS: usize = 32;
/// Addresses that sessions are remembered for; backends that come and go must not add up.
const ADDRESSES: usize = 4096;

/// What travels on a connection, as far as both ends have to agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(dead_code, reason = "requests go by HTTP/1.1 alone until shared connections are there")]
pub(crate) enum Carries {
    /// Requests, by HTTP/2 or HTTP/1.1: by whichever of the two the backend prefers. What was agreed on is in the facts of the
    /// stream; HTTP/1.1 if that is nothing.
    Requests,
    /// Requests, by HTTP/1.1.
    Http1,
    /// Requests, by HTTP/2.
    H2,
    /// Anything: nothing is said.
    Bytes,
}

impl Carries {
    /// What is offered by ALPN (RFC 7301 section 6, RFC 9113 section 3.2), the preferred one first.
    const fn offers(self) -> &'static [&'static [u8]] {
        match self {
            Self::Requests => &[b"h2", b"http/1.1"],
            Self::Http1 => &[b"http/1.1"],
            Self::H2 => &[b"h2"],
            Self::Bytes => &[],
        }
    }
}

/// How TLS is spoken to the backends of a pool.
pub(crate) struct Client {
    base: ClientConfig,
    /// The name that is asked for and verified whatever the backend is called.
    server_name: Option<ServerName<'static>>,
    /// With a memory of its own for each address.
    by_address: Mutex<HashMap<(Address, Carries), Arc<ClientConfig>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Client {
    /// Makes it.
    ///
    /// # Errors
    /// Why it cannot be, with the remedy, for people.
    pub(super) fn new(
        origination: &Origination,
        provider: &Arc<CryptoProvider>,
        system: &mut SystemRoots,
    ) -> Result<Self, String> {
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous();
        let builder = if origination.verify {
            let verified = match &origination.authorities {
                Some(authorities) => {
                    let named: Vec<_> =
                        authorities.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
                    Verified::new(Arc::new(roots(&named)?), named, provider)?
                }
                None => Verified::new(system.roots()?, Vec::new(), provider)?,
            };
            builder.with_custom_certificate_verifier(Arc::new(verified))
        } else {
            builder.with_custom_certificate_verifier(Arc::new(Unverified(provider.clone())))
        };
        let mut base = match &origination.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = (chain(identity), key(identity));
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    format!("the certificate of `{}` cannot be shown: {error}", identity.name)
                })?
            }
        };
        // Records are sealed and opened by the connection itself once both ends have shaken hands.
        base.enable_secret_extraction = true;
        base.resumption = Resumption::disabled();
        let server_name = origination.server_name.as_deref();
        let server_name = server_name.map(|name| name_of(name).ok_or(format!("`{name}` is no host name")));
        Ok(Self { base, server_name: server_name.transpose()?, by_address: Mutex::default() })
    }

    /// The handshake on a connection that was made to a backend.
    ///
    /// # Errors
    /// If no TLS could be agreed on, or the certificate of the backend is not believed, or it has to speak HTTP/2 and does not.
    pub(crate) async fn secure(
        &self,
        stream: &mut Stream,
        (endpoint, address): (&Endpoint, &Address),
        carries: Carries,
    ) -> Result<(), ProxyError> {
        let name = self.name(endpoint, address);
        // Whoever asks for the connection sees to its time.
        let secured = super::connect(stream, self.config(address, carries), name.clone(), |_| false).await;
        secured.map_err(|failure| failed(&failure, &name, carries))?;
        let agreed = stream.facts().and_then(|facts| facts.alpn.as_deref());
        if carries == Carries::H2 && agreed != Some(b"h2") {
            return Err(ProxyError::with(Cause::BackendNoH2, "it agreed on no protocol (ALPN)"));
        }
        Ok(())
    }

    /// What a connection to this address is made with.
    fn config(&self, address: &Address, carries: Carries) -> Arc<ClientConfig> {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (address.clone(), carries);
        if let Some(config) = by_address.get(&key) {
            return config.clone();
        }
        if by_address.len() >= ADDRESSES {
            by_address.clear();
        }
        let mut config = self.base.clone();
        config.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(SESSIONS)));
        config.alpn_protocols = carries.offers().iter().map(|name| name.to_vec()).collect();
        by_address.entry(key).or_insert(Arc::new(config)).clone()
    }

    /// The name that is asked for and verified at a backend: that of `tls.sni`, else its host name, else its address, which
    /// cannot be asked for, but is verified.
    fn name(&self, endpoint: &Endpoint, address: &Address) -> ServerName<'static> {
        if let Some(name) = &self.server_name {
            return name.clone();
        }
        if let Endpoint::Name(host, _) = endpoint
            && let Some(name) = name_of(host)
        {
            return name;
        }
        // A socket of this machine has no address. Where that is verified, a name was asked for when compiling.
        let nowhere = IpAddr::from([127, 0, 0, 1]);
        ServerName::IpAddress(address.ip().map_or(nowhere, |address| address.ip().to_canonical()).into())
    }
}

/// A host name or an address.
fn name_of(text: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(text.strip_suffix('.').unwrap_or(text).to_owned()).ok()
}

fn chain(certificate: &Certificate) -> Vec<CertificateDer<'static>> {
    certificate.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect()
}

fn key(certificate: &Certificate) -> PrivateKeyDer<'static> {
    match &certificate.key {
        PrivateKey::Pkcs1(der) => PrivateKeyDer::Pkcs1(der.to_vec().into()),
        PrivateKey::Sec1(der) => PrivateKeyDer::Sec1(der.to_vec().into()),
        PrivateKey::Pkcs8(der) => PrivateKeyDer::Pkcs8(der.to_vec().into()),
    }
}

fn roots(authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|error| format!("`tls.ca` cannot be used: {error}"))?;
    }
    Ok(roots)
}

/// Whom the system trusts, read when somebody first asks.
#[derive(Debug, Default)]
pub(super) struct SystemRoots(Option<Arc<RootCertStore>>);

impl SystemRoots {
    fn roots(&mut self) -> Result<Arc<RootCertStore>, String> {
        if let Some(roots) = &self.0 {
            return Ok(roots.clone());
        }
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Bundles of systems hold certificates that nobody can read: the others count.
        let (usable, _) = roots.add_parsable_certificates(found.certs);
        if usable == 0 {
            let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
            return Err(format!(
                "this machine trusts no authority{why}: install its bundle (`ca-certificates`), or give the CA in `tls.ca`"
            ));
        }
        Ok(self.0.insert(Arc::new(roots)).clone())
    }
}

#[cfg(test)]
mod tests;
