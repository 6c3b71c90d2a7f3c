//! What editors, copies and mounted volumes do to files.

use std::os::unix::fs::symlink;

use super::*;

/// A folder that is there for one test, and a clock that the test turns.
struct World {
    folder: PathBuf,
    watch: Watch,
    now: u64,
}

impl World {
    fn new(name: &str, root: &str, files: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("weir-watch-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for file in files {
            fs::write(folder.join(file), "first").unwrap();
        }
        let mut world = Self { watch: Watch::new(&folder.join(root)), folder, now: 0 };
        world.read(files);
        world
    }

    /// As a reload does it.
    fn read(&mut self, files: &[&str]) {
        self.watch.before_reading();
        let paths: Vec<_> = files.iter().map(|file| self.folder.join(file)).collect();
        self.watch.after_reading(paths.iter().map(PathBuf::as_path));
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.join(file), text).unwrap();
    }

    /// Looks four times a second for so many seconds; how often that was a change.
    fn changes_within(&mut self, seconds: u64) -> usize {
        let looks = (0..seconds * 4).map(|_| {
            self.now += 250;
            self.watch.has_changed(Moment(self.now))
        });
        looks.filter(|changed| *changed).count()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_change_counts_once_it_has_been_quiet() {
    let mut world = World::new("quiet", "weir.yaml", &["weir.yaml"]);
    assert_eq!(world.changes_within(5), 0);
    for text in ["a", "ab", "abc"] {
        world.write("weir.yaml", text);
        world.now += 250;
        assert!(!world.watch.has_changed(Moment(world.now)), "it is still being written");
        world.now += 700;
        assert!(!world.watch.has_changed(Moment(world.now)));
    }
    world.now += 300;
    assert!(world.watch.has_changed(Moment(world.now)));
    world.read(&["weir.yaml"]);
    assert_eq!(world.changes_within(5), 0, "it was read");
}

#[test]
fn the_same_text_of_the_same_length_is_seen() {
    let mut world = World::new("same", "weir.yaml", &["weir.yaml"]);
    world.write("weir.yaml", "secon");
    assert!(world.changes_within(2) > 0);
}

#[test]
fn a_file_may_be_replaced_and_may_be_gone_for_a_moment() {
    let mut world = World::new("replace", "weir.yaml", &["weir.yaml"]);
    world.write("new", "next");
    fs::rename(world.folder.join("new"), world.folder.join("weir.yaml")).unwrap();
    assert!(world.changes_within(2) > 0);
    world.read(&["weir.yaml"]);
    fs::remove_file(world.folder.join("weir.yaml")).unwrap();
    assert_eq!(world.changes_within(1), 0);
    world.write("weir.yaml", "again");
    assert!(world.changes_within(2) > 0);
}

#[test]
fn a_link_that_is_swapped_is_a_change() {
    // As a mounted ConfigMap: weir.yaml -> data/weir.yaml, data -> one, and then data -> two.
    let mut world = World::new("link", "weir.yaml", &[]);
    for folder in ["one", "two"] {
        fs::create_dir_all(world.folder.join(folder)).unwrap();
        world.write(&format!("{folder}/weir.yaml"), "text");
    }
    symlink("one", world.folder.join("data")).unwrap();
    symlink("data/weir.yaml", world.folder.join("weir.yaml")).unwrap();
    world.read(&["weir.yaml"]);
    assert_eq!(world.changes_within(3), 0);
    symlink("two", world.folder.join("next")).unwrap();
    fs::rename(world.folder.join("next"), world.folder.join("data")).unwrap();
    assert!(world.changes_within(2) > 0);
}

#[test]
fn files_come_and_go_in_a_folder() {
    let mut world = World::new("folder", "", &["a.yaml"]);
    for name in [".a.yaml.swp", "a.yaml~", "#a.yaml#"] {
        world.write(name, "what an editor leaves");
    }
    assert_eq!(world.changes_within(3), 0);
    world.write("b.yaml", "more");
    assert!(world.changes_within(2) > 0);
    world.read(&["a.yaml", "b.yaml"]);
    assert_eq!(world.changes_within(3), 0);
    world.write("b.yaml", "other");
    assert!(world.changes_within(2) > 0);
    world.read(&["a.yaml", "b.yaml"]);
    fs::remove_file(world.folder.join("b.yaml")).unwrap();
    assert!(world.changes_within(2) > 0);
}

#[test]
fn a_change_while_the_files_are_read_is_not_lost() {
    let mut world = World::new("while", "weir.yaml", &["weir.yaml", "page.html"]);
    world.watch.before_reading();
    world.write("page.html", "changed after it was read");
    let paths = ["weir.yaml", "page.html"].map(|file| world.folder.join(file));
    world.watch.after_reading(paths.iter().map(PathBuf::as_path));
    assert!(world.changes_within(2) > 0);
}

#[test]
fn what_was_known_stays_known_while_nothing_can_be_read() {
    let mut world = World::new("unreadable", "weir.yaml", &["weir.yaml", "page.html"]);
    world.write("weir.yaml", "broken");
    world.read(&[]);
    assert_eq!(world.changes_within(3), 0, "the broken file was looked at once");
    world.write("page.html", "mended");
    assert!(world.changes_within(2) > 0);
}
