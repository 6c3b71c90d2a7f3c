//! What an authority is shown, as it is kept in storage for all instances: whichever of them it asks can answer.

use rcgen::CustomExtension;
use serde::{Deserialize, Serialize};
use weir_model::{acme::Challenge, status::Proof};

use super::placeholder::self_signed;

/// One proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// What is proved.
    pub(super) domain: String,
    /// How the authority calls the proof.
    pub(super) token: String,
    /// What is to be shown.
    pub(super) authorization: String,
    /// Its SHA-256.
    pub(super) digest: Vec<u8>,
}

impl Record {
    /// What workers give out.
    pub(super) fn proof(&self, challenge: Challenge) -> Result<Proof, String> {
        match challenge {
            Challenge::Http01 => {
                Ok(Proof::Http(self.token.as_str().into(), self.authorization.as_str().into()))
            }
            Challenge::TlsAlpn01 => {
                if self.digest.len() != 32 {
                    return Err("a proof in storage is damaged".to_owned());
                }
                let extension = CustomExtension::new_acme_identifier(&self.digest);
                let certificate = self_signed("proof", &[&self.domain], Some(extension))
                    .map_err(|error| format!("no proof for `{}` can be made: {error}", self.domain))?;
                Ok(Proof::TlsAlpn(self.domain.as_str().into(), certificate.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    use super::*;

    #[test]
    fn a_proof_by_tls_is_as_rfc_8737_wants_it() {
        let record = Record {
            domain: "example.com".to_owned(),
            token: "token".to_owned(),
            authorization: "token.key".to_owned(),
            digest: (0..32).collect(),
        };
        let Ok(Proof::TlsAlpn(domain, certificate)) = record.proof(Challenge::TlsAlpn01) else {
            panic!("it is a proof by TLS")
        };
        assert_eq!(&*domain, "example.com");
        let (rest, parsed) = X509Certificate::from_der(&certificate.chain[0]).expect("it is a certificate");
        assert!(rest.is_empty());
        let names = parsed.subject_alternative_name().expect("it is sound").expect("it is there");
        assert_eq!(names.value.general_names.len(), 1);
        let identifier =
            parsed.extensions().iter().find(|one| one.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
        let identifier = identifier.expect("it says what it proves");
        assert!(identifier.critical);
        // An octet string in the octet string of the extension.
        assert_eq!(identifier.value, [&[4, 32], &record.digest[..]].concat());
        let damaged = Record { digest: vec![1], ..record };
        assert!(damaged.proof(Challenge::TlsAlpn01).is_err() && damaged.proof(Challenge::Http01).is_ok());
    }
}
