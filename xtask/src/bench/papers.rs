//! Certificates of the contestants that speak TLS, made anew for every run, and clients that believe them.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use anyhow::{Context as _, Result};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    ClientConfig, RootCertStore, client::Resumption, crypto::aws_lc_rs, pki_types::CertificateDer,
    version::TLS13,
};

/// What was made for this run.
struct Papers {
    folder: PathBuf,
    certificate: CertificateDer<'static>,
}

fn papers() -> Result<&'static Papers> {
    static PAPERS: OnceLock<Papers> = OnceLock::new();
    if let Some(papers) = PAPERS.get() {
        return Ok(papers);
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = CertificateParams::new(vec!["bench.test".to_owned()])?.self_signed(&key)?;
    let folder = crate::process::folder("papers")?;
    fs::write(folder.join("site.pem"), certificate.pem())?;
    fs::write(folder.join("site.key"), key.serialize_pem())?;
    // HAProxy has both in one file.
    fs::write(folder.join("both.pem"), certificate.pem() + &key.serialize_pem())?;
    Ok(PAPERS.get_or_init(|| Papers { folder, certificate: certificate.der().clone() }))
}

/// Where `site.pem`, `site.key` and `both.pem` are.
pub(super) fn folder() -> Result<PathBuf> {
    Ok(papers()?.folder.clone())
}

/// A client as all contestants can serve it alike: TLS 1.3, X25519, AES-256-GCM. With `resuming` it comes back with what it
/// was given the last time.
pub(super) fn client(resuming: bool) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(papers()?.certificate.clone()).context("the certificate of the bench")?;
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = if resuming { Resumption::in_memory_sessions(16) } else { Resumption::disabled() };
    Ok(Arc::new(config))
}
