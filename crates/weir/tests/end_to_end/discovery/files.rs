//! `file`: a list that is watched.

use std::{
    env, fs,
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use weir::app::{App, Sink};
use weir_proxy::telemetry::Level;
use weir_testkit::{Answer, FakeBackend, wait_until};

use super::Discovering;

/// A file that is replaced in one step.
struct List(PathBuf);

impl List {
    fn new(name: &str) -> Self {
        let list = Self(env::temp_dir().join(format!("weir-discovery-{name}-{}.yaml", process::id())));
        let _ = fs::remove_file(&list.0);
        list
    }

    fn write(&self, text: &str) {
        let new = self.0.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &self.0).unwrap();
    }

    fn discover(&self) -> String {
        format!("discover: {{ file: '{}' }}", self.0.display())
    }
}

impl Drop for List {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_list_that_cannot_be_read_is_a_warning() {
    let list = List::new("warned");
    let warned = Arc::<AtomicBool>::default();
    let seen = warned.clone();
    let sink = Sink::function(move |line| {
        seen.fetch_or(line.level == Level::Warn && line.text.contains("No such file"), Ordering::Relaxed);
    });
    let _weir = App::from_text_with_log(&super::text(&list.discover()), sink).unwrap();
    wait_until("it is said", || warned.load(Ordering::Relaxed));
}

#[test]
fn a_list_that_comes_back_at_once_is_read_again() {
    let (one, two) = (FakeBackend::answering(Answer::ok("one")), FakeBackend::answering(Answer::ok("two")));
    let list = List::new("back");
    list.write(&format!("- '{}'\n", one.address()));
    let discovering = format!("{}, limits: {{ queue_timeout: 20s }}", list.discover());
    let weir = Discovering::new(&discovering);
    assert_eq!(weir.get().text(), "one");
    // Faster than anybody looks.
    weir.0.reload_text(&super::text(&format!("backends: ['{}']", two.address()))).unwrap();
    weir.0.reload_text(&super::text(&discovering)).unwrap();
    assert_eq!(weir.get().text(), "one");
}

#[test]
fn a_list_is_followed_and_a_broken_one_changes_nothing() {
    let (one, two) = (FakeBackend::answering(Answer::ok("one")), FakeBackend::answering(Answer::ok("two")));
    let list = List::new("followed");
    list.write(&format!("- '{}'\n", one.address()));
    let weir = Discovering::new(&list.discover());
    assert_eq!(weir.get().text(), "one");

    list.write(&format!(
        "[\"{}\", {{ \"address\": \"{}\", \"name\": \"second\", \"weight\": 3 }}]\n",
        one.address(),
        two.address()
    ));
    weir.wait_for(&[&one.address().to_string(), "second"]);
    assert_eq!(weir.0.snapshot().pool("app").unwrap().1.backends[1].weight, 3);

    for (text, words) in [
        ("- nonsense here\n", ":1:3: `nonsense here` is not the address of a backend"),
        ("- 10.0.0.1:80\n- { address: '10.0.0.2:80', wait: 3 }\n", ":2:29: unknown key `wait`"),
        ("- 10.0.0.1:80\n- 10.0.0.1:80\n", ":2:3: there are two backends named `10.0.0.1:80`"),
        ("{ backends: [] }", ":1:1: expected a list of backends"),
        ("[", "is not closed"),
        ("", "the file says nothing"),
        ("[]", "is an empty list"),
    ] {
        list.write(text);
        weir.wait_for_failure(words);
        assert_eq!(weir.backends(), [one.address().to_string(), "second".to_owned()], "{text:?}");
    }
    fs::remove_file(&list.0).unwrap();
    weir.wait_for_failure("No such file");
    assert_eq!(weir.get().status(), 200);

    list.write(&format!("- '{}'\n", two.address()));
    weir.wait_for(&[&two.address().to_string()]);
    wait_until("the failure is over", || weir.discovery()["last_error"].is_null());
    assert_eq!(weir.get().text(), "two");
}

#[test]
fn a_list_may_come_later_than_weir() {
    let backend = FakeBackend::answering(Answer::ok("late"));
    let list = List::new("late");
    let weir = Discovering::new(&list.discover());
    weir.wait_for_failure("No such file");
    assert_eq!(weir.get().status(), 503);
    list.write(&format!("- '{}'\n", backend.address()));
    weir.wait_for(&[&backend.address().to_string()]);
    assert_eq!(weir.get().text(), "late");
}
