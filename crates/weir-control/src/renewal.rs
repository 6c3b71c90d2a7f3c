//! Certificates that are renewed while weir runs: their files are watched, read again when they have changed, and judged
//! like the first time.
//!
//! ```text
//!  Credentials (compile) ──> Renewals ── a file has changed and is quiet ──> read, judge ──┬─> Change: new ones to publish
//!                                                                                         └─> why the old ones stay
//! ```
//!
//! Certificate and key are two files that are written one after the other. Between the two they do not belong together,
//! which is no harm: what is shown stays until both are there.

pub mod expiry;

#[cfg(test)]
mod tests;

use std::{mem, path::Path, sync::Arc};

use weir_model::{
    problem::Severity,
    snapshot::compile::{Credentials, Owner, Renewed},
    time::{Millis, Moment},
};

use crate::{
    config::certificates::{self, Fault, Purpose, Read, date},
    reload::Watch,
};

/// How often files are looked at, if they are not very many.
const PACE: Millis = Millis::secs(1);
/// So many files are looked at in a second and not more: each is a call of the system.
const IN_A_SECOND: u64 = 2000;

/// Watches the files of all TLS.
#[derive(Debug, Default)]
pub struct Renewals {
    sets: Vec<Set>,
    next: Moment,
}

/// What has become of the files of one TLS.
#[derive(Debug)]
pub struct Change {
    /// Whose it is.
    pub owner: Owner,
    /// What comes in place of what was there; none if nothing new can be used.
    pub renewed: Option<Renewed>,
    /// Whether something new cannot be used.
    pub refused: bool,
    /// Why files are not used as they are now, a sentence each, of those that did not change this time as well.
    pub problems: Vec<String>,
    /// What to say about it.
    pub said: Vec<String>,
    /// The same, where somebody has to do something.
    pub warned: Vec<String>,
}

/// One TLS.
#[derive(Debug)]
struct Set {
    credentials: Credentials,
    /// As many as certificates.
    certificates: Vec<Watched>,
    authorities: Option<Watched>,
}

/// The files that make one thing.
#[derive(Debug)]
struct Watched {
    watch: Watch,
    /// Why they are not used as they are now.
    problem: Option<String>,
}

impl Watched {
    fn new<'p>(paths: impl Iterator<Item = &'p Path>) -> Self {
        Self { watch: Watch::of(paths), problem: None }
    }

    /// What the files hold, if they have changed; `same` tells whether that is nothing new.
    fn changed<T>(
        &mut self,
        now: Moment,
        read: impl FnOnce() -> Read<T>,
        same: impl FnOnce(&T) -> bool,
    ) -> Outcome<T> {
        if !self.watch.has_changed(now) {
            return Outcome::Nothing;
        }
        self.watch.before_reading();
        let Read { value, faults } = read();
        match value {
            Some(value) if same(&value) => match self.problem.take() {
                Some(_) => Outcome::Mended,
                None => Outcome::Nothing,
            },
            Some(value) => {
                self.problem = None;
                Outcome::New(value, faults.iter().map(sentence).collect())
            }
            None => {
                let errors = faults.iter().filter(|fault| fault.severity == Severity::Error);
                let why = errors.map(sentence).collect::<Vec<_>>().join("; ");
                match self.problem.replace(why.clone()) {
                    Some(before) if before == why => Outcome::Nothing,
                    _ => Outcome::Refused(why),
                }
            }
        }
    }
}

/// What became of files.
enum Outcome<T> {
    /// Nothing that was not so before.
    Nothing,
    /// They are again what is used.
    Mended,
    /// Something new, and what to say about it.
    New(T, Vec<String>),
    /// They cannot be used.
    Refused(String),
}

/// Cause and remedy of a fault in one line.
fn sentence(fault: &Fault) -> String {
    match &*fault.remedy {
        "" => fault.cause.clone(),
        remedy => format!("{} ({remedy})", fault.cause),
    }
}

impl Renewals {
    /// Watches these from now on, and no others. What was watched before and is the same goes on as it was; what is new is
    /// looked at once more, since it may have changed after it was read.
    pub fn follow(&mut self, all: Vec<Credentials>) {
        let mut before = mem::take(&mut self.sets);
        self.sets = all
            .into_iter()
            .map(|credentials| {
                let known = before.iter().position(|set| set.is_of(&credentials));
                // Whatever was wrong with files is not wrong any more where a configuration with them was taken.
                known.map_or_else(
                    || Set::new(credentials),
                    |known| before.swap_remove(known).without_problems(),
                )
            })
            .collect();
        self.next = Moment(0);
    }

    /// True if there is nothing to watch.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Looks at the files, if it is time to. `wall` is the time in seconds since 1970.
    pub fn look(&mut self, now: Moment, wall: u64) -> Vec<Change> {
        if now < self.next {
            return Vec::new();
        }
        let files: usize = self.sets.iter().map(Set::files).sum();
        self.next = now + Millis(PACE.0 * (1 + files as u64 / IN_A_SECOND));
        self.sets.iter_mut().filter_map(|set| set.look(now, wall)).collect()
    }

    /// What [`Renewals::look`] has found is used from now on.
    pub fn took(&mut self, renewed: &Renewed) {
        let Some(set) = self.sets.iter_mut().find(|set| set.credentials.owner == renewed.owner) else {
            return;
        };
        for (draft, new) in set.credentials.certificates.iter_mut().zip(&renewed.certificates) {
            draft.read = new.clone();
        }
        if let (Some(draft), Some(new)) = (&mut set.credentials.authorities, &renewed.authorities) {
            draft.read.clone_from(new);
        }
    }
}

impl Set {
    fn new(credentials: Credentials) -> Self {
        let certificates = credentials.certificates.iter();
        Self {
            certificates: certificates
                .map(|draft| Watched::new(draft.files.paths().map(std::path::PathBuf::as_path)))
                .collect(),
            authorities: credentials
                .authorities
                .as_ref()
                .map(|draft| Watched::new(std::iter::once(draft.file.as_path()))),
            credentials,
        }
    }

    fn without_problems(mut self) -> Self {
        self.certificates.iter_mut().chain(&mut self.authorities).for_each(|watched| watched.problem = None);
        self
    }

    fn files(&self) -> usize {
        let certificates = self.credentials.certificates.iter();
        certificates.map(|draft| draft.files.paths().count()).sum::<usize>()
            + usize::from(self.authorities.is_some())
    }

    /// True if it came from the same files and is the same.
    fn is_of(&self, other: &Credentials) -> bool {
        let Credentials { owner, certificates, authorities } = &self.credentials;
        let same = |(a, b): (&weir_model::draft::CertificateDraft, &weir_model::draft::CertificateDraft)| {
            a.files == b.files && a.read == b.read
        };
        *owner == other.owner
            && certificates.len() == other.certificates.len()
            && certificates.iter().zip(&other.certificates).all(same)
            && match (authorities, &other.authorities) {
                (Some(a), Some(b)) => a.file == b.file && a.read == b.read,
                (a, b) => a.is_none() && b.is_none(),
            }
    }

    fn look(&mut self, now: Moment, wall: u64) -> Option<Change> {
        let mut renewed = Renewed {
            owner: self.credentials.owner.clone(),
            certificates: self.credentials.certificates.iter().map(|draft| draft.read.clone()).collect(),
            authorities: self.credentials.authorities.as_ref().map(|draft| draft.read.clone()),
        };
        let mut told = Told::default();
        let drafts = self.credentials.certificates.iter().zip(&mut self.certificates);
        let purpose = match self.credentials.owner {
            Owner::Listener(_) => Purpose::Server,
            Owner::Pool(_) => Purpose::Client,
        };
        for ((draft, watched), slot) in drafts.zip(&mut renewed.certificates) {
            let read = || certificates::certificate(&draft.files, purpose, wall);
            let outcome = watched.changed(now, read, |new| *new == *draft.read);
            if let Some(new) = told.of(outcome, &draft.read.name) {
                told.said.push(format!("uses the new {}, which ends on {}", new.name, date(new.not_after)));
                told.warned.extend(expiry::sentence(&new, wall));
                *slot = Arc::new(new);
            }
        }
        if let (Some(draft), Some(watched)) = (&self.credentials.authorities, &mut self.authorities) {
            let name = draft.file.display().to_string();
            let outcome = watched.changed(
                now,
                || certificates::authorities(&draft.file, purpose == Purpose::Client, wall),
                |new| *new == draft.read,
            );
            if let Some(new) = told.of(outcome, &name) {
                told.said
                    .push(format!("believes the authorities of the new {name}, {} in number", new.len()));
                renewed.authorities = Some(new);
            }
        }
        let watched = self.certificates.iter().chain(&self.authorities);
        let Told { is_new, refused, said, warned } = told;
        (!said.is_empty() || !warned.is_empty()).then(|| Change {
            owner: self.credentials.owner.clone(),
            renewed: is_new.then_some(renewed),
            refused,
            problems: watched.filter_map(|watched| watched.problem.clone()).collect(),
            said,
            warned,
        })
    }
}

/// What is told of one TLS.
#[derive(Default)]
struct Told {
    is_new: bool,
    refused: bool,
    said: Vec<String>,
    warned: Vec<String>,
}

impl Told {
    /// Something new, if it is that; whatever else it is is said here.
    fn of<T>(&mut self, outcome: Outcome<T>, name: &str) -> Option<T> {
        match outcome {
            Outcome::Nothing => None,
            Outcome::Mended => {
                self.said.push(format!("finds {name} as it was again"));
                None
            }
            Outcome::New(new, warnings) => {
                self.is_new = true;
                self.warned.extend(warnings);
                Some(new)
            }
            Outcome::Refused(why) => {
                self.refused = true;
                self.warned.push(format!("goes on with what it had read of {name}: {why}"));
                None
            }
        }
    }
}
