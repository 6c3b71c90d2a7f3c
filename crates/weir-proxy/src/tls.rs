//! TLS as a client begins it, and to backends.

mod client;
pub(crate) mod hello;
mod trust;

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use weir_model::snapshot::Snapshot;

pub(crate) use client::{Carries, Client};
pub(crate) use trust::refused;

/// Makes what the path needs of every TLS in a snapshot that is new in it.
///
/// # Errors
/// Why one of them cannot be used, for people.
pub fn prepare(snapshot: &Snapshot) -> Result<(), String> {
    let provider = Arc::new(default_provider());
    let mut system = client::SystemRoots::default();
    for pool in &snapshot.pools {
        let Some(origination) = &pool.tls else { continue };
        if origination.prepared.get::<Client>().is_none() {
            let client = Client::new(origination, &provider, &mut system)
                .map_err(|why| format!("the `tls` of the pool `{}`: {why}", pool.name))?;
            origination.prepared.fill(Arc::new(client));
        }
    }
    Ok(())
}
