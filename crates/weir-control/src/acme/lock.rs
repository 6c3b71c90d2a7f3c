//! Who renews a certificate, where several instances share its storage: a file with a name and an end. Who holds it says so
//! again while it works; one that died is succeeded when its time is over.
//!
//! The clocks of the instances have to agree to within a minute or two. If two of them ever hold the same lock, because one
//! of them was asleep for a while, they get two certificates, and both are good.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::store::{Store, absent_is_fine};

/// For how long it is held unless that is said again, in seconds.
pub(super) const LEASE: u64 = 300;
/// After a lock was taken from somebody whose time was over, others that saw the same may still be about to do so.
pub(super) const SETTLING: Duration = Duration::from_secs(2);

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    owner: String,
    /// In seconds since 1970.
    until: u64,
}

/// The lock as one instance sees it.
#[derive(Clone, Debug)]
pub(super) struct Lock {
    store: Store,
    owner: String,
}

/// What came of an attempt to take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is held.
    Held,
    /// It is held if [`Lock::is_own`] after [`SETTLING`].
    Claimed,
    /// Somebody else has it.
    Others,
}

impl Lock {
    /// `owner` has to differ between instances.
    pub(super) const fn new(store: Store, owner: String) -> Self {
        Self { store, owner }
    }

    fn read(&self) -> io::Result<Option<Record>> {
        match self.store.json(&self.store.path("lock")) {
            // Nobody's: it is not written like this.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
                Ok(Some(Record { owner: String::new(), until: 0 }))
            }
            other => other,
        }
    }

    /// True if somebody else holds it.
    pub(super) fn is_others(&self, now: u64) -> io::Result<bool> {
        Ok(self.read()?.is_some_and(|record| record.owner != self.owner && is_on(&record, now)))
    }

    /// True if it is held by this instance.
    pub(super) fn is_own(&self, now: u64) -> io::Result<bool> {
        Ok(self.read()?.is_some_and(|record| record.owner == self.owner && is_on(&record, now)))
    }

    /// Takes it, if nobody has it.
    pub(super) fn take(&self, now: u64) -> io::Result<Taken> {
        let record = Record { owner: self.owner.clone(), until: now + LEASE };
        let path = self.store.path("lock");
        match self.read()? {
            Some(other) if other.owner != self.owner && is_on(&other, now) => Ok(Taken::Others),
            Some(_) => self.store.write_json(&path, &record).map(|()| Taken::Claimed),
            None => match self.store.create(&path, &serde_json::to_vec(&record)?) {
                Ok(()) => Ok(Taken::Held),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Taken::Others),
                Err(error) => Err(error),
            },
        }
    }

    /// Says again that it is held; false if it is not any more.
    pub(super) fn keep(&self, now: u64) -> io::Result<bool> {
        if !self.is_own(now)? {
            return Ok(false);
        }
        let record = Record { owner: self.owner.clone(), until: now + LEASE };
        self.store.write_json(&self.store.path("lock"), &record).map(|()| true)
    }

    /// Gives it back, if it is held.
    pub(super) fn release(&self, now: u64) -> io::Result<()> {
        if self.is_own(now)? {
            return absent_is_fine(std::fs::remove_file(self.store.path("lock")));
        }
        Ok(())
    }
}

/// One that ends later than any lock can was written by a clock that is wrong: it does not count for ever.
const fn is_on(record: &Record, now: u64) -> bool {
    record.until > now && record.until <= now.saturating_add(2 * LEASE)
}
