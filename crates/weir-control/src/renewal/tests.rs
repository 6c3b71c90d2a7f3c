//! Files that change, in all the ways in which they do.

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use weir_model::{snapshot::Snapshot, status::Registry};
use weir_testkit::{Authority, Folder, Wanted};

use super::*;
use crate::config::{self, Compiled, Surroundings};

/// The beginning of 2030.
const WALL: u64 = 1_893_456_000;

struct Running {
    snapshot: Snapshot,
    renewals: Renewals,
    now: Moment,
}

impl Running {
    /// Reads this, and looks at everything once.
    fn start(folder: &Folder, tls: &str) -> Self {
        let text = format!(
            "listeners: {{ web: {{ bind: \"127.0.0.1:0\", protocol: https, pool: app, tls: {tls} }} }}\n\
             pools: {{ app: {{ backends: [\"10.0.0.1:80\"] }} }}\n"
        );
        let file = folder.join("weir.yaml");
        let surroundings = Surroundings { now: WALL, ..Surroundings::default() };
        let loaded = config::from_text_in(&file.to_string_lossy(), &text, &surroundings);
        let compiled = config::compile(loaded, 1, &mut Registry::new(1));
        let Compiled { snapshot, credentials, .. } =
            compiled.unwrap_or_else(|refusal| panic!("{}", refusal.render(config::Style::Plain)));
        let mut renewals = Renewals::default();
        renewals.follow(credentials);
        let mut running = Self { snapshot, renewals, now: Moment(1000) };
        assert!(running.wait().is_empty(), "nothing has changed");
        running
    }

    /// Looks until the files are quiet, and takes what is new.
    fn wait(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for _ in 0..3 {
            self.now = self.now + Millis::secs(1);
            let found = self.renewals.look(self.now, WALL);
            let new: Vec<_> = found.iter().filter_map(|change| change.renewed.clone()).collect();
            self.snapshot = weir_model::snapshot::compile::renewed(&self.snapshot, &new);
            new.iter().for_each(|new| self.renewals.took(new));
            changes.extend(found);
        }
        changes
    }

    /// The names that the listener's certificates are for.
    fn names(&self) -> Vec<String> {
        let tls = self.snapshot.listeners[0].tls.as_ref().unwrap();
        tls.certificates.iter().flat_map(|certificate| &certificate.names).map(ToString::to_string).collect()
    }
}

#[track_caller]
fn only(changes: Vec<Change>) -> Change {
    let [change] = changes.try_into().unwrap_or_else(|changes| panic!("{changes:#?}"));
    change
}

#[test]
fn a_new_certificate_comes_in_place_of_the_old_one_alone() {
    let (folder, root) = (Folder::new("renewal"), Authority::new("Root"));
    root.server(&["a.test"]).write(&folder, "a");
    root.server(&["b.test"]).write(&folder, "b");
    let mut running = Running::start(
        &folder,
        "{ certificates: [{ cert: a.pem, key: a.key }, { cert: b.pem, key: b.key }] }",
    );
    assert_eq!(running.names(), ["a.test", "b.test"]);
    let generation = running.snapshot.generation;
    let before = running.snapshot.listeners[0].clone();

    root.server(&["new.test"]).write(&folder, "b");
    let change = only(running.wait());
    assert_eq!(running.names(), ["a.test", "new.test"]);
    assert!(change.said[0].contains("b.pem") && change.said[0].contains("2089"), "{:?}", change.said);
    assert!(!change.refused && change.problems.is_empty() && change.warned.is_empty(), "{change:?}");
    assert!(running.snapshot.generation > generation);
    let after = &running.snapshot.listeners[0];
    assert!(Arc::ptr_eq(&before.status, &after.status) && before.routes.routes().len() == 1);
    let of = |listener: &weir_model::listener::Listener| listener.tls.clone().unwrap();
    assert!(Arc::ptr_eq(&of(&before).certificates[0], &of(after).certificates[0]));
    assert!(running.wait().is_empty());
}

#[test]
fn a_pair_that_is_half_there_is_waited_for() {
    let (folder, root) = (Folder::new("renewal"), Authority::new("Root"));
    root.server(&["old.test"]).write(&folder, "a");
    let mut running = Running::start(&folder, "{ certificates: [{ cert: a.pem, key: a.key }] }");
    let new = root.server(&["new.test"]);
    folder.write("a.pem", new.pem());
    let change = only(running.wait());
    assert!(change.refused && change.renewed.is_none());
    assert!(change.problems[0].contains("does not belong to the certificate"), "{:?}", change.problems);
    assert_eq!(running.names(), ["old.test"]);
    assert!(running.wait().is_empty(), "it is said once");

    folder.write("a.key", new.key_pem());
    let change = only(running.wait());
    assert!(!change.refused && change.problems.is_empty());
    assert_eq!(running.names(), ["new.test"]);
}

#[test]
fn what_is_broken_is_said_again_only_if_it_is_broken_otherwise() {
    let (folder, root) = (Folder::new("renewal"), Authority::new("Root"));
    let old = root.server(&["old.test"]);
    old.write(&folder, "a");
    let mut running = Running::start(&folder, "{ certificates: [{ cert: a.pem, key: a.key }] }");
    for (content, words) in [("", Some("is empty")), ("\n\n", None), ("words", Some("not PEM text"))] {
        folder.write("a.pem", content);
        let said: Vec<_> = running.wait().into_iter().flat_map(|change| change.warned).collect();
        match words {
            Some(words) => assert!(said.len() == 1 && said[0].contains(words), "{said:?}"),
            None => assert!(said.is_empty(), "{said:?}"),
        }
    }
    fs::remove_file(folder.join("a.pem")).unwrap();
    assert!(only(running.wait()).problems[0].contains("No such file"));
    old.write(&folder, "a");
    let change = only(running.wait());
    assert!(change.renewed.is_none() && change.problems.is_empty(), "{change:?}");
    assert_eq!(running.names(), ["old.test"]);
}

/// `tls.crt -> ..data/tls.crt`, `..data -> ..1`: what a mounted secret looks like, and how it changes.
#[test]
fn folders_behind_symbolic_links_may_be_swapped() {
    let (folder, root) = (Folder::new("renewal"), Authority::new("Root"));
    let version = |number: &str, name: &str| {
        let inner = folder.join(number);
        fs::create_dir(&inner).unwrap();
        root.server(&[name]).write(&inner, "tls");
    };
    version("..1", "old.test");
    symlink("..1", folder.join("..data")).unwrap();
    for file in ["tls.pem", "tls.key"] {
        symlink(PathBuf::from("..data").join(file), folder.join(file)).unwrap();
    }
    let mut running = Running::start(&folder, "{ certificates: [{ cert: tls.pem, key: tls.key }] }");
    version("..2", "new.test");
    symlink("..2", folder.join("..new")).unwrap();
    fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
    fs::remove_dir_all(folder.join("..1")).unwrap();
    assert!(only(running.wait()).renewed.is_some());
    assert_eq!(running.names(), ["new.test"]);
}

#[test]
fn authorities_of_clients_change_as_well() {
    let (folder, root) = (Folder::new("renewal"), Authority::new("Root"));
    root.server(&["a.test"]).write(&folder, "a");
    root.write(&folder, "clients.pem");
    let tls =
        "{ certificates: [{ cert: a.pem, key: a.key }], client_auth: { ca: clients.pem, mode: optional } }";
    let mut running = Running::start(&folder, tls);
    let other = Authority::new("Other");
    folder.write("clients.pem", other.pem() + &root.pem());
    let change = only(running.wait());
    assert!(change.said[0].contains("2 in number"), "{:?}", change.said);
    let auth = |running: &Running| {
        let auth = running.snapshot.listeners[0].tls.as_ref()?.client_auth.as_ref()?;
        Some((auth.authorities.len(), auth.required))
    };
    assert_eq!(auth(&running), Some((2, false)));
    folder.write("clients.pem", root.server(&["x.test"]).key_pem());
    assert!(only(running.wait()).refused);
    assert_eq!(auth(&running), Some((2, false)));
}

#[test]
fn pools_show_and_believe_what_is_new_also_after_a_discovery() {
    let (folder, root) = (Folder::new("renewal"), Authority::new("Root"));
    root.client("old.test").write(&folder, "me");
    root.write(&folder, "ca.pem");
    let text = "listeners: { web: { bind: \"127.0.0.1:0\", protocol: http, pool: app } }\n\
                pools: { app: { discover: { dns: \"app.test:443\" }, tls: { ca: ca.pem, cert: me.pem, key: me.key } } }\n";
    let mut registry = Registry::new(1);
    let loaded = config::from_text(&folder.join("weir.yaml").to_string_lossy(), text);
    let compiled = config::compile(loaded, 1, &mut registry);
    let Compiled { snapshot, credentials, mut discovering, .. } =
        compiled.unwrap_or_else(|refusal| panic!("{}", refusal.render(config::Style::Plain)));
    let mut renewals = Renewals::default();
    renewals.follow(credentials);
    let mut running = Running { snapshot, renewals, now: Moment(1000) };
    assert!(running.wait().is_empty());
    let before = running.snapshot.pools[0].clone();

    let new = root.client("new.test");
    new.write(&folder, "me");
    folder.write("ca.pem", Authority::new("Other").pem() + &root.pem());
    let change = only(running.wait());
    assert_eq!(change.owner, Owner::Pool("app".into()));
    let shows = |snapshot: &Snapshot| {
        let tls = snapshot.pools[0].tls.clone().unwrap();
        (tls.identity.clone().unwrap().names[0].to_string(), tls.authorities.clone().unwrap().len())
    };
    assert_eq!(shows(&running.snapshot), ("new.test".to_owned(), 2));
    assert!(Arc::ptr_eq(&before.status, &running.snapshot.pools[0].status));

    let renewed = change.renewed.unwrap();
    discovering.iter_mut().for_each(|draft| {
        weir_model::snapshot::compile::renew_draft(draft, std::slice::from_ref(&renewed));
    });
    let (found, _) =
        weir_model::snapshot::compile::anew(&discovering, &running.snapshot, &mut registry).unwrap();
    assert_eq!(shows(&found), ("new.test".to_owned(), 2), "what is found later changes nothing of that");
}

#[test]
fn a_file_that_changes_again_and_again_is_waited_for() {
    let (folder, root) = (Folder::new("renewal"), Authority::new("Root"));
    root.server(&["old.test"]).write(&folder, "a");
    let mut running = Running::start(&folder, "{ certificates: [{ cert: a.pem, key: a.key }] }");
    for number in 0..5 {
        folder.write("a.pem", "x".repeat(number + 1));
        running.now = running.now + Millis::secs(1);
        assert!(running.renewals.look(running.now, WALL).is_empty(), "it was not quiet");
    }
    assert!(only(running.wait()).refused);
}

#[test]
fn ends_are_foretold() {
    let root = Authority::new("Root");
    let folder = Folder::new("expiry");
    let day = 86_400;
    for (left, words) in [
        (31 * day + 60, None),
        (29 * day + 60, Some("in 29 days")),
        (8 * day + 60, Some("it is time")),
        (day + 60, Some("in a day")),
        (60, Some("in less than a day")),
    ] {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(WALL + left);
        root.issue(Wanted::server(&["a.test"]).until(end)).write(&folder, "a");
        let running = Running::start(&folder, "{ certificates: [{ cert: a.pem, key: a.key }] }");
        let said = expiry::warnings(&running.snapshot, WALL);
        assert_eq!(said.len(), usize::from(words.is_some()), "{said:?}");
        assert!(words.is_none_or(|words| said[0].contains(words)), "{said:?}");
        let said = expiry::warnings(&running.snapshot, WALL + left + 1);
        assert!(said[0].contains("listener=web") && said[0].contains("has expired on 2030"), "{said:?}");
    }
}
