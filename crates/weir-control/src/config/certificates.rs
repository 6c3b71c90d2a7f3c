//! Certificates, keys, OCSP answers and authorities: files to values, and everything that can be wrong with them.
//!
//! ```text
//!  file ── pem ──> sections ──┬── chain, key, ocsp ── do they belong together? ──> Certificate
//!                             └── authorities ──> certificates of those who sign
//! ```
//!
//! They are read with the configuration, and again when the files change; both ask here, so that a new certificate is
//! judged like the first one. Nothing that is wrong is passed on: whoever gets a value can use it.

mod authorities;
mod chain;
mod key;
mod ocsp;
mod pem;

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use weir_model::{draft::CertificateFiles, problem::Severity, tls::Certificate};

pub(crate) use authorities::authorities;

use super::read::{content, unreadable};

/// No chain, key or OCSP answer is nearly as long.
const LARGEST: u64 = 1 << 20;

/// Which of the files of a certificate is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The chain.
    Certificate,
    /// The key.
    Key,
    /// The OCSP answer.
    Ocsp,
    /// The certificates of those who sign others.
    Authorities,
}

/// What is wrong with a file.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// An error cannot be used; a warning works, for some or for now.
    pub(crate) severity: Severity,
    /// The file.
    pub(crate) part: Part,
    /// What is wrong, with the name of the file, in one plain sentence without a full stop.
    pub(crate) cause: String,
    /// What to do about it; empty when the cause says it all.
    pub(crate) remedy: String,
}

impl Fault {
    fn error(part: Part, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Error, part, cause: cause.into(), remedy: remedy.into() }
    }

    fn warning(part: Part, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(part, cause, remedy) }
    }
}

/// What a certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To clients, by a listener.
    Server,
    /// To backends, by a pool.
    Client,
}

/// What was read, unless there is an error among the faults.
#[derive(Debug)]
pub(crate) struct Read<T> {
    /// What can be used.
    pub(crate) value: Option<T>,
    /// What is wrong, or will not work for everybody.
    pub(crate) faults: Vec<Fault>,
}

impl<T> Read<T> {
    /// What follows from an error is not said beside it.
    fn of(value: Option<T>, mut faults: Vec<Fault>) -> Self {
        let refused = faults.iter().any(|fault| fault.severity == Severity::Error);
        faults.retain(|fault| !refused || fault.severity == Severity::Error);
        Self { value: value.filter(|_| !refused), faults }
    }
}

/// Reads a certificate with its key. `now` is the time in seconds since 1970.
pub(crate) fn certificate(files: &CertificateFiles, purpose: Purpose, now: u64) -> Read<Certificate> {
    let mut faults = Vec::new();
    let value = whole(files, purpose, now, &mut faults);
    Read::of(value, faults)
}

fn whole(
    files: &CertificateFiles,
    purpose: Purpose,
    now: u64,
    faults: &mut Vec<Fault>,
) -> Option<Certificate> {
    let name = files.certificate.display().to_string();
    let sections = sections(&files.certificate, Part::Certificate, faults);
    let combined = files.key.is_none();
    // A key of its own is read even if there is no certificate: both may be wrong.
    let own_key = files.key.as_ref().map(|path| (path, self::sections(path, Part::Key, faults)));
    let chain = sections.as_ref().and_then(|sections| {
        let file = chain::File { name: &name, combined, purpose };
        chain::chain(sections, &file, now, faults)
    });
    let key = match own_key {
        Some((path, sections)) => {
            sections.and_then(|sections| key::key(&sections, path, false, chain.as_ref(), faults))
        }
        None => sections
            .and_then(|sections| key::key(&sections, &files.certificate, true, chain.as_ref(), faults)),
    };
    let (chain, key) = (chain?, key?);
    let ocsp = files.ocsp.as_ref().and_then(|path| {
        let bytes = bytes(path, Part::Ocsp, faults)?;
        ocsp::ocsp(bytes, &path.display().to_string(), &chain, now, faults)
    });
    Some(Certificate {
        name: name.into(),
        names: chain.names,
        not_after: chain.not_after,
        chain: chain.ders.into_iter().map(Arc::from).collect(),
        key,
        ocsp: ocsp.map(Arc::from),
    })
}

/// The sections of a file of PEM text.
fn sections(path: &Path, part: Part, faults: &mut Vec<Fault>) -> Option<Vec<pem::Section>> {
    let bytes = bytes(path, part, faults)?;
    pem::sections(&bytes, &path.display().to_string(), part).map_err(|fault| faults.push(fault)).ok()
}

/// What a file holds.
fn bytes(path: &Path, part: Part, faults: &mut Vec<Fault>) -> Option<Vec<u8>> {
    let most = if part == Part::Authorities { authorities::LARGEST } else { LARGEST };
    match content(PathBuf::from(path), most) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let cause = format!("the file `{}` cannot be read: {error}", path.display());
            faults.push(Fault::error(part, cause, unreadable(&error)));
            None
        }
    }
}

/// A moment as people write it, in UTC to the minute.
pub(crate) fn date(seconds: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.min(LAST_SECOND));
    // `Sun, 06 Nov 1994 08:49:37 GMT`: the date is what matters.
    let text = httpdate::fmt_http_date(time);
    let mut words = text.split(' ').skip(1);
    let (day, month, year) = (words.next(), words.next(), words.next());
    let hour = words.next().and_then(|clock| clock.get(..5));
    let number = |month: &str| {
        let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
        months.find(month).map_or(0, |place| place / 3 + 1)
    };
    format!(
        "{}-{:02}-{} {} UTC",
        year.unwrap_or_default(),
        month.map_or(0, number),
        day.unwrap_or_default(),
        hour.unwrap_or_default()
    )
}

/// The end of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;
