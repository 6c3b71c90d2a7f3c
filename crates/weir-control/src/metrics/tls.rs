//! Certificates: when they end, and what has become of new ones.

use std::collections::BTreeMap;

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
}
