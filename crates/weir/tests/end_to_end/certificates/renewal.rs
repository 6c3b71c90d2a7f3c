//! Files that change while weir runs.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use weir_testkit::{RawClient, wait_until};

use super::{Site, get, shown, status, told};
use crate::support::journal;

#[test]
fn a_new_certificate_is_shown_without_a_reload_and_nobody_loses_a_connection() {
    let site = Site::new("renewal");
    let (log, said) = journal();
    let weir = site.start_with(log);
    let (address, client) = (weir.address("web"), site.client(None));
    let mut held = RawClient::connect_tls(address, &client);
    assert_eq!(held.get("/").status(), 200);
    let before = weir.snapshot().generation;

    let new = site.root.server(&["a.test", "b.test"]);
    new.write(&site.folder, "a");
    wait_until("the new certificate is shown", || shown(address, &client).as_ref() == Some(&new.chain[0]));
    assert_eq!(held.get("/").status(), 200, "the connection goes on");
    assert!(weir.snapshot().generation > before);
    wait_until("it is counted", || status(&weir)["renewals"] == 1);
    let status = status(&weir);
    assert_eq!(status["certificates"][0]["names"], serde_json::json!(["a.test", "b.test"]));
    assert_eq!(status["certificates"][0]["not_after"], "2089-01-01T00:00:00.000Z");
    assert_eq!((&status["renewals"], &status["renewals_refused"]), (&1.into(), &0.into()));
    let metrics = told(&weir, "/metrics");
    let name = site.folder.join("a.pem");
    let series =
        format!("weir_tls_cert_not_after_seconds{{listener=\"web\",name=\"{}\"}} 3755376000", name.display());
    assert!(metrics.contains(&series), "{series} is not in\n{metrics}");
    assert!(metrics.contains("weir_tls_renewals_total{listener=\"web\",result=\"taken\"} 1"), "{metrics}");
    wait_until("it is said", || said().contains("certificate: listener=web uses the new"));
    assert_eq!(weir.reloads().unwrap().reloads, 0, "nothing was reloaded");
}

#[test]
fn a_broken_file_keeps_the_old_certificate_and_refuses_reloads() {
    let site = Site::new("renewal-broken");
    let (log, said) = journal();
    let weir = site.start_with(log);
    let (address, client) = (weir.address("web"), site.client(None));
    let old = shown(address, &client).unwrap();

    site.folder.write("a.key", "-----BEGIN PRIVATE KEY-----\n");
    wait_until("it is noticed", || status(&weir)["renewals_refused"] == 1);
    let problems = status(&weir)["problems"].to_string();
    assert!(problems.contains("a.key") && problems.contains("cut short"), "{problems}");
    assert_eq!(shown(address, &client), Some(old));
    wait_until("it is said", || said().contains("goes on with what it had read of"));
    let refusal = weir.reload().unwrap_err();
    assert!(
        refusal.error.contains("cut short") && refusal.error.contains("weir.yaml:3"),
        "{}",
        refusal.error
    );
    assert_eq!(get(address, &client, "").unwrap().status(), 200);

    let new = site.root.server(&["a.test"]);
    new.write(&site.folder, "a");
    wait_until("it is mended", || shown(address, &client).as_ref() == Some(&new.chain[0]));
    wait_until("nothing is wrong any more", || status(&weir)["problems"] == serde_json::json!([]));
    weir.reload().unwrap();
    assert_eq!(shown(address, &client).unwrap(), new.chain[0]);
    let times = said().matches("goes on with what it had read of").count();
    assert_eq!(times, 1, "it is said once:\n{}", said());
}

#[test]
fn whom_to_believe_changes_with_its_file() {
    let site = Site::new("renewal-authorities").asking("require");
    let weir = site.start();
    let other = weir_testkit::Authority::new("Other");
    let (ours, theirs) = (site.root.client("ours"), other.client("theirs"));
    let answered =
        |shows| get(weir.address("web"), &site.client(Some(shows)), "").map(|answer| answer.status());
    assert_eq!((answered(&ours), answered(&theirs)), (Some(200), None));
    other.write(&site.folder, "clients.pem");
    wait_until("the other authority is believed", || answered(&theirs) == Some(200));
    assert_eq!(answered(&ours), None, "and the first one is not any more");
}

/// New connections and kept ones, while every kind of change goes on.
#[test]
fn reloads_and_renewals_under_load_fail_nobody() {
    const RELOADS: usize = 20;
    let site = Site::new("renewal-load");
    site.root.server(&["a.test"]).write(&site.folder, "b");
    let weir = site.start();
    let (address, client) = (weir.address("web"), site.client(None));
    let (done, failed, stopped) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let count = |went_well: bool| {
        done.fetch_add(1, Ordering::Relaxed);
        failed.fetch_add(usize::from(!went_well), Ordering::Relaxed);
    };
    /// Lets the clients end, whatever becomes of the test.
    struct Stop<'s>(&'s AtomicBool);

    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    thread::scope(|scope| {
        let _stop = Stop(&stopped);
        for _ in 0..3 {
            scope.spawn(|| {
                while !stopped.load(Ordering::Relaxed) {
                    count(get(address, &client, "").is_some_and(|answer| answer.status() == 200));
                }
            });
            scope.spawn(|| {
                let mut kept = RawClient::connect_tls(address, &client);
                while !stopped.load(Ordering::Relaxed) {
                    kept.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
                    count(kept.response("GET").is_some_and(|answer| answer.status() == 200));
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
        let other = site.text().replace("cert: a.pem, key: a.key", "cert: b.pem, key: b.key");
        for number in 0..RELOADS {
            let text = if number % 2 == 0 { other.clone() } else { site.text() };
            site.folder.write("weir.yaml", text);
            weir.reload().unwrap();
        }
        let new = site.root.server(&["a.test"]);
        new.write(&site.folder, "a");
        wait_until("the new certificate is shown", || {
            // Whoever resumes a session is shown nothing.
            shown(address, &site.client(None)).as_ref() == Some(&new.chain[0])
        });
    });
    assert_eq!(failed.into_inner(), 0, "of {done:?}");
    assert!(done.into_inner() > 100);
}

#[test]
fn what_is_broken_at_the_start_is_said_with_file_reason_and_remedy() {
    let site = Site::new("renewal-start");
    site.root.server(&["other.test"]).write(&site.folder, "other");
    site.folder.write("a.key", std::fs::read(site.folder.join("other.key")).unwrap());
    let error = weir::app::App::from_path(&site.file(), weir::app::Sink::none()).unwrap_err().to_string();
    for part in ["weir.yaml:3:", "a.key", "does not belong to the certificate", "help: name the key"] {
        assert!(error.contains(part), "{part} is not in\n{error}");
    }
}
