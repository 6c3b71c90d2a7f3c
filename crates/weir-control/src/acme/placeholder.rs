//! A certificate that nobody has signed, for a listener that waits for its first one: clients are told that it is not to be
//! trusted, and the listener is there.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use weir_model::tls::{Certificate, PrivateKey};

/// Made once for each label, so that reading a configuration again makes no difference.
static MADE: Mutex<BTreeMap<(String, bool), Arc<Certificate>>> = Mutex::new(BTreeMap::new());

/// The placeholder for the certificate of this label; none if there can be no certificate for these names. One that is not
/// `alone` is shown to nobody: the listener has others to show.
pub(crate) fn placeholder(label: &str, names: &[&str], alone: bool) -> Option<Arc<Certificate>> {
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = made.get(&(label.to_owned(), alone)) {
        return Some(known.clone());
    }
    let mut new = self_signed(Certificate::PLACEHOLDER, names, None).ok()?;
    if !alone {
        new.names.clear();
    }
    let new = Arc::new(new);
    made.insert((label.to_owned(), alone), new.clone());
    Some(new)
}

/// A certificate that is signed with its own key, with an extension if one is given.
pub(super) fn self_signed(
    name: &str,
    names: &[&str],
    extension: Option<CustomExtension>,
) -> Result<Certificate, rcgen::Error> {
    let names: Vec<_> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let mut params = CertificateParams::new(names.clone())?;
    params.distinguished_name.push(DnType::CommonName, format!("weir {name}"));
    params.custom_extensions.extend(extension);
    let not_after = u64::try_from(params.not_after.unix_timestamp()).unwrap_or(0);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.self_signed(&key)?;
    Ok(Certificate {
        name: name.into(),
        chain: vec![Arc::from(&**certificate.der())],
        key: PrivateKey::Pkcs8(key.serialize_der().into()),
        ocsp: None,
        names: names.into_iter().map(String::into_boxed_str).collect(),
        not_after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_until_the_process_ends() {
        let one = placeholder("example.com-1", &["Example.com"], true).expect("it can be made");
        assert_eq!(*one.names, [Box::from("example.com")]);
        assert!(Arc::ptr_eq(
            &one,
            &placeholder("example.com-1", &["example.com"], true).expect("it was made")
        ));
        assert_ne!(one, placeholder("example.org-1", &["example.org"], true).expect("it can be made"));
        assert!(placeholder("nobody-1", &["ä.example"], true).is_none());
        let hidden = placeholder("example.com-1", &["example.com"], false).expect("it can be made");
        assert!(hidden.names.is_empty());
    }
}
