//! Certificates that are made up for a test: an authority, and whatever it signs, right or wrong.
//!
//! Nothing here is kept: every run makes new ones. What is wrong with a certificate is wrong for good: one that is over
//! ended in 2021, and one that has not begun begins in 2090.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};

/// Who signs certificates.
#[derive(Clone)]
pub struct Authority {
    issuer: Arc<CertifiedIssuer<'static, KeyPair>>,
    /// Its own certificate and those above it, as DER, unless nobody is.
    chain: Vec<Vec<u8>>,
    /// The same as PEM.
    chain_pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// What a certificate is to say; see [`Authority::issue`].
#[derive(Debug)]
pub struct Wanted {
    params: CertificateParams,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The chain as DER, its own certificate first, without the authority that nobody signed.
    pub chain: Vec<Vec<u8>>,
    /// The private key as DER (PKCS #8).
    pub key: Vec<u8>,
    pem: String,
    key_pem: String,
}

/// The parts that cannot fail for what a test makes up.
#[track_caller]
fn made<T>(result: Result<T, rcgen::Error>) -> T {
    result.unwrap_or_else(|error| panic!("no certificate can be made: {error}"))
}

fn key() -> KeyPair {
    made(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256))
}

impl Authority {
    /// One that nobody signed but itself.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(name: &str) -> Self {
        let issuer = made(CertifiedIssuer::self_signed(authority(name), key()));
        Self { issuer: Arc::new(issuer), chain: Vec::new(), chain_pem: String::new() }
    }

    /// One that this one has signed; what it signs carries its certificate along.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn intermediate(&self, name: &str) -> Self {
        let issuer = made(CertifiedIssuer::signed_by(authority(name), key(), &self.issuer));
        let chain = std::iter::once(issuer.der().to_vec()).chain(self.chain.clone()).collect();
        let chain_pem = issuer.pem() + &self.chain_pem;
        Self { issuer: Arc::new(issuer), chain, chain_pem }
    }

    /// Signs what is wanted.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn issue(&self, wanted: Wanted) -> Issued {
        let key = key();
        let certificate = made(wanted.params.signed_by(&key, &self.issuer));
        let chain = std::iter::once(certificate.der().to_vec()).chain(self.chain.clone()).collect();
        let pem = certificate.pem() + &self.chain_pem;
        Issued { chain, key: key.serialize_der(), pem, key_pem: key.serialize_pem() }
    }

    /// A certificate for servers of these names and addresses, as it should be.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn server(&self, names: &[&str]) -> Issued {
        self.issue(Wanted::server(names))
    }

    /// A certificate for a client of this name, as it should be.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn client(&self, name: &str) -> Issued {
        self.issue(Wanted::client(name))
    }

    /// Its own certificate as DER.
    pub fn certificate(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    /// Its own certificate as PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes its own certificate to a file, and says where that is.
    ///
    /// # Panics
    /// If it cannot be written.
    #[track_caller]
    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        write(folder.join(name), &self.pem())
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}

impl Wanted {
    fn new(names: &[&str], common: &str, purpose: ExtendedKeyUsagePurpose) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = made(CertificateParams::new(names));
        params.distinguished_name.push(DnType::CommonName, common);
        params.extended_key_usages = vec![purpose];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2089, 1, 1);
        Self { params }
    }

    /// For servers of these names, `*.` included, and addresses.
    ///
    /// # Panics
    /// If one of the names can be none.
    pub fn server(names: &[&str]) -> Self {
        Self::new(names, names.first().unwrap_or(&"nobody"), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// For a client; the name is its common name and, as far as it can be one, its host name.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn client(name: &str) -> Self {
        let names: &[&str] = if name.contains(' ') { &[] } else { &[name] };
        Self::new(names, name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// It ended in 2021.
    #[must_use]
    pub fn over(mut self) -> Self {
        self.params.not_after = date_time_ymd(2021, 6, 1);
        self
    }

    /// It begins in 2090.
    #[must_use]
    pub fn early(mut self) -> Self {
        self.params.not_before = date_time_ymd(2090, 1, 1);
        self.params.not_after = date_time_ymd(2091, 1, 1);
        self
    }

    /// Signs it with its own key, as `openssl req -x509` does: it then says that it is an authority.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn sign_itself(mut self) -> Issued {
        self.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self.params.extended_key_usages.clear();
        self.params.key_usages.clear();
        self.params.use_authority_key_identifier_extension = false;
        let key = key();
        let certificate = made(self.params.self_signed(&key));
        let (pem, key_pem) = (certificate.pem(), key.serialize_pem());
        Issued { chain: vec![certificate.der().to_vec()], key: key.serialize_der(), pem, key_pem }
    }

    /// It ends at this time.
    #[must_use]
    pub fn until(mut self, end: SystemTime) -> Self {
        self.params.not_after = end.into();
        self
    }
}

impl Issued {
    /// The chain as PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The key as PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Writes `NAME.pem` and `NAME.key`, and says where they are.
    ///
    /// # Panics
    /// If they cannot be written.
    #[track_caller]
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let certificate = write(folder.join(format!("{name}.pem")), &self.pem);
        (certificate, write(folder.join(format!("{name}.key")), &self.key_pem))
    }
}

#[track_caller]
fn write(path: PathBuf, text: &str) -> PathBuf {
    fs::write(&path, text).unwrap_or_else(|error| panic!("{} cannot be written: {error}", path.display()));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_issued_is_pem_that_can_be_read_again() {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
        let root = Authority::new("Root");
        let issued = root.intermediate("Middle").server(&["a.test", "127.0.0.1"]);
        let read: Vec<_> =
            CertificateDer::pem_slice_iter(issued.pem().as_bytes()).map(Result::unwrap).collect();
        assert_eq!(read.iter().map(|der| der.to_vec()).collect::<Vec<_>>(), issued.chain);
        assert_eq!(issued.chain.len(), 2);
        let key = PrivateKeyDer::from_pem_slice(issued.key_pem().as_bytes()).unwrap();
        assert_eq!(key.secret_der(), issued.key);
    }
}
