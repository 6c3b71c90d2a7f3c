//! Where it is written down how the reloads so far went.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// How the reloads so far went; the start counts as a reload that went well.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The generation that is published: `weir_config_generation`.
    pub generation: u64,
    /// When it was loaded, as RFC 3339.
    pub loaded_at: String,
    /// The file or directory.
    pub source: String,
    /// Whether the last attempt went well: `weir_config_last_reload_success`.
    pub last_reload_success: bool,
    /// Attempts that went well since the start, without the start itself.
    pub reloads: u64,
    /// Attempts that were refused since the start.
    pub refused: u64,
    /// Why the last attempt was refused, in one line; none if it went well.
    pub last_error: Option<String>,
}

/// Where the reloads so far are written down. Clones are the same ledger.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Mutex<Record>>);

impl Ledger {
    /// The ledger of a process that has just started.
    pub fn new(generation: u64, loaded_at: String, source: String) -> Self {
        Self(Arc::new(Mutex::new(Record {
            generation,
            loaded_at,
            source,
            last_reload_success: true,
            reloads: 0,
            refused: 0,
            last_error: None,
        })))
    }

    /// What it says now.
    pub fn record(&self) -> Record {
        self.lock().clone()
    }

    /// Writes down that an attempt went well.
    pub fn went_well(&self, generation: u64, loaded_at: String) {
        let mut record = self.lock();
        record.generation = generation;
        record.loaded_at = loaded_at;
        record.last_reload_success = true;
        record.reloads += 1;
        record.last_error = None;
    }

    /// Writes down that an attempt was refused.
    pub fn was_refused(&self, error: &str) {
        let mut record = self.lock();
        record.last_reload_success = false;
        record.refused += 1;
        record.last_error = Some(error.to_owned());
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
