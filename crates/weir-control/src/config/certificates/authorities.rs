//! Those whose signature counts: a file of certificates, each of somebody who signs others.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use rustls::{RootCertStore, pki_types::CertificateDer};

use super::{
    Fault, Part, Read,
    chain::{called, parse, times},
    sections,
};

/// The bundle of a whole system is a quarter of a megabyte.
pub(super) const LARGEST: u64 = 4 << 20;

const PART: Part = Part::Authorities;

/// Reads certificates of authorities, each as DER; or, with `or_itself`, those that are trusted as they are. `now` is the time
/// in seconds since 1970.
pub(crate) fn authorities(path: &Path, or_itself: bool, now: u64) -> Read<Vec<Arc<[u8]>>> {
    let mut faults = Vec::new();
    let value = read(path, or_itself, now, &mut faults);
    Read::of(value, faults)
}

fn read(path: &Path, or_itself: bool, now: u64, faults: &mut Vec<Fault>) -> Option<Vec<Arc<[u8]>>> {
    let name = path.display().to_string();
    let sections = sections(path, PART, faults)?;
    let mut seen = BTreeSet::new();
    let mut found: Vec<Arc<[u8]>> = Vec::new();
    let mut expired = Vec::new();
    for section in &sections {
        if section.label != "CERTIFICATE" {
            faults.push(strange(&section.label, section.line, &name));
            continue;
        }
        let certificate = parse(section, &name, PART, faults)?;
        if RootCertStore::empty().add(CertificateDer::from(&*section.der)).is_err() {
            let cause = format!("the certificate `{}` in `{name}` cannot be trusted", called(&certificate));
            faults.push(Fault::error(
                PART,
                cause,
                "it has to be X.509 version 3, without extensions nobody knows",
            ));
        } else if !certificate.is_ca() && !or_itself {
            let cause =
                format!("the certificate `{}` in `{name}` is not that of an authority", called(&certificate));
            faults.push(Fault::warning(PART, cause, "name the certificate of whoever signed it"));
        }
        times(&certificate, &name, PART, now, &mut expired);
        // Bundles repeat themselves, which costs a look at each handshake.
        if seen.insert(&section.der) {
            found.push(Arc::from(&*section.der));
        }
    }
    // One of many that has ended is how bundles are, and harms nobody.
    if expired.len() == sections.len() {
        faults.append(&mut expired);
    }
    (!found.is_empty()).then_some(found)
}

fn strange(label: &str, line: usize, name: &str) -> Fault {
    let cause = format!("line {line} of `{name}` begins a `{label}`, which is no certificate");
    let remedy = match label {
        "X509 CRL" => "weir does not look at lists of revoked certificates; leave it out",
        label if label.ends_with("PRIVATE KEY") => {
            "leave it out: the key of an authority must not lie on a machine that serves"
        }
        _ => "leave the certificates of the authorities",
    };
    Fault::error(PART, cause, remedy)
}
