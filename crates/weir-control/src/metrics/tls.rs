//! Certificates: when they end, and what has become of new ones.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use weir_model::snapshot::Snapshot;

use super::page::{
    Kind::{Counter, Gauge},
    Page,
};

pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    let listeners =
        || snapshot.listeners.iter().filter_map(|listener| Some((listener, listener.tls.as_ref()?)));
    page.family(
        "weir_tls_cert_not_after_seconds",
        Gauge,
        "When the certificate ends, in seconds since 1970; `name` is its file.",
    );
    for (listener, tls) in listeners() {
        // One file may be named twice.
        let ends: BTreeMap<_, _> =
            tls.certificates.iter().map(|certificate| (&*certificate.name, certificate.not_after)).collect();
        for (name, not_after) in ends {
            page.sample("", &[("listener", &listener.name), ("name", name)], not_after);
        }
    }
    page.family(
        "weir_pool_tls_cert_not_after_seconds",
        Gauge,
        "When the certificate ends that backends are shown, in seconds since 1970; `name` is its file.",
    );
    for pool in &snapshot.pools {
        if let Some(shown) = pool.tls.as_ref().and_then(|tls| tls.identity.as_ref()) {
            page.sample("", &[("pool", &pool.name), ("name", &shown.name)], shown.not_after);
        }
    }
    page.family(
        "weir_tls_renewals",
        Counter,
        "Changes of certificate files by what became of them; what was there before stays where one was refused.",
    );
    for (listener, _) in listeners() {
        let renewal = &listener.status.renewal;
        for (result, count) in [("taken", renewal.times_taken()), ("refused", renewal.times_refused())] {
            page.sample("_total", &[("listener", &listener.name), ("result", result)], count);
        }
    }
    issued(page, snapshot);
}

/// Certificates that authorities issue.
fn issued(page: &mut Page, snapshot: &Snapshot) {
    // Two listeners may show the same one.
    let wanted: BTreeMap<_, _> = snapshot
        .listeners
        .iter()
        .filter_map(|listener| listener.acme.as_ref())
        .map(|acme| (&*acme.label, &acme.status))
        .collect();
    page.family(
        "weir_acme_attempts",
        Counter,
        "Attempts of this process to have a certificate issued, by what became of them.",
    );
    for (label, status) in &wanted {
        for (result, count) in [("issued", &status.issued), ("failed", &status.failed)] {
            page.sample("_total", &[("name", label), ("result", result)], count.load(Ordering::Relaxed));
        }
    }
    page.family(
        "weir_acme_next_attempt_timestamp_seconds",
        Gauge,
        "When the certificate is to be issued anew, or is tried again; absent while that is not known.",
    );
    for (label, status) in &wanted {
        let next = status.next_attempt.load(Ordering::Relaxed);
        if next > 0 {
            page.sample("", &[("name", label)], next);
        }
    }
}
