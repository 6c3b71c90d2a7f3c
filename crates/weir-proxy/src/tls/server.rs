//! What a listener that ends TLS needs: made once of its [`Termination`], shared by all workers.

use std::{cell::Cell, sync::Arc};

use ::aws_lc_rs::digest;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, UnbufferedServerConnection,
        WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
};
use weir_model::{
    status::Proofs,
    tls::{Certificate, ClientAuth, PrivateKey, Termination, Version},
};

use super::tickets::{Rules, Ticketer, Tickets};

/// Bytes of early data that are passed over: what common servers accept of it at most.
const MOST_PASSED_OVER: u32 = 64 * 1024;

thread_local! {
    /// The name that the client asked for whose hello this thread took in last.
    static ASKED: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

/// What handshakes of one listener go by.
#[derive(Debug)]
pub(crate) struct ServerContext {
    config: Arc<ServerConfig>,
}

impl ServerContext {
    /// # Errors
    /// If the crypto library does not take a key or a certificate: which one, and why.
    pub(super) fn new(
        termination: &Termination,
        provider: &Arc<CryptoProvider>,
        tickets: &Arc<Tickets>,
    ) -> Result<Self, String> {
        let resolver = Resolver::new(&termination.certificates, provider)?;
        let verifier = client_verifier(termination.client_auth.as_ref(), provider)?;
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(super::versions(termination.min_version))
            .map_err(|error| error.to_string())?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = termination.alpn.iter().map(|name| name.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let rules = rules(termination.client_auth.as_ref());
        // No worker has to wait for them.
        tickets.begin();
        config.ticketer = Arc::new(Ticketer { tickets: tickets.clone(), rules });
        // Nobody is offered early data, since tickets are stateless (RFC 8446 section 8). Clients with tickets of another
        // server may send some all the same; up to so much of it is passed over.
        config.max_early_data_size = MOST_PASSED_OVER;
        // Records are sealed and opened by the session itself.
        config.enable_secret_extraction = true;
        Ok(Self { config: Arc::new(config) })
    }

    /// For one handshake with an authority that wants to see this proof (RFC 8737).
    ///
    /// # Errors
    /// If the crypto library does not take it.
    pub(super) fn of_proof(proof: &Certificate) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        // Whether key and certificate belong together is not looked at here: rustls does not know its critical extension.
        let key = provider.key_provider.load_private_key(private_key(&proof.key));
        let first = Arc::new(CertifiedKey::new(chain(proof), key.map_err(|error| error.to_string())?));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(super::versions(Version::Tls12))
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver { first, by_name: Vec::new() }));
        config.alpn_protocols = vec![Proofs::ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.enable_secret_extraction = true;
        Ok(Self { config: Arc::new(config) })
    }

    /// The beginning of a handshake.
    pub(super) fn begin(&self) -> Result<UnbufferedServerConnection, rustls::Error> {
        UnbufferedServerConnection::new(self.config.clone())
    }
}

/// The name that the client asked for whose handshake this thread has just brought forward.
pub(super) fn take_asked() -> Option<Box<str>> {
    ASKED.take()
}

/// What a client had to prove for a ticket to be given to it.
fn rules(client_auth: Option<&ClientAuth>) -> Rules {
    let mut context = digest::Context::new(&digest::SHA256);
    if let Some(ClientAuth { authorities, required }) = client_auth {
        context.update(if *required { b"required" } else { b"optional" });
        for authority in authorities {
            context.update(&(authority.len() as u64).to_be_bytes());
            context.update(authority);
        }
    }
    let mut rules = Rules::default();
    rules.copy_from_slice(context.finish().as_ref());
    rules
}

fn client_verifier(
    client_auth: Option<&ClientAuth>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let Some(ClientAuth { authorities, required }) = client_auth else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let added = roots.add(CertificateDer::from(authority.to_vec()));
        added.map_err(|error| format!("an authority of client certificates cannot be used: {error}"))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier = if *required { verifier } else { verifier.allow_unauthenticated() };
    verifier.build().map_err(|error| format!("client certificates cannot be verified: {error}"))
}

fn chain(certificate: &Certificate) -> Vec<CertificateDer<'static>> {
    certificate.chain.iter().map(|part| CertificateDer::from(part.to_vec())).collect()
}

fn private_key(key: &PrivateKey) -> PrivateKeyDer<'static> {
    match key {
        PrivateKey::Pkcs1(key) => PrivateKeyDer::Pkcs1(key.to_vec().into()),
        PrivateKey::Sec1(key) => PrivateKeyDer::Sec1(key.to_vec().into()),
        PrivateKey::Pkcs8(key) => PrivateKeyDer::Pkcs8(key.to_vec().into()),
    }
}

/// A certificate and its key as rustls wants them.
pub(super) fn certified(
    certificate: &Certificate,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, String> {
    let (chain, key) = (chain(certificate), private_key(&certificate.key));
    let name = &certificate.name;
    let mut certified = CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| format!("{name}: the certificate and its key cannot be used: {error}"))?;
    certified.ocsp = certificate.ocsp.as_ref().map(|answer| answer.to_vec());
    Ok(certified)
}

/// Chooses the certificate by the name that the client asks for.
#[derive(Debug)]
struct Resolver {
    first: Arc<CertifiedKey>,
    /// In the order of the names; of equal ones the first counts. Wildcards stand without their `*`.
    by_name: Vec<(Box<str>, Arc<CertifiedKey>)>,
}

impl Resolver {
    fn new(certificates: &[Arc<Certificate>], provider: &CryptoProvider) -> Result<Self, String> {
        let (mut first, mut by_name) = (None, Vec::new());
        for certificate in certificates {
            let certified = Arc::new(certified(certificate, provider)?);
            let name = |name: &str| (name.strip_prefix('*').unwrap_or(name).into(), certified.clone());
            by_name.extend(certificate.names.iter().map(|own| name(own)));
            first.get_or_insert(certified.clone());
        }
        // Stable: of two with the same name, the one that stands first in the file comes first.
        by_name.sort_by(|(a, _), (b, _): &(Box<str>, _)| a.cmp(b));
        let first = first.ok_or_else(|| "there is no certificate".to_owned())?;
        Ok(Self { first, by_name })
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let index = self.by_name.partition_point(|(known, _)| &**known < name);
        self.by_name.get(index).filter(|(known, _)| &**known == name).map(|(_, certified)| certified)
    }

    /// Exactly this name, else a wildcard in place of its first label, else the first certificate.
    fn choose(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let Some(name) = name else { return &self.first };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let wildcard = || self.find(&name[name.find('.').filter(|dot| *dot > 0)?..]);
        // No name begins with a dot: that is how wildcards are kept.
        let exact = if name.starts_with('.') { None } else { self.find(&name) };
        exact.or_else(wildcard).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        ASKED.set(name.map(Box::from));
        Some(self.choose(name).clone())
    }
}

#[cfg(test)]
mod tests {
    use weir_testkit::Authority;

    use super::{super::tests::certificate, *};

    #[test]
    fn the_name_chooses_the_certificate() {
        let authority = Authority::new("Root");
        let named = [&["a.test", "*.b.test"][..], &["b.test", "c.b.test", "a.test"], &["*.test"]];
        let made: Vec<_> = named.iter().map(|names| certificate(&authority.server(names), names)).collect();
        let resolver = Resolver::new(&made, &rustls::crypto::aws_lc_rs::default_provider()).unwrap();
        let chosen = |name: Option<&str>| {
            let chosen = &resolver.choose(name).cert[0];
            made.iter().position(|certificate| *certificate.chain[0] == **chosen).unwrap()
        };
        let rows = [
            (Some("a.test"), 0),
            (Some("A.TEST"), 0),
            (Some("a.test."), 0),
            (Some("x.b.test"), 0),
            (Some("c.b.test"), 1),
            (Some("b.test"), 1),
            (Some("y.test"), 2),
            (Some("x.y.test"), 0),
            (Some("test"), 0),
            (Some(".test"), 0),
            (Some("elsewhere"), 0),
            (None, 0),
        ];
        for (name, expected) in rows {
            assert_eq!(chosen(name), expected, "{name:?}");
        }
    }

    #[test]
    fn who_proved_less_has_other_rules() {
        let auth = |authority: &[u8], required| ClientAuth { authorities: vec![authority.into()], required };
        let all = [
            rules(None),
            rules(Some(&auth(b"one", true))),
            rules(Some(&auth(b"one", false))),
            rules(Some(&auth(b"two", true))),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one));
        }
        assert_eq!(rules(Some(&auth(b"one", true))), all[1]);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let authority = Authority::new("Root");
        let (mut one, two) = (authority.server(&["a.test"]), authority.server(&["a.test"]));
        one.key = two.key;
        let mixed = certificate(&one, &["a.test"]);
        let error = Resolver::new(&[mixed], &rustls::crypto::aws_lc_rs::default_provider()).unwrap_err();
        assert!(error.starts_with("a.test: the certificate and its key cannot be used"), "{error}");
    }
}
