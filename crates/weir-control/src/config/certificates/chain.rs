//! A chain of certificates: its own first, then who signed it, and so on (RFC 5246 section 7.4.2).

use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use super::{Fault, Part, Purpose, date, pem::Section};

/// What a chain is read from, and for.
pub(super) struct File<'f> {
    pub(super) name: &'f str,
    /// True if its key has to be in it too.
    pub(super) combined: bool,
    pub(super) purpose: Purpose,
}

/// A chain that was read.
pub(super) struct Chain {
    /// The file that it is in.
    pub(super) file: String,
    /// Each as DER, its own certificate first.
    pub(super) ders: Vec<Vec<u8>>,
    /// What its own is for.
    pub(super) names: Vec<Box<str>>,
    /// When its own ends, in seconds since 1970.
    pub(super) not_after: u64,
}

/// The chain in the sections of a file.
pub(super) fn chain(
    sections: &[Section],
    file: &File<'_>,
    now: u64,
    faults: &mut Vec<Fault>,
) -> Option<Chain> {
    const PART: Part = Part::Certificate;
    let name = file.name;
    let certificates: Vec<_> = sections.iter().filter(|section| section.label == "CERTIFICATE").collect();
    if certificates.is_empty() {
        faults.push(without_certificate(sections, name));
        return None;
    }
    let known = |section: &&Section| {
        section.label == "CERTIFICATE"
            || section.label.ends_with("PRIVATE KEY")
            || is_parameters(&section.label)
    };
    for strange in sections.iter().filter(|section| !known(section)) {
        let cause = format!(
            "line {} of `{name}` begins a `{}`, which is no certificate",
            strange.line, strange.label
        );
        faults.push(Fault::error(PART, cause, "leave the certificate and those that signed it"));
    }
    if let Some(key) =
        sections.iter().find(|section| !file.combined && section.label.ends_with("PRIVATE KEY"))
    {
        let cause = format!(
            "line {} of `{name}` begins a key, which is not used: `key` names another file",
            key.line
        );
        faults.push(Fault::warning(PART, cause, "remove it from there, or leave `key` out"));
    }
    let mut parsed = Vec::with_capacity(certificates.len());
    for section in &certificates {
        parsed.push(parse(section, name, PART, faults)?);
    }
    let own = parsed.first()?;
    order(&parsed, name, faults);
    for certificate in &parsed {
        times(certificate, name, PART, now, faults);
    }
    purpose(own, file, faults);
    let names = names(own);
    if names.is_empty() && file.purpose == Purpose::Server && addresses(own) == 0 {
        let cause = format!("the certificate in `{name}` is for no host: clients refuse it");
        faults.push(Fault::warning(PART, cause, "have it issued for the names that clients ask for"));
    }
    let not_after = seconds(own.validity().not_after.timestamp());
    Some(Chain {
        file: name.to_owned(),
        names,
        not_after,
        ders: certificates.iter().map(|section| section.der.clone()).collect(),
    })
}

pub(super) fn is_parameters(label: &str) -> bool {
    label == "EC PARAMETERS" || label == "DH PARAMETERS"
}

/// What is there in place of a certificate.
fn without_certificate(sections: &[Section], name: &str) -> Fault {
    let has = |label: &str| sections.iter().any(|section| section.label.ends_with(label));
    let (what, remedy) = if has("PRIVATE KEY") {
        (
            "a private key and no certificate",
            "name the certificate under `cert` and the key under `key`".to_owned(),
        )
    } else if has("CERTIFICATE REQUEST") {
        (
            "a request for a certificate",
            "send it to your authority, and name the file that it answers with".to_owned(),
        )
    } else if has("TRUSTED CERTIFICATE") {
        let remedy = format!("convert it: `openssl x509 -in {name} -out {name}.pem`");
        ("a certificate in a form of OpenSSL alone", remedy)
    } else if has("PKCS7") {
        let remedy = format!("convert it: `openssl pkcs7 -print_certs -in {name} -out {name}.pem`");
        ("PKCS #7 and no certificate in PEM", remedy)
    } else {
        ("no certificate", "it holds the certificate, followed by those that signed it".to_owned())
    };
    Fault::error(Part::Certificate, format!("the file `{name}` holds {what}"), remedy)
}

/// One certificate.
pub(super) fn parse<'s>(
    section: &'s Section,
    name: &str,
    part: Part,
    faults: &mut Vec<Fault>,
) -> Option<X509Certificate<'s>> {
    match X509Certificate::from_der(&section.der) {
        Ok(([], certificate)) => Some(certificate),
        _ => {
            let line = section.line;
            let cause = format!("the certificate that begins in line {line} of `{name}` is damaged");
            faults.push(Fault::error(part, cause, "copy the file again, or have it issued anew"));
            None
        }
    }
}

/// What a certificate is called in messages: the name of its subject.
pub(super) fn called(certificate: &X509Certificate<'_>) -> String {
    let common = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    match common {
        Some(name) => name.to_owned(),
        None => match names(certificate).first() {
            Some(name) => name.to_string(),
            None => certificate.subject().to_string(),
        },
    }
}

/// Clients of TLS 1.2 expect each certificate to be signed by the next one; most of today sort them.
fn order(chain: &[X509Certificate<'_>], name: &str, faults: &mut Vec<Fault>) {
    for (number, pair) in chain.windows(2).enumerate() {
        let [signed, signer] = pair else { continue };
        if signed.issuer().as_raw() == signer.subject().as_raw() {
            continue;
        }
        let cause = format!(
            "the chain in `{name}` is out of order: `{}`, the certificate {} of it, did not sign `{}`, the one before",
            called(signer),
            number + 2,
            called(signed),
        );
        let remedy =
            "put the certificate first, then the one that signed it, and so on; leave the others out";
        faults.push(Fault::warning(Part::Certificate, cause, remedy));
        return;
    }
}

/// Whether it is past its time, or before it. That works for those who do not look, and is how the field treats it.
pub(super) fn times(
    certificate: &X509Certificate<'_>,
    name: &str,
    part: Part,
    now: u64,
    faults: &mut Vec<Fault>,
) {
    let (begin, end) = (certificate.validity().not_before, certificate.validity().not_after);
    let (begin, end) = (seconds(begin.timestamp()), seconds(end.timestamp()));
    let called = called(certificate);
    if end < now {
        let cause = format!("the certificate `{called}` in `{name}` has expired on {}", date(end));
        faults.push(Fault::warning(part, cause, "have it issued anew"));
    } else if begin > now {
        let cause = format!("the certificate `{called}` in `{name}` is not valid before {}", date(begin));
        faults.push(Fault::warning(part, cause, "check the clock of this machine"));
    }
}

fn seconds(timestamp: i64) -> u64 {
    u64::try_from(timestamp).unwrap_or(0)
}

/// Whether it says that it is for something else (RFC 5280 section 4.2.1.12).
fn purpose(own: &X509Certificate<'_>, file: &File<'_>, faults: &mut Vec<Fault>) {
    let Ok(Some(usage)) = own.extended_key_usage() else { return };
    let (fits, who, word) = match file.purpose {
        Purpose::Server => (usage.value.server_auth, "servers", "serverAuth"),
        Purpose::Client => (usage.value.client_auth, "clients", "clientAuth"),
    };
    if !fits && !usage.value.any {
        let cause =
            format!("the certificate in `{}` is not for {who}: it lacks the usage `{word}`", file.name);
        faults.push(Fault::warning(Part::Certificate, cause, format!("have it issued for {who}")));
    }
}

/// The host names that a certificate is for, in lower case. Clients have not looked at the common name for years; here it
/// counts where there is nothing else, since it is what somebody meant.
fn names(certificate: &X509Certificate<'_>) -> Vec<Box<str>> {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let alternatives = alternatives.iter().flat_map(|names| &names.value.general_names);
    let mut names: Vec<Box<str>> = Vec::new();
    let mut add = |name: &str| {
        if let Some(name) = host(name).filter(|name| !names.contains(name)) {
            names.push(name);
        }
    };
    for name in alternatives {
        if let GeneralName::DNSName(name) = name {
            add(name);
        }
    }
    if names.is_empty() {
        let common = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        names.extend(common.and_then(host));
    }
    names
}

fn addresses(certificate: &X509Certificate<'_>) -> usize {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives.iter().flat_map(|names| &names.value.general_names);
    names.filter(|name| matches!(name, GeneralName::IPAddress(_))).count()
}

/// A host name, or `*.` and one; none for anything else, which no client can ask for.
fn host(name: &str) -> Option<Box<str>> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let labels = name.strip_prefix("*.").unwrap_or(&name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let is_name = labels.split('.').all(is_label) && labels.len() <= 253;
    (is_name && labels.parse::<std::net::IpAddr>().is_err()).then(|| name.into())
}
