//! Files that are watched for changes: looked at again and again, and said to have changed once they have been quiet.
//!
//! Looking is a `stat` for each file, a few times a second. That sees what the kernel's notifications do not: files behind
//! symbolic links that are swapped (as in mounted ConfigMaps), network file systems, a bind mount of a single file; and an
//! editor that writes a new file in place of the old one is nothing special. It also costs no watch per file.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use weir_model::time::{Millis, Moment};

/// How long files must have been quiet: an editor or a copy may take several steps.
const QUIET: Millis = Millis::secs(1);

/// What the files looked like at one time.
type Look = BTreeMap<PathBuf, Stamp>;

/// What tells one state of a path from another.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stamp {
    /// Device and inode, size, and when its content and its inode changed last, in seconds and nanoseconds.
    File { identity: (u64, u64), size: u64, modified: (i64, i64), changed: (i64, i64) },
    /// What is in it. The times of a folder change with every file in it, also with those that are hidden or half written.
    Folder(BTreeSet<OsString>),
    /// It is not there, or cannot be looked at.
    Nothing,
}

impl Stamp {
    fn of(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => fs::read_dir(path).map_or(Self::Nothing, |entries| {
                let names = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name()));
                Self::Folder(names.filter(|name| is_meant(name.as_bytes())).collect())
            }),
            Ok(found) => Self::File {
                identity: (found.dev(), found.ino()),
                size: found.size(),
                modified: (found.mtime(), found.mtime_nsec()),
                changed: (found.ctime(), found.ctime_nsec()),
            },
            Err(_) => Self::Nothing,
        }
    }
}

/// False for what editors leave beside the file they work on.
fn is_meant(name: &[u8]) -> bool {
    !name.starts_with(b".") && !name.ends_with(b"~") && !name.starts_with(b"#")
}

/// Watches what a configuration was read from.
#[derive(Debug)]
pub struct Watch {
    /// The file or directory that was named.
    root: PathBuf,
    /// Everything that was read on the way.
    paths: Vec<PathBuf>,
    /// What they looked like just before they were read.
    read: Look,
    /// What they looked like last, and since when.
    seen: (Look, Moment),
}

impl Watch {
    /// Watches this file or directory. Call [`Watch::before_reading`] and [`Watch::after_reading`] around every reading.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), paths: Vec::new(), read: Look::new(), seen: (Look::new(), Moment(0)) }
    }

    /// Watches these files, none of which has been read yet.
    pub fn of<'p>(paths: impl Iterator<Item = &'p Path>) -> Self {
        let mut paths = paths.map(Path::to_owned);
        let root = paths.next().unwrap_or_default();
        Self { paths: paths.collect(), ..Self::new(&root) }
    }

    /// Remembers what the files look like: whatever changes from here on is a change.
    pub fn before_reading(&mut self) {
        self.read = self.look();
    }

    /// Learns what was read; also from a configuration that was refused, since that is how it is mended. If nothing could
    /// be read at all, what was known stays.
    pub fn after_reading<'p>(&mut self, paths: impl Iterator<Item = &'p Path>) {
        let paths: Vec<_> = paths.map(Path::to_owned).collect();
        if !paths.is_empty() {
            self.paths = paths;
        }
        // Paths that were not known before count as they are now; those that are not used any more do not count.
        let now = self.look();
        self.read.retain(|path, _| now.contains_key(path));
        for (path, stamp) in now {
            self.read.entry(path).or_insert(stamp);
        }
    }

    /// Looks again. True if the files are not what was read, and have been quiet for a second.
    pub fn has_changed(&mut self, now: Moment) -> bool {
        let look = self.look();
        if look != self.seen.0 {
            self.seen = (look, now);
        }
        let (seen, since) = &self.seen;
        *seen != self.read && now.since(*since) >= QUIET
    }

    fn look(&self) -> Look {
        let paths = self.paths.iter().chain([&self.root]);
        paths.map(|path| (path.clone(), Stamp::of(path))).collect()
    }
}

#[cfg(test)]
mod tests;
