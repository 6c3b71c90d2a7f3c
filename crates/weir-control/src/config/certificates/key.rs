//! The private key of a certificate, and whether it is that.

use std::path::Path;

use rustls::{
    Error, InconsistentKeys,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer},
    sign::CertifiedKey,
};
use weir_model::tls::PrivateKey;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _, public_key::PublicKey};

use super::{
    Fault, Part,
    chain::{Chain, is_parameters},
    pem::Section,
};

const KINDS: &str = "use ECDSA (P-256, P-384, P-521), RSA (2048 to 8192 bits) or Ed25519";

/// The key in the sections of a file; `combined` if that is the file of the certificate.
pub(super) fn key(
    sections: &[Section],
    path: &Path,
    combined: bool,
    chain: Option<&Chain>,
    faults: &mut Vec<Fault>,
) -> Option<PrivateKey> {
    let name = path.display().to_string();
    let section = match only(sections, &name, combined) {
        Ok(section) => section,
        // Whoever has no certificate has been told; a combined file that is wrong is wrong once.
        Err(_) if combined && chain.is_none() => return None,
        Err(fault) => {
            faults.push(fault);
            return None;
        }
    };
    let part = if combined { Part::Certificate } else { Part::Key };
    let der = section.der.clone();
    let (key, for_library): (_, PrivateKeyDer<'static>) = match &*section.label {
        "RSA PRIVATE KEY" => (PrivateKey::Pkcs1(der.clone().into()), PrivatePkcs1KeyDer::from(der).into()),
        "EC PRIVATE KEY" => (PrivateKey::Sec1(der.clone().into()), PrivateSec1KeyDer::from(der).into()),
        _ => (PrivateKey::Pkcs8(der.clone().into()), PrivatePkcs8KeyDer::from(der).into()),
    };
    let Ok(signing) = aws_lc_rs::sign::any_supported_type(&for_library) else {
        let cause = match chain.and_then(rsa_bits) {
            Some(bits) if bits < 2048 => {
                format!("the key in `{name}` is RSA with {bits} bits, which is too short")
            }
            _ => format!("the key in `{name}` is damaged, or of a kind that weir does not know"),
        };
        faults.push(Fault::error(part, cause, KINDS));
        return None;
    };
    let chain = chain?;
    let belongs = |der: &Vec<u8>| {
        CertifiedKey::new(vec![CertificateDer::from(der.clone())], signing.clone()).keys_match()
    };
    match belongs(chain.ders.first()?) {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Some(key),
        Err(Error::InconsistentKeys(_)) => {
            let later = chain.ders.iter().position(|der| belongs(der).is_ok());
            faults.push(mismatch(part, &name, combined, later));
            None
        }
        Err(error) => {
            let cause = format!("the certificate in `{}` cannot be used: {error}", chain.file);
            faults.push(Fault::error(Part::Certificate, cause, "have it issued anew, as X.509 version 3"));
            None
        }
    }
}

/// The length of the certificate's own key, if it is RSA: the library says only that it does not like it.
fn rsa_bits(chain: &Chain) -> Option<usize> {
    let (_, own) = X509Certificate::from_der(chain.ders.first()?).ok()?;
    match own.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => Some(key.key_size()),
        _ => None,
    }
}

fn mismatch(part: Part, name: &str, combined: bool, later: Option<usize>) -> Fault {
    match later {
        Some(place) => {
            let cause = format!(
                "the key in `{name}` belongs to the certificate {} of the chain, and not to the first",
                place + 1
            );
            Fault::error(
                part,
                cause,
                "put the certificate of the key first, then the one that signed it, and so on",
            )
        }
        None => {
            let whose = if combined { "the certificate in the same file" } else { "the certificate" };
            let cause = format!("the key in `{name}` does not belong to {whose}");
            Fault::error(part, cause, "name the key that the certificate was requested with")
        }
    }
}

/// The one key among the sections.
fn only<'s>(sections: &'s [Section], name: &str, combined: bool) -> Result<&'s Section, Fault> {
    let part = if combined { Part::Certificate } else { Part::Key };
    let keys: Vec<_> = sections.iter().filter(|section| section.label.ends_with("PRIVATE KEY")).collect();
    let fault = |cause: String, remedy: &str| Err(Fault::error(part, cause, remedy));
    let section = match &keys[..] {
        [only] => *only,
        [] if combined => {
            return fault(
                format!("the file `{name}` holds no private key, and `key` is not given"),
                "add `key: FILE`, or the key to this file",
            );
        }
        [] => return Err(without_key(sections, name)),
        [_, second, ..] => {
            let cause =
                format!("the file `{name}` holds {} keys, the second in line {}", keys.len(), second.line);
            return fault(cause, "leave the one that belongs to the certificate");
        }
    };
    if section.encrypted {
        let cause = format!("the key in `{name}` is encrypted, and nobody is there to give the password");
        let remedy =
            format!("decrypt it: `openssl pkey -in {name} -out {name}.plain`, readable by weir alone");
        return Err(Fault::error(part, cause, remedy));
    }
    match &*section.label {
        "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => Ok(section),
        "OPENSSH PRIVATE KEY" => {
            fault(format!("the key in `{name}` is one of SSH"), "name the key of the certificate")
        }
        other => fault(format!("the file `{name}` holds a `{other}`, which weir does not know"), KINDS),
    }
}

/// What is there in place of a key.
fn without_key(sections: &[Section], name: &str) -> Fault {
    let has = |label: &str| sections.iter().any(|section| section.label.ends_with(label));
    let (what, remedy) = if has("CERTIFICATE") {
        ("a certificate and no private key", "name the certificate under `cert` and the key under `key`")
    } else if has("PUBLIC KEY") {
        ("a public key and no private one", "name the key that the certificate was requested with")
    } else if sections.iter().all(|section| is_parameters(&section.label)) {
        ("parameters of a key and no key", "name the key that the certificate was requested with")
    } else {
        ("no private key", "it holds the private key of the certificate")
    };
    Fault::error(Part::Key, format!("the file `{name}` holds {what}"), remedy)
}
