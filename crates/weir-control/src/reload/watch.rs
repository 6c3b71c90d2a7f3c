//! Files that are watched for changes: looked at again and again, and said to have changed once they have been quiet.
//!
//! Looking is a `stat` for each file, a few times a second. That sees what the kernel's notifications do not: files behind
//! symbolic links that are swapped (as in mounted ConfigMaps), network file systems, a bind mount of a single file; and an
//! editor that writes a new file in place of the old one is nothing special. It also costs no watch per file.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use weir_model::time::{Millis, Moment};

/// How long files must have been quiet: an editor or a copy may take several steps.
const QUIET: Millis = Millis::secs(1);

/// What the files looked like at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Look(BTreeMap<PathBuf, Option<Stamp>>);

/// What tells one state of a file from another: device, inode, size, and when its content and its inode changed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Watches what a configuration was read from.
#[derive(Debug)]
pub struct Watch {
    /// The file or directory that was named.
    root: PathBuf,
    /// Every other file that was read.
    files: Vec<PathBuf>,
    /// What they looked like just before they were read.
    read: Look,
    /// What they looked like last, and since when.
    seen: (Look, Moment),
}

impl Watch {
    /// Watches this file or directory. Call [`Watch::before_reading`] and [`Watch::after_reading`] around every reading.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            files: Vec::new(),
            read: Look::default(),
            seen: (Look::default(), Moment(0)),
        }
    }

    /// Remembers what the files look like: whatever changes from here on is a change.
    pub fn before_reading(&mut self) {
        self.read = self.look();
    }

    /// Learns which files were read; also from a configuration that was refused, since that is how it is mended.
    pub fn after_reading(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        self.files = files.into_iter().collect();
        // Files that were not known before count as they are now.
        for (path, stamp) in self.look().0 {
            self.read.0.entry(path).or_insert(stamp);
        }
        self.read.0.retain(|path, _| *path == self.root || self.files.contains(path));
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
        let mut look = Look::default();
        let mut add = |path: PathBuf| {
            let stamp = fs::metadata(&path).ok().map(|found| Stamp {
                inode: (found.dev(), found.ino()),
                size: found.size(),
                modified: (found.mtime(), found.mtime_nsec()),
                changed: (found.ctime(), found.ctime_nsec()),
            });
            look.0.insert(path, stamp);
        };
        self.files.iter().cloned().for_each(&mut add);
        if self.root.is_dir() {
            // The directory itself changes with every file in it, also with those that mean nothing here.
            crate::config::files_in(&self.root).unwrap_or_default().into_iter().for_each(add);
        } else {
            add(self.root.clone());
        }
        look
    }
}
