//! The folder that account, certificate, key and locks are kept in. Several instances may use it at once, on several
//! machines: every file is replaced as a whole, and nobody sees half of one.
//!
//! | file | what it is |
//! |---|---|
//! | `account-HASH.json` | the account at the authority, with its key |
//! | `LABEL.pem` | the certificate, those that signed it, and its key |
//! | `LABEL.json` | what went wrong, and when the authority would like the certificate to be renewed |
//! | `LABEL.lock` | who is renewing it, and until when |
//! | `LABEL.proofs` | what the authority is to be shown just now |

use std::{
    ffi::OsString,
    fs,
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use weir_model::{
    acme::{Acme, Setbacks, Span},
    draft::CertificateFiles,
};
use x509_parser::prelude::{FromDer as _, ParsedExtension, X509Certificate};

use super::proof;
use crate::config::certificates::{self, Purpose};

/// No file here is nearly as long.
const LARGEST: u64 = 1 << 20;

/// One certificate's part of the folder.
#[derive(Clone, Debug)]
pub(super) struct Store {
    folder: Arc<Path>,
    label: Arc<str>,
    account: String,
}

/// What went wrong, and when the certificate is to be renewed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    pub(super) failures: u32,
    pub(super) last_failure: u64,
    pub(super) not_before: u64,
    pub(super) last_error: Option<String>,
    /// What the authority has said of when to renew.
    pub(super) window: Option<Window>,
}

/// What an authority has said of when to renew (RFC 9773).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Window {
    /// The serial number of the certificate that this is about.
    pub(super) serial: Vec<u8>,
    /// From when to when; none if it does not say such things.
    pub(super) wanted: Option<(u64, u64)>,
    /// When it is to be asked again.
    pub(super) ask_at: u64,
}

impl State {
    pub(super) const fn setbacks(&self) -> Setbacks {
        Setbacks { count: self.failures, last: self.last_failure, not_before: self.not_before }
    }

    /// The same after one more failure.
    pub(super) fn failed(mut self, now: u64, sentence: &str, retry_after: Option<u64>) -> Self {
        let Setbacks { count, last, not_before } = self.setbacks().failed(now, retry_after);
        (self.failures, self.last_failure, self.not_before) = (count, last, not_before);
        self.last_error = Some(sentence.to_owned());
        self
    }
}

/// The certificate that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) valid: Span,
    pub(super) serial: Vec<u8>,
    /// Which key of the authority has signed it, if it says.
    pub(super) issuer_key: Option<Vec<u8>>,
}

impl Held {
    /// The same for all instances, and different between certificates.
    pub(super) fn draw(&self) -> u64 {
        // Serial numbers are random (at least 64 bits of them, by the rules of public authorities).
        self.serial.iter().rev().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

/// What tells one state of a file from another.
pub(super) type Stamp = (u64, u64, i64, i64);

impl Store {
    pub(super) fn new(acme: &Acme) -> Self {
        let email = acme.email.as_deref().unwrap_or_default();
        // Another address of mail is another account.
        let account = weir_model::acme::label(&acme.directory, [email]).unwrap_or_default();
        let hash = account.rsplit('-').next().unwrap_or_default();
        let account = format!("account-{hash}.json");
        Self { folder: acme.storage.clone(), label: acme.label.clone(), account }
    }

    pub(super) fn path(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.label))
    }

    /// Which state of the certificate's file is there; none if there is none.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let found = fs::metadata(self.path("pem")).ok()?;
        Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    }

    /// The certificate that is there, if it can be used.
    pub(super) fn certificate(&self, now: u64) -> Option<Held> {
        let files = CertificateFiles { certificate: self.path("pem"), ..CertificateFiles::default() };
        let read = certificates::certificate(&files, Purpose::Server, now).value?;
        let (_, parsed) = X509Certificate::from_der(read.chain.first()?).ok()?;
        let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
        let validity = parsed.validity();
        let issuer_key =
            parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(issuer) => {
                    issuer.key_identifier.as_ref().map(|key| key.0.to_vec())
                }
                _ => None,
            });
        Some(Held {
            valid: Span {
                start: seconds(validity.not_before.timestamp()),
                end: seconds(validity.not_after.timestamp()),
            },
            serial: parsed.raw_serial().to_vec(),
            issuer_key,
        })
    }

    pub(super) fn write_certificate(&self, pem: &str) -> io::Result<()> {
        self.write(&self.path("pem"), pem.as_bytes())
    }

    /// What was noted; nothing if that cannot be read: it is no more than a memory.
    pub(super) fn state(&self) -> State {
        self.json(&self.path("json")).ok().flatten().unwrap_or_default()
    }

    pub(super) fn set_state(&self, state: &State) -> io::Result<()> {
        self.write_json(&self.path("json"), state)
    }

    /// What the authority is to be shown.
    pub(super) fn proofs(&self) -> Vec<proof::Record> {
        self.json(&self.path("proofs")).ok().flatten().unwrap_or_default()
    }

    pub(super) fn set_proofs(&self, records: &[proof::Record]) -> io::Result<()> {
        if records.is_empty() {
            return absent_is_fine(fs::remove_file(self.path("proofs")));
        }
        self.write_json(&self.path("proofs"), records)
    }

    /// The account, if there is one.
    pub(super) fn account<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        self.json(&self.folder.join(&self.account))
    }

    /// Keeps an account, unless there is one already; that one is returned then.
    pub(super) fn keep_account<T: Serialize + DeserializeOwned>(&self, account: T) -> io::Result<T> {
        let text = serde_json::to_vec(&account)?;
        match self.create(&self.folder.join(&self.account), &text) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(self.account()?.unwrap_or(account)),
            other => other.map(|()| account),
        }
    }

    /// Forgets the account: the authority does not know it any more.
    pub(super) fn forget_account(&self) -> io::Result<()> {
        absent_is_fine(fs::remove_file(self.folder.join(&self.account)))
    }

    pub(super) fn json<T: DeserializeOwned>(&self, path: &Path) -> io::Result<Option<T>> {
        match fs::metadata(path) {
            Ok(found) if found.len() > LARGEST => return Err(io::Error::other("it is too large")),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        match fs::read(path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn write_json<T: Serialize + ?Sized>(&self, path: &Path, value: &T) -> io::Result<()> {
        self.write(path, &serde_json::to_vec(value)?)
    }

    /// Puts a file in place of the one that is there.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let new = self.prepare(path, bytes)?;
        let moved = fs::rename(&new, path);
        if moved.is_err() {
            let _ = fs::remove_file(&new);
        }
        moved?;
        self.settle()
    }

    /// Puts a file where there is none.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] if there is one; it stays as it is.
    pub(super) fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let new = self.prepare(path, bytes)?;
        let linked = fs::hard_link(&new, path);
        let _ = fs::remove_file(&new);
        linked?;
        self.settle()
    }

    /// A file with these bytes, beside where they are to be. Nobody else may read it.
    fn prepare(&self, path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        // Of another machine, the number may be the same: what is left of it then is not touched.
        name.push(format!(".{}-{}.new", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        let new = self.folder.join(name);
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes).and_then(|()| file.sync_all())?;
        Ok(new)
    }

    /// Makes sure that what was put in place is still there after a power failure.
    fn settle(&self) -> io::Result<()> {
        fs::File::open(&self.folder)?.sync_all()
    }
}

pub(super) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
