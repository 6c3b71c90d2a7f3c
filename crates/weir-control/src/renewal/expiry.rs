//! Certificates that end soon: said when they come into use, and every day from then on.

use weir_model::{snapshot::Snapshot, tls::Certificate};

use crate::config::certificates::date;

const DAY: u64 = 86_400;
/// From here on something should have renewed it.
const SOON: u64 = 30 * DAY;
/// From here on somebody has to.
const NOW: u64 = 7 * DAY;

/// What there is to say of a certificate that ends soon or has ended; `now` is in seconds since 1970.
pub fn sentence(certificate: &Certificate, now: u64) -> Option<String> {
    let Certificate { name, not_after, .. } = certificate;
    let end = date(*not_after);
    let left = not_after.saturating_sub(now);
    if *not_after < now {
        return Some(format!("{name} has expired on {end}: nobody takes it; have it issued anew"));
    }
    let days = match left / DAY {
        0 => "in less than a day".to_owned(),
        1 => "in a day".to_owned(),
        days => format!("in {days} days"),
    };
    match left {
        ..NOW => Some(format!("{name} ends {days}, on {end}: have it issued anew now")),
        NOW..SOON => Some(format!("{name} ends {days}, on {end}: it is time to have it issued anew")),
        _ => None,
    }
}

/// A line for each certificate of a snapshot that ends soon or has ended.
pub fn warnings(snapshot: &Snapshot, now: u64) -> Vec<String> {
    let mut lines = Vec::new();
    for listener in &snapshot.listeners {
        let certificates = listener.tls.iter().flat_map(|tls| &tls.certificates);
        let told = certificates.filter_map(|certificate| sentence(certificate, now));
        lines.extend(told.map(|text| format!("certificate: listener={} {text}", listener.name)));
    }
    for pool in &snapshot.pools {
        let certificate = pool.tls.as_ref().and_then(|tls| tls.identity.as_ref());
        let told = certificate.and_then(|certificate| sentence(certificate, now));
        lines.extend(told.map(|text| format!("certificate: pool={} {text}", pool.name)));
    }
    lines
}
