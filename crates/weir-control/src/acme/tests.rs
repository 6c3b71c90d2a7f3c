//! Storage and its lock, as several instances see them.

mod authority;

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc, thread};

use weir_model::{
    acme::{Acme, Challenge, Renewal},
    status::{AcmeStatus, Registry},
};

use super::{
    Shared, Tasks,
    lock::{LEASE, Lock, Taken},
    placeholder::self_signed,
    proof::Record,
    store::{State, Store},
};
use crate::config;

/// A folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("weir-acme-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Self(folder)
    }

    /// An instance's view of it. The folder is made with the first file.
    fn store(&self) -> Store {
        let directory = "https://acme.example/directory";
        Store::new(&Acme {
            label: weir_model::acme::label(directory, ["example.com"]).unwrap().into(),
            directory: directory.into(),
            email: Some("ops@example.com".into()),
            domains: vec!["example.com".into()],
            storage: self.0.as_path().into(),
            challenge: Challenge::Http01,
            authorities: None,
            status: Arc::<AcmeStatus>::default(),
        })
    }

    fn lock(&self, owner: &str) -> Lock {
        Lock::new(self.store(), owner.to_owned())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn one_holds_the_lock_until_its_time_is_over() {
    let folder = Folder::new("lock");
    let (one, other) = (folder.lock("one"), folder.lock("other"));
    assert_eq!(one.take(1000).unwrap(), Taken::Held);
    assert_eq!(other.take(1000).unwrap(), Taken::Others);
    assert!(other.is_others(1000).unwrap() && !one.is_others(1000).unwrap());
    // It says again that it holds it, and so keeps it.
    assert!(one.keep(1000 + LEASE - 1).unwrap());
    assert_eq!(other.take(1000 + LEASE).unwrap(), Taken::Others);
    // It has died, and comes back too late.
    let later = 1000 + 3 * LEASE;
    assert!(!other.is_others(later).unwrap());
    assert_eq!(other.take(later).unwrap(), Taken::Claimed);
    assert!(other.is_own(later).unwrap() && !one.keep(later).unwrap());
    one.release(later).unwrap();
    assert!(other.is_own(later).unwrap(), "what is another's is not given back");
    other.release(later).unwrap();
    assert_eq!(one.take(later).unwrap(), Taken::Held);
}

#[test]
fn of_many_that_want_it_one_gets_it() {
    let folder = Folder::new("crowd");
    for round in 0..20 {
        let locks: Vec<_> = (0..8).map(|number| folder.lock(&format!("{round} {number}"))).collect();
        let taken: Vec<_> = thread::scope(|scope| {
            let takes = locks.iter().map(|lock| scope.spawn(|| lock.take(50).unwrap())).collect::<Vec<_>>();
            takes.into_iter().map(|take| take.join().unwrap()).collect()
        });
        assert_eq!(taken.iter().filter(|taken| **taken == Taken::Held).count(), 1, "{taken:?}");
        locks.iter().for_each(|lock| lock.release(50).unwrap());
    }
}

#[test]
fn a_lock_that_is_nonsense_does_not_count_for_ever() {
    let folder = Folder::new("nonsense");
    let lock = folder.lock("one");
    let path = folder.store().path("lock");
    assert_eq!(lock.take(50).unwrap(), Taken::Held);
    for text in ["", "{", "[]", r#"{"owner":"other","until":99999999999}"#] {
        fs::write(&path, text).unwrap();
        assert!(!lock.is_others(50).unwrap(), "{text}");
        assert_eq!(lock.take(50).unwrap(), Taken::Claimed, "{text}");
    }
}

#[test]
fn files_are_for_nobody_else_and_replaced_as_a_whole() {
    let folder = Folder::new("files");
    let store = folder.store();
    assert_eq!((store.state(), store.proofs(), store.stamp()), (State::default(), Vec::new(), None));
    let state = State::default().failed(7, "it rains", Some(3600));
    store.set_state(&state).unwrap();
    assert_eq!(store.state(), state);
    assert_eq!(Renewal { setbacks: store.state().setbacks(), ..Renewal::default() }.due(8), 3607);
    let record = Record {
        domain: "example.com".to_owned(),
        token: "token".to_owned(),
        authorization: "token.key".to_owned(),
        digest: vec![0; 32],
    };
    store.set_proofs(std::slice::from_ref(&record)).unwrap();
    assert_eq!(folder.store().proofs(), [record]);
    // The account that was there first stays.
    assert_eq!(store.keep_account("one".to_owned()).unwrap(), "one");
    assert_eq!(folder.store().keep_account("other".to_owned()).unwrap(), "one");
    assert_eq!(store.account::<String>().unwrap().as_deref(), Some("one"));
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.0), 0o700);
    let files: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600));
    store.set_proofs(&[]).unwrap();
    store.forget_account().unwrap();
    assert!(store.proofs().is_empty() && store.account::<String>().unwrap().is_none());
    // What is damaged is a memory that is lost, and no more.
    fs::write(store.path("json"), "{").unwrap();
    assert_eq!(store.state(), State::default());
}

#[test]
fn the_certificate_that_is_there_is_known_by_its_times_and_number() {
    let folder = Folder::new("held");
    let store = folder.store();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["example.com".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 4, 1);
    params.serial_number = Some(vec![1, 2, 3, 4, 5, 6, 7, 8, 9].into());
    let pem = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
    store.write_certificate(&pem).unwrap();
    let now = 1_769_904_000;
    let held = store.certificate(now).expect("it can be used");
    assert_eq!((held.valid.start, held.valid.end), (1_767_225_600, 1_775_001_600));
    assert_eq!(held.serial, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(held.draw(), 0x0908_0706_0504_0302);
    assert!(store.stamp().is_some());
    // Without its key it is none.
    store.write_certificate(&pem[..pem.find("-----BEGIN PRIVATE").unwrap()]).unwrap();
    assert!(store.certificate(now).is_none());
    assert!(self_signed("x", &["example.com"], None).is_ok());
}

#[tokio::test]
async fn a_certificate_that_comes_back_at_once_is_told_of_where_operators_look() {
    let folder = Folder::new("back");
    let text = |tls: &str| {
        format!(
            "listeners: {{ web: {{ bind: '127.0.0.1:0', protocol: {tls}, routes: [{{ respond: {{}} }}] }} }}\n"
        )
    };
    let acme = format!(
        "https, tls: {{ acme: {{ directory: 'https://127.0.0.1:1/', domains: [example.com], storage: '{}' }} }}",
        folder.0.display()
    );
    let mut registry = Registry::new(1);
    let mut compiled = |text: &str| {
        let compiled = config::compile(config::from_text("weir.yaml", text), 1, &mut registry).unwrap();
        registry.keep_only(&compiled.snapshot);
        compiled.snapshot
    };
    let (before, _without, after) = (compiled(&text(&acme)), compiled(&text("http")), compiled(&text(&acme)));
    let shared = Shared { log: Arc::new(|_| {}), wall: || 0, date: |_| String::new() };
    let mut tasks = Tasks::default();
    tasks.follow(&before, &shared);
    tasks.follow(&after, &shared);
    let acme = after.listeners[0].acme.as_ref().unwrap();
    assert!(Arc::ptr_eq(&tasks.0[&acme.label].acme.status, &acme.status));
}
